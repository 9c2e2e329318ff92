"""Results folders made by hand: finished runs with the Dice wanted, written through the store."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssdg.benchmark.digests import digest, to_json
from ssdg.benchmark.outcomes.results import SuiteResults
from ssdg.benchmark.outcomes.scores import RowScores
from ssdg.benchmark.scoring.metrics import DSC
from ssdg.benchmark.spec import EvaluationSpec, RunRequest, RunSpec
from ssdg.benchmark.storage.csv_text import to_csv
from ssdg.benchmark.storage.files import write_json, write_text
from ssdg.benchmark.storage.results_reader import StoredEvaluation, scan
from ssdg.benchmark.storage.run_folder import CASE_COLUMNS, RunFolder, evaluation_path, run_path
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.suite import Column, Filters, Row, Suite
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.benchmark.tables.build import build_table
from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.methods import METHODS, MethodEntry, registry

VOXELS = 1000
"""True voxels of every class: a Dice with up to three decimals is exact."""

DEFAULTS = {"ras4dg": {"rass": True, "rms": True, "rsd": True, "alpha": 3.0}}
"""Default configuration of the methods that have one."""


def task(name, ndim):
    return Task(name, ndim, 1, ("background", "thing"), (32,) * ndim, sources={}, targets={})


INVENTORY = Inventory(
    methods={
        "erm": MethodEntry("-", "-", "w/o SSDG", "ssdg", (2, 3)),
        "ras4dg": MethodEntry("-", "-", "RAS4DG", "ssdg", (2, 3)),
        "cutmix": MethodEntry("-", "-", "CutMix", "uda", (2, 3)),
        "feddg": MethodEntry("-", "-", "FedDG", "ssdg", (2,)),
    },
    tasks={"fundus": task("fundus", 2), "fetal": task("fetal", 3)},
)

LESAV = Column(task="fundus", source="drive", target="lesav", label="LES-AV")
IOSTAR = Column(task="fundus", source="drive", target="iostar", label="IOSTAR")
FETAL = Column(
    task="fetal", source="atlases", target="feta2021", label="FeTA", strata=("abnormal", "normal", "average")
)
ERM = Row(id="erm", method="erm", label="w/o SSDG", access="source-only")
RAS4DG = Row(id="ras4dg", method="ras4dg", label="RAS4DG")
FEDDG = Row(id="feddg", method="feddg", label="FedDG")
CUTMIX = Row(id="cutmix", method="cutmix", label="CutMix", access="uda")
INTRA = Row(id="intra", method="erm", label="Intra", access="intra", folds=2)

Scores = Mapping[str, tuple[str, Sequence[float]]]
"""Case -> its stratum and the Dice of each foreground class."""


def cases(*dice: float, stratum: str = "all", prefix: str = "case") -> Scores:
    """Return cases of one stratum with one foreground class each."""
    return {f"{prefix}-{index}": (stratum, (value,)) for index, value in enumerate(dice)}


def case_rows(scores: Scores) -> list[dict[str, object]]:
    """Return rows of ``cases.csv`` with these Dice values inside the foreground; outside nothing is found."""
    rows = []
    for case, (stratum, dice) in scores.items():
        for index, value in enumerate(dice, start=1):
            wrong = VOXELS - round(value * VOXELS)
            counts = {"tp": VOXELS - wrong, "fp": wrong, "fn": wrong, "tp_outside": 0, "fp_outside": 0}
            where = {"case": case, "stratum": stratum, "class_index": index, "class_name": f"class {index}"}
            rows.append({**where, **counts, "fn_outside": 2 * VOXELS})
    return rows


def write_evaluation(run: Path, spec: EvaluationSpec, scores: Scores, published: int | None = None) -> Path:
    """Write a finished evaluation into a run's folder and return its own."""
    folder = evaluation_path(run, spec)
    write_text(folder / "cases.csv", to_csv(CASE_COLUMNS, case_rows(scores)))
    counts = {"scored": len(scores), "available": len(scores), "published": published or len(scores), "missing": []}
    data = {**to_json(spec), "eval_id": spec.eval_id, "counts": counts, "commit": "abc1234"}
    write_json(folder / "evaluation.json", data)
    write_json(folder / "DONE", {})
    return folder


