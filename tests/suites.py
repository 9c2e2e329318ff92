"""Suite files of the tests: tiny runs on the phantoms, unless a test asks for something else."""

import json
from collections.abc import Mapping
from pathlib import Path

TINY = {
    "preprocess.shape": (32, 32),
    "network.init_filters": 8,
    "training.epochs": 2,
    "training.batch_size": 4,
    "optimizer.lr": 1e-3,
}
"""Settings of a run on the 2D phantom that takes a second."""

TINY_3D = {**TINY, "preprocess.shape": (16, 16, 16)}
"""The same on the 3D phantom."""


def flags(settings) -> tuple[str, ...]:
    """Return settings as options of the command line."""
    return tuple(f"--set={key}={_option(value)}" for key, value in settings.items())


def suite_file(path, rows=("erm",), targets=("phantom2d-b",), settings=None, **keys) -> Path:
    """Write a suite's TOML file and return its path.

    Args:
        path: of the file.
        rows: ids of methods, or tables with the keys of a row (``label``, ``folds``, ``selection``, ...).
            Without a method it is that of the id; "erm" is the lower bound.
        targets: ids of domains, or tables with the keys of a column (``label``, ``strata``, ...). Without a task and
            a source they are those of the phantom the target belongs to, or those of "fundus".
        settings: on top of ``TINY``, or ``TINY_3D`` where the first target is the 3D phantom's.
        keys: further keys of the suite (``title``, ``protocol``, ``components``, ``published``, ...).
    """
    columns = [_column(target) for target in targets]
    tiny = TINY_3D if columns[0]["task"] == "phantom3d" else TINY
    tables = {"columns": columns, "rows": [_row(row) for row in rows]}
    lines = [*_lines({"seeds": [0], **keys}), "[settings]", *_lines({**tiny, **(settings or {})})]
    for name, entries in tables.items():
        for entry in entries:
            lines += [f"[[{name}]]", *_lines(entry)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _column(target):
    table = {"target": target} if isinstance(target, str) else target
    phantom = table["target"].partition("-")[0]
    known = phantom in ("phantom2d", "phantom3d")
    return {"task": phantom if known else "fundus", "source": f"{phantom}-a" if known else "drive", **table}


def _row(row):
    table = {"id": row} if isinstance(row, str) else row
    access = {"access": "source-only"} if table["id"] == "erm" else {}
    return {"method": table["id"], **access, **table}


def _lines(table):
    return [f"{_toml(key)} = {_toml(value)}" for key, value in table.items()]


def _toml(value) -> str:
    """Return a value as TOML: JSON but for tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_lines(value)) + " }"
    return json.dumps(list(value) if isinstance(value, range) else value, ensure_ascii=False)


def _option(value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
