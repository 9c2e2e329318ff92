"""What is committed of a suite's results: every score, run and epoch, the tables, and where they come from.

`bench report` makes the page of an export. Equal results give equal bytes. Nothing shows a case, and nothing says on
whose machine the files were made.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..digests import to_json
from ..errors import UsageError
from ..outcomes.frames import RUN_COLUMNS, RUN_KEY, run_key, run_record, scored_evaluations
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC, REGIONS, Metric, find_metric, mask_metrics
from ..storage.csv_text import to_csv
from ..storage.files import atomic_file, read_json, write_text
from ..storage.run_folder import CASE_COLUMNS, VALIDATION
from ..suites.suite_file import PROVENANCE
from ..tables.build import build_table
from ..tables.document import render
from ..tables.suite_table import table_document
from .provenance import provenance

# Names that an export gives, but for its provenance.
WRITTEN = re.compile(r"(cases\.csv|runs\.csv|history\.csv|report\.html|table(-[a-z0-9-]+)?\.(csv|md|tex))")
FORMATS = {"csv": "csv", "md": "markdown", "tex": "latex"}  # of tables, by what file names end in
PLACE = ("row", "seed", "task", "source", "target", "fold")  # of an evaluation in its suite
KEYS = (*PLACE, "train_id")  # of ``cases.csv``: a run and a target


def export_suite(
    results: SuiteResults, metrics: Sequence[Metric] = (), validation: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Return the files of a suite's results by name, provenance first, and the holes of the tables.

    ``metrics`` have tables too, ``validation`` adds columns to all tables.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    tables, holes = _tables(results, metrics, validation)
    runs = [run_record(run) for run in results.planned_runs]
    files = {
        "cases.csv": cases_csv(results),
        "runs.csv": to_csv(RUN_COLUMNS, runs),
        "history.csv": history_csv(results),
        **tables,
    }
    origin = {
        **provenance(results, runs),
        "complete": not holes,
        "missing": holes,
        "files": _digests(files),
    }
    return {PROVENANCE: _provenance_text(origin), **files}, holes


def _digests(files: Mapping[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}


def _provenance_text(origin: Mapping[str, Any]) -> str:
    return json.dumps(to_json(origin), indent=1, ensure_ascii=False) + "\n"


def rewrite_tables(results: SuiteResults, folder: Path) -> tuple[list[str], list[str]]:
    """Write the tables of an export again in place, from its own counts; return their names and the holes.

    They have the metrics that they had, and columns of validation cases where they had these. Of the other files only
    the provenance changes, which has the tables' digests and holes.

    Raises:
        UsageError: the export names a table of a metric that this version does not have.
        StorageError: no space left, or the folder cannot be written.
    """
    named = [re.fullmatch(r"table-?(.*)\.csv", name) for name in sorted(_earlier(folder))]
    metrics = [find_metric(match[1] or DSC.name) for match in named if match]
    table = folder / "table.csv"
    lines = csv.DictReader(table.read_text(encoding="utf-8").splitlines() if table.exists() else ())
    files, holes = _tables(results, metrics, any(line["target"] == VALIDATION for line in lines))
    origin = read_json(folder / PROVENANCE)
    changed = {"complete": not holes, "missing": holes, "files": origin["files"] | _digests(files)}
    for name, text in {PROVENANCE: _provenance_text(origin | changed), **files}.items():
        write_text(folder / name, text)
    return list(files), holes


def _tables(results: SuiteResults, metrics: Iterable[Metric], validation: bool) -> tuple[dict[str, str], list[str]]:
    """Return the tables of DSC and of further metrics by file name, and their holes."""
    files, holes = dict[str, str](), dict[str, None]()
    for metric in dict.fromkeys((DSC, *metrics)):
        table = build_table(results, metric, validation=validation)
        # Of a further metric only those where the Dice coefficient is there.
        name = "" if metric is DSC else f"{metric.short}: "
        holes |= {f"{name}{hole}": None for hole in table.missing if hole not in holes}
        stem = "table" if metric is DSC else f"table-{metric.name}"
        document = table_document(table)
        files |= {f"{stem}.{ending}": render(document, form) for ending, form in FORMATS.items()}
    return files, list(holes)


def history_csv(results: SuiteResults) -> str:
    """Return a line for each run and epoch: what tells a run from the others, then its history as it is stored."""
    runs = [(run_key(run), run.stored.history) for run in results.planned_runs if run.stored is not None]
    columns = dict.fromkeys([*RUN_KEY, *(name for _, rows in runs for row in rows for name in row if name)])
    return to_csv(
        tuple(columns), [{**dict.fromkeys(columns, ""), **key, **row} for key, rows in runs for row in rows]
    )


def cases_csv(results: SuiteResults) -> str:
    """Return a line for each run, target, case and class.

    Counts are those inside the foreground and outside of it. ``dsc`` (0..1) follows the suite's region and rule for
    empty classes. Metrics of masks are those of both regions, where `bench rescore` computed any; a value that is
    not defined is "nan", one that was not computed is empty.

    Raises:
        UsageError: a damaged results file.
    """
    scored = [(*evaluated, results.counts.case_file(evaluated[2])) for evaluated in scored_evaluations(results)]
    values = {
        (evaluation.path, f"{name}_{region}"): of_rows
        for _, _, evaluation, _ in scored
        if evaluation.path in results.rescored
        for name, metric in mask_metrics().items()
        for region, of_rows in results.counts.masks(evaluation, metric).by_region.items()
        if of_rows.count(None) < len(of_rows)
    }
    names = {name for _, name in values}
    columns = [name for metric in mask_metrics() for region in REGIONS if (name := f"{metric}_{region}") in names]
    lines = [",".join((*KEYS, *CASE_COLUMNS, "dsc", *columns))]
    for run, column, evaluation, file in scored:
        key = {**run_key(run), "target": column.target, "train_id": evaluation.data.get("train_id", "")}
        prefix = io.StringIO()
        csv.writer(prefix, lineterminator="").writerow([key[name] for name in KEYS])
        region = results.scoring.region_in(results.inventory.task(column.task).scored_ndim)
        tp, fp, fn = file.in_region(region)
        dsc = DSC.of_counts(tp, fp, fn, results.scoring.empty).tolist()
        rescored = [values.get((evaluation.path, name), [None] * len(file.lines)) for name in columns]
        for line, score, *further in zip(file.lines, dsc, *rescored, strict=True):
            texts = "".join("," if value is None else f",{value:.6g}" for value in further)
            lines.append(f"{prefix.getvalue()},{line},{score:.6g}{texts}")
    return "\n".join(lines) + "\n"


def write_export(files: Mapping[str, str], folder: Path) -> None:
    """Write an export's files, each atomically, in place of those of an earlier export; leave all others alone.

    All are written before the first of them is in its place, as an export may be what there is of some runs.

    Raises:
        UsageError: the folder has a file of such a name that no export wrote.
        StorageError: no space left, or the folder cannot be written.
    """
    earlier = _earlier(folder)
    foreign = [name for name in files if name not in earlier and (folder / name).exists()]
    if foreign:
        raise UsageError(
            f"{folder} has {', '.join(foreign)} that no export wrote: move that away, or name another --output"
        )
    with ExitStack() as written:
        for name, text in files.items():
            stream = written.enter_context(atomic_file(folder / name))
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
    for name in earlier - set(files):
        (folder / name).unlink(missing_ok=True)


def lost_evaluations(files: Mapping[str, str], folder: Path) -> list[str]:
    """Return what an export in a folder has scored and these files, that would replace it, have not.

    What a later version of a row's method scored in its place, with the same seed on the same target, is not lost.
    """
    paths = {name: folder / name for name in ("cases.csv", "runs.csv")}  # of a damaged export they may be gone
    texts = {name: path.read_text(encoding="utf-8") if path.exists() else "" for name, path in paths.items()}
    before, after = _evaluations(texts), _evaluations(files)
    latest = dict(after.values())
    return [
        f"{place[0]} seed {place[1]} on {target} ({train_id})"
        for (train_id, target), (place, version) in before.items()
        if (train_id, target) not in after and latest.get(place, 0) <= version
    ]


def _evaluations(files: Mapping[str, str]) -> dict[tuple[str, str], tuple[tuple[str, ...], int]]:
    """Return what an export has scored: by run and target its place in the suite, and the version of the method."""
    cases, runs = (csv.DictReader(io.StringIO(files[name])) for name in ("cases.csv", "runs.csv"))
    versions = {run["train_id"]: int(run["version"] or 0) for run in runs}
    return {
        (case["train_id"], case["target"]): (tuple(case[name] for name in PLACE), versions.get(case["train_id"], 0))
        for case in cases
    }


def _earlier(folder: Path) -> set[str]:
    try:
        listed = read_json(folder / PROVENANCE)["files"]
        return {PROVENANCE, *(name for name in listed if WRITTEN.fullmatch(name))}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