def write_run(
    root: Path,
    request: RunRequest,
    scores: Mapping[str, Scores],
    *,
    version: int | None = None,
    pipeline: int = 1,
    regions: str = "",
    network_weights: str = "",
    source_manifest: str = "source-1",
    target_manifest: str = "target-1",
    state: str = "DONE",
) -> Path:
    """Write a run by the methods of now with an evaluation on each domain of ``scores``, and return its folder."""
    default = DEFAULTS.get(request.method, {})
    config = {**default, **request.method_settings}
    spec = RunSpec(
        request=request,
        method_version=version or (METHODS[request.method].version if request.method in METHODS else 1),
        method_config=config,
        method_changed=tuple(sorted(key for key in config if config[key] != default[key])),
        source_manifest=source_manifest,
        split="split-1",
        target_manifest=None if request.target is None else target_manifest,
        pipeline=pipeline,
        network_weights=network_weights,
    )
    path = run_path(root, spec)
    folder = RunFolder(path)
    folder.begin(spec)
    if state in ("DONE", "FAILED", "DIVERGED"):
        folder.mark(state, {})
    for domain, found in scores.items():
        evaluated = EvaluationSpec(
            train_id=spec.train_id,
            domain=domain,
            manifest=target_manifest,
            cases=digest(list(found)),
            selection=request.training.selection,
            preprocess=request.preprocess,
            resample=request.evaluation.resample,
            regions=regions,
        )
        write_evaluation(path, evaluated, found)
    return path


def stored_evaluation(
    path: Path, rows: Sequence[Mapping[str, object]], scored: int | None = None
) -> StoredEvaluation:
    """Write rows as the ``cases.csv`` of an evaluation of its own and return it."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / "cases.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, CASE_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    counts = {} if scored is None else {"scored": scored}
    return StoredEvaluation(path, "lesav", "last", "probabilities", True, {"manifest": "m", "counts": counts})


def results_of(root, suite, choice=None, inventory=INVENTORY) -> SuiteResults:
    """Return the results of a suite in a results folder that has no damaged run; or of a list of stored runs."""
    stored = root
    if isinstance(root, Path):
        stored, problems = scan(root)
        assert problems == []
    return SuiteResults(suite.plan(choice or Filters(), inventory), stored)


def table_of(root, suite, choice=None, **options):
    """Return the table of a suite's results."""
    return build_table(results_of(root, suite, choice), **options)


def row_scores(*seeds, strata=None, missed=None, classes=None, **fields) -> RowScores:
    """Return the scores of a row from one array a seed: (cases, classes), or one value a case."""
    values = np.array([np.reshape(seed, (len(seed), -1)) for seed in seeds], dtype=float)
    names = tuple(f"case-{index}" for index in range(values.shape[1]))
    return RowScores(
        **{"seeds": tuple(range(len(seeds))), "cases": names, **fields},
        strata=tuple(strata or ("all",) * len(names)),
        classes=tuple(classes or (f"class {index}" for index in range(values.shape[2]))),
        values=values,
        missed=np.zeros(values.shape, dtype=bool) if missed is None else np.array(missed).reshape(values.shape),
    )


class MadeResults(SuiteResults):
    """Results with scores made by hand, by row id and column."""

    def __init__(self, suite, scores, inventory=INVENTORY) -> None:
        super().__init__(suite.plan(Filters(), inventory), [])
        self.made = scores

    def row_scores(self, row, column, metric=DSC, scoring=None) -> RowScores:
        return self.made[row.id, column]

    def train_ids(self, row, column) -> tuple[str, ...]:
        return (self.suite.name, row.id, column.source)


def planned_runs(suite, **filters):
    """Return the runs that a suite, or a suite's file, asks for of what is installed."""
    loaded = suite if isinstance(suite, Suite) else load_suite(str(suite))
    return loaded.plan(Filters(**filters), Inventory(registry(), TASKS)).runs


def fill_suite(root, suite, scores, **options) -> None:
    """Write every run of a suite's file; ``scores(row id, seed)`` gives the cases on each of its targets."""
    for planned in planned_runs(suite):
        there = scores(planned.row.id, planned.request.seed)
        write_run(root, planned.request, {column.target: there for column in planned.columns}, **options)
