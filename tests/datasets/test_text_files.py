"""Text files as editors save them, and case ids that every output can hold."""

import os
from pathlib import Path

import pytest

from ssdg.datasets.base import DataError
from ssdg.datasets.text_files import (
    LONGEST_ID,
    check_case_id,
    printable,
    read_json,
    read_text,
    read_toml,
)

TEXT = 'name = "Klinik für Fötalmedizin"\nlist = [1]\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_that_says_what_it_is_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "task.toml"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    assert read_text(path) == TEXT
    assert read_toml(path) == {"name": "Klinik für Fötalmedizin", "list": [1]}


def test_utf_16_of_either_byte_order(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        path = tmp_path / f"{encoding}.json"
        path.write_bytes("\ufeff[1, 2]".encode(encoding))
        assert read_json(path) == [1, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a = 1\nname = 'für'".encode("latin-1"), r"byte 0xfc in line 2.*iconv -f latin1"),
        ("a = 1".encode("utf-16-le"), r"UTF-16 without byte-order mark.*iconv -f utf-16le"),
        (b"\xff\xfea", "not text in UTF-8"),
        (b"a = ", "is not TOML: Invalid value"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_the_way_out(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "task.toml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"the task file .*task\.toml.*{words}"):
        read_toml(path, "the task file")


def test_the_class_of_errors_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"cannot read the list .*none\.json: No such file"):
        read_json(tmp_path / "none.json", "the list", LookupError)
    (tmp_path / "bad.json").write_text("[" * 100_000)
    with pytest.raises(LookupError, match="is not JSON"):
        read_json(tmp_path / "bad.json", error=LookupError)


@pytest.mark.parametrize("id", ["sub-012", "é", "a b", "名前", "x" * LONGEST_ID, "a,b;'c'\"", "-"])
def test_usual_ids_are_accepted(id: str) -> None:
    check_case_id(id, Path(f"{id}.png"))


@pytest.mark.parametrize(
    ("id", "words"),
    [
        (os.fsdecode(b"caf\xe9"), "is not UTF-8"),
        ("\ud800", "is not UTF-8"),
        ("a\nb", "line break"),
        ("a\tb", "control character"),
        ("a\u2028b", "line break"),
        ("a\x7f", "control character"),
        ("x" * (LONGEST_ID + 1), f"has {LONGEST_ID + 1} bytes"),
        ("é" * (LONGEST_ID // 2 + 1), "bytes"),
        ("", "is no file name"),
        ("..", "is no file name"),
        ("a/b", "is no file name"),
    ],
)
def test_an_id_that_no_output_can_hold_is_refused_by_name(id: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        check_case_id(id, Path(f"folder/{id}.png"))
    message = str(caught.value)
    assert f"rename {printable(f'folder/{id}.png')}" in message
    assert message.encode().decode().isprintable(), "the message itself can be printed"


def test_the_longest_id_leaves_room_for_the_files_of_its_predictions(tmp_path: Path) -> None:
    from ssdg.benchmark.storage.files import atomic_file
    from ssdg.benchmark.storage.run_folder import prediction_path

    path = prediction_path(tmp_path, "x" * LONGEST_ID, 3)
    with atomic_file(path) as stream:
        stream.write(b"1")
    assert path.read_bytes() == b"1"
