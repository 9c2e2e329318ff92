"""What is committed of a suite's results: every score, every run, the tables, one page, and where they come from.

Equal results give equal bytes. Nothing shows a case, and nothing says on whose machine the files were made.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..outcomes.opening import PROVENANCE
from ..outcomes.results import SuiteResults
from ..outcomes.run_records import RUN_COLUMNS, run_record
from ..scoring.metrics import DSC, Metric
from ..storage.files import read_json, write_text
from ..storage.run_folder import to_csv
from ..tables.build import Table, TableOptions, build_table
from ..tables.render import render
from .export_rows import cases_csv
from .gather import Report
from .page import render_page
from .provenance import provenance

WRITTEN = re.compile(r"(cases\.csv|runs\.csv|report\.html|table(-[a-z0-9-]+)?\.(csv|md|tex))")
"""Names that an export gives, beside its provenance."""

FORMATS = {"csv": "csv", "md": "markdown", "tex": "latex"}
"""Of tables, by what file names end in."""


@dataclass(frozen=True, slots=True)
class Export:
    """Files, by name, and what they lack."""

    files: Mapping[str, str]  # provenance first
    missing: tuple[str, ...]  # holes of the tables


def export_suite(results: SuiteResults, metrics: Sequence[Metric] = (), validation: bool = False) -> Export:
    """Return the files of a suite's results.

    Args:
        results: of the suite.
        metrics: of further tables.
        validation: whether tables have the scores on the source's validation cases.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    tables = {
        metric: build_table(results, TableOptions(validation=validation, metric=metric))
        for metric in dict.fromkeys((DSC, *metrics))
    }
    runs = [run_record(run) for run in results.planned_runs]
    files = {
        "cases.csv": cases_csv(results),
        "runs.csv": to_csv(RUN_COLUMNS, runs),
        **{
            f"{_stem(metric)}.{ending}": render(table, form)
            for metric, table in tables.items()
            for ending, form in FORMATS.items()
        },
        "report.html": render_page(Report(results, public=True)),
    }
    missing = tuple(_holes(tables))
    origin = {
        **provenance(results, runs),
        "complete": not missing,
        "missing": list(missing),
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
    }
    return Export({PROVENANCE: json.dumps(origin, indent=1, ensure_ascii=False) + "\n", **files}, missing)


def _stem(metric: Metric) -> str:
    return "table" if metric is DSC else f"table-{metric.name}"


def _holes(tables: Mapping[Metric, Table]) -> list[str]:
    """Return the holes of all tables; those of a further one only where the Dice coefficient is there."""
    known = dict.fromkeys(tables[DSC].missing)
    for metric, table in tables.items():
        known |= dict.fromkeys(f"{metric.short}: {hole}" for hole in table.missing if hole not in known)
    return list(known)


def write_export(export: Export, folder: Path) -> None:
    """Write an export's files, each atomically, in place of those of an earlier export; leave all others alone.

    Its provenance comes first: where it was interrupted, digests tell which files are still the earlier ones.

    Raises:
        UsageError: the folder cannot be written, or has a file of such a name that no export wrote.
        StorageError: no space left.
    """
    _make(folder)
    earlier = _earlier(folder)
    foreign = [name for name in export.files if name not in earlier and (folder / name).exists()]
    if foreign:
        raise UsageError(
            f"{folder} has {', '.join(foreign)} that no export wrote: move that away, or name another --output"
        )
    for name in earlier - set(export.files):
        (folder / name).unlink(missing_ok=True)
    for name, text in export.files.items():
        write_text(folder / name, text)


def _make(folder: Path) -> None:
    why = "no permission"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        why, writable = str(error.strerror), False
    if not writable:
        raise UsageError(f"--output {folder} is no folder that can be written ({why}): name another one")


def _earlier(folder: Path) -> set[str]:
    """Return the names of the files that an earlier export wrote there; none where there was none."""
    try:
        listed = read_json(folder / PROVENANCE)["files"]
        return {PROVENANCE, *(name for name in listed if WRITTEN.fullmatch(name))}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
