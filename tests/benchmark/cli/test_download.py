"""``bench data download``: origin, terms and files of every data set; no connection."""

import json
import socket

import pytest

from ssdg.datasets import TASKS


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "create_connection", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)


def listed(bench, *names):
    result = bench("data", "download", *names, "--data-root", str(bench.data))
    assert result.exit_code == 0, result.output
    return result.output


def test_every_domain_has_its_origin_terms_and_files(bench):
    rows = json.loads(listed(bench, "--json"))
    assert [row["domain"] for row in rows] == list(dict.fromkeys(row["domain"] for row in rows))
    assert {row["domain"] for row in rows} == {
        name for task in TASKS.values() for name in (*task.sources, *task.targets)
    }
    for row in rows:
        facts = TASKS[row["task"]].domain(row["domain"]).domain
        assert (row["published at"], row["terms"], row["cite"]) == (facts.source, facts.licence, facts.citation)
        assert row["published at"]
        assert row["terms"]
        assert row["files"]
        assert row["present"] == ({"phantom2d-a": 8, "phantom3d-a": 4}.get(row["domain"], row["present"]))
        assert bool(row["present"]) == row["domain"].startswith("phantom")
        assert row["problem"] is None


def test_domains_of_one_origin_are_listed_together(bench):
    text = listed(bench, "fundus")
    blocks = text.split("\n\n")
    assert blocks[0] == (
        "drive, drive-test\n"
        "  published at: https://drive.grand-challenge.org\n"
        "  terms: research use, after registration at the owners' site\n"
        "  cite: Staal et al., IEEE Transactions on Medical Imaging 2004\n"
        "  drive (task fundus): not here\n"
        "    images: DRIVE/training/images/{case}_training.*\n"
        "    labels: DRIVE/training/1st_manual/{case}_manual1.*\n"
        "    foregrounds: DRIVE/training/mask/{case}_training_mask.*\n"
        "  drive-test (task fundus): not here\n"
        "    images: DRIVE/test/images/{case}_test.*\n"
        "    labels: DRIVE/test/1st_manual/{case}_manual1.*\n"
        "    foregrounds: DRIVE/test/mask/{case}_test_mask.*"
    )
    assert "gholipour" not in text
    assert blocks[-1].startswith(f"data root: {bench.data} ")


def test_what_is_there_is_counted_and_what_is_wrong_with_it_is_said(bench, tmp_path):
    assert "  phantom2d-a (task phantom2d): 8 cases here\n" in listed(bench, "phantom2d-a")
    images, labels = tmp_path / "DRIVE/training/images", tmp_path / "DRIVE/training/1st_manual"
    for folder, name in ((images, "21_training.png"), (labels, "21_manual1.png"), (images, "22_training.png")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    root = ("data", "download", "drive", "--data-root", str(tmp_path))
    assert "drive (task fundus): catalogue/fundus.toml, [source.drive]: case '22' has no label" in bench(*root).output
    (images / "22_training.png").unlink()
    assert "drive (task fundus): 1 of 20 cases here\n" in bench(*root).output


def test_an_unknown_name_gets_the_nearest(bench):
    result = bench("data", "download", "driv")
    assert result.exit_code == 2
    assert "'drive'" in result.output
