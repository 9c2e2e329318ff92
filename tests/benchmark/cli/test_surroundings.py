"""What surrounds a command and must not break it: files of other editors, pipes, a notebook's variables, memory."""

import os
import subprocess
import sys
import threading

import pytest

from ssdg.benchmark.errors import OutOfMemory, is_out_of_memory, memory_advice
from ssdg.benchmark.launching.local import BENCH
from ssdg.benchmark.spec import PreprocessConfig, RunRequest, TrainingConfig
from ssdg.benchmark.storage.results_reader import read_run
from ssdg.benchmark.training.run import _smaller
from ssdg.datasets import TASKS
from ssdg.methods.erm import Erm

from ...conftest import TINY
from ...suites import suite_file

RUN = ("run", "--method", "erm", "--target", "phantom2d-b", *TINY)


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_suite_and_a_job_of_a_windows_editor(bench, tmp_path, encoding):
    path = suite_file(tmp_path / "mine.toml", title="Größe")
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", "\r\n").encode(encoding))
    assert "1 run: 1 QUEUED" in bench("status", str(path)).output
    assert bench(*RUN).exit_code == 0
    spec = tmp_path / "spec.json"
    spec.write_bytes((bench.run_path() / "spec.json").read_text().encode(encoding))
    assert "already done" in bench("run", str(spec), "--target", "phantom2d-b").output


def test_a_suite_in_latin_1_is_named_with_the_way_out(bench, tmp_path):
    path = suite_file(tmp_path / "mine.toml", title="Größe")
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    refused(bench("status", str(path)), "mine.toml", "not text in UTF-8", "iconv")


@pytest.mark.parametrize(
    "arguments",
    [("table",), ("table", "--format", "json"), ("report", "--no-images")],
    ids=["table", "json", "report"],
)
def test_output_goes_through_a_link_and_into_a_pipe(bench, tmp_path, arguments):
    verb, *options = arguments
    suite, target, link, pipe = suite_file(tmp_path / "mine.toml"), *(tmp_path / name for name in "abc")
    link.symlink_to(target)
    os.mkfifo(pipe)
    roots = ("--results-root", str(bench.results))
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    for output in (link, pipe, os.devnull):
        result = bench(verb, str(suite), *options, *(() if verb == "table" else roots), "--output", str(output))
        assert result.exit_code in (0, 3), result.output
    reader.join(10)
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert received == [target.read_text()]
    assert received[0]
    refused(bench(verb, str(suite), "--output", str(tmp_path)), "is a directory")


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no_such_backend"])
def test_a_backend_of_a_notebook_is_harmless(backend):
    """A process of its own: matplotlib, which methods import through MONAI, reads the variable once."""
    surroundings = {**os.environ, "MPLBACKEND": backend}
    result = subprocess.run([*BENCH, "info", "erm"], env=surroundings, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "phantom", "--seed", "-1"),
        ("figure", "augmentations", "--image", __file__, "--seed", "-1"),
        (*RUN, "--seed", "-1"),
        (*RUN, "--threads", "0"),
        (*RUN, "--checkpoint-interval", "-1"),
        (*RUN, "--checkpoint-interval", "nan"),
        ("figure", "spectra", "--task", "phantom2d", "--width", "nan"),
        ("sweep", "demo", "--jobs", "0"),
        ("sweep", "demo", "--time", "-1"),
        ("sweep", "demo", "--memory", "-1"),
        ("sweep", "demo", "--cpus", "-1"),
        ("rescore", "demo", "--jobs", "-1"),
        ("status", "demo", "--seeds", "-1"),
        ("logs", "x", "--lines", "-1"),
    ],
    ids=lambda arguments: " ".join(arguments[0:1] + arguments[-2:]),
)
def test_a_number_below_what_makes_sense_is_refused(bench, arguments):
    refused(bench(*arguments), arguments[-1])


def test_a_batch_beyond_the_memory_names_what_makes_it_smaller(bench, monkeypatch):
    def exhausted(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.\nmore")

    monkeypatch.setattr(Erm, "training_step", exhausted)
    result = bench(*RUN)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    for words in ("not enough memory", "training.batch_size (here 4)", "preprocess.shape (here 32,32)"):
        assert words in result.output
    assert "more" not in result.output.partition("99 bytes.")[2][:5]
    assert read_run(bench.run_path()).state == "FAILED"
    monkeypatch.undo()
    assert bench(*RUN).exit_code == 0


def test_with_windows_it_is_their_size_that_takes_memory():
    preprocess, training = PreprocessConfig(spacing=(1.0, 1.0)), TrainingConfig(window=(16, 24))
    request = RunRequest(task="t", source="s", method="erm", preprocess=preprocess, training=training)
    assert "or training.window (here 16,24)" in _smaller(request, TASKS["phantom2d"])


def test_memory_of_any_command_is_one_line(bench, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr("ssdg.datasets.phantom.write_phantom", exhausted)
    result = bench("data", "phantom")
    assert result.exit_code == 1
    assert "bench: not enough memory (MemoryError): do less at once" in result.output


@pytest.mark.parametrize("size", [10**15, 1 << 55])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_real_errors_of_allocation_are_recognised(library, size):
    make = __import__(library).zeros
    with pytest.raises(OutOfMemory, match="smaller"), memory_advice("smaller"):
        make(size)


def test_other_errors_are_not_taken_for_want_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="shapes"), memory_advice("smaller"):
        raise RuntimeError("shapes")


PLUGINS = {
    "txt": ("plain.txt", "", "ends in .py"),
    "exit": ("plain.py", "raise SystemExit(0)", "__main__"),
    "bare": ("plain.py", "BARE", "default for strength"),
}
BARE = """
from dataclasses import dataclass
from ssdg.methods.base import Method

@dataclass(frozen=True)
class Settings:
    strength: float

class Plain(Method):
    Config = Settings
"""


@pytest.mark.parametrize(("name", "text", "words"), PLUGINS.values(), ids=PLUGINS)
def test_a_plugin_that_cannot_be_one_is_named(bench, tmp_path, name, text, words):
    (tmp_path / name).write_text(BARE if text == "BARE" else text)
    try:
        refused(bench("list", "methods", "--plugin", str(tmp_path / name)), name, words)
    finally:
        for module in [module for module in sys.modules if module.startswith("ssdg_plugin_plain")]:
            del sys.modules[module]
