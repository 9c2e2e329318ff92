"""The speed suite runs from end to end; its numbers are nobody's business here."""

import csv
import os
import subprocess
import sys
from pathlib import Path

SUITE = Path(__file__).parent / "speed" / "suite.py"


def measure(tmp_path, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "BENCH_DATA"}
    command = [sys.executable, "-P", SUITE, "--output", tmp_path, "--repeats", "2", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    (table,) = tmp_path.glob("*.csv")
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return rows, next(tmp_path.glob("*.md")).read_text()


def test_the_cheapest_measurement_is_written_with_its_provenance(tmp_path):
    (row,), text = measure(tmp_path, "--only", "startup-help")
    assert row["name"] == "bench --help"
    assert 0 < float(row["low"]) <= float(row["measured"]) <= float(row["high"])
    assert (row["budget"], row["n"], row["unit"]) == ("0.3", "2", "s")
    assert row["cores"] == str(len(os.sched_getaffinity(0)))
    assert "torch" in row["versions"]
    assert "| bench --help [1] |" in text


def test_what_needs_data_says_so_where_there_are_none(tmp_path):
    rows, text = measure(tmp_path, "--only", "loading-drive", "--only", "memory", "--cache", str(tmp_path / "cache"))
    assert [row["name"] for row in rows] == ["loading-drive", "memory"]
    assert all(row["measured"] == "" and "BENCH_DATA" in row["note"] for row in rows)
    assert text.count("not measured") == 2
