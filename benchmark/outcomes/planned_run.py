"""A planned run and the stored run that answers it: what a sweep starts and `bench status` shows.

A stored run answers a request when everything that the request says is what the run did. Where the results folder has
more than one answer (an older version of a method, other data under the same name) the newest version wins, and
different data are an error: a mean over them would mean nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import UsageError
from ..launching.job_file import JobFile, job_name
from ..spec import IDENTIFYING
from ..storage.results_reader import StoredEvaluation, StoredRun, last_error
from ..storage.run_folder import VALIDATION, State
from ..suites.suite import Column, Planned
from .answering import PresentData, difference, request_key, settings_fit, weights_fit

EVALUATED_ON = ("manifest", "cases", "preprocess")
"""Fields of an evaluation that say which data it scored."""

AGAIN: tuple[State, ...] = ("QUEUED", "STALE", "RUNNING", "DONE")
"""States a sweep works on; FAILED and DIVERGED runs are left to ``bench retry``. A running one is waited for."""

REASONS = {
    "DIVERGED": "diverged",
    "FAILED": "failed",
    "RUNNING": "running",
    "STALE": "interrupted",
    "QUEUED": "queued",
    "DONE": "not scored",
}
"""Why a run's state leaves a hole, the most telling first."""

EARLY = 0.1
"""Share of a schedule's epochs in which the best one counts as a sign that training never got going."""

NOT_RESCORED = "not rescored"
NOT_RUN = "not run"


@dataclass(frozen=True)
class PlannedRun(Planned):
    """A planned run and the stored run that satisfies it, if any."""

    stored: StoredRun | None = None
    job_of: Callable[[Planned], JobFile] | None = field(default=None, repr=False, compare=False)
    data: PresentData | None = field(default=None, repr=False, compare=False)  # None: stored ones are not compared
    others: tuple[StoredRun, ...] = field(default=(), repr=False, compare=False)  # that have scores of it as well

    @property
    def name(self) -> str:
        """Short name for people: row and seed, and what else tells the row's runs apart."""
        return job_name(self.request, self.row.id)

    @property
    def targets(self) -> tuple[str, ...]:
        """Domains its evaluations score."""
        return tuple(dict.fromkeys(column.target for column in self.columns))

    @property
    def domains(self) -> tuple[str, ...]:
        """Domains that are to be scored: the targets, and the validation cases of a run that is trained here."""
        return (*self.targets, VALIDATION) if self.row.trained_here else self.targets

    @property
    def reason(self) -> str:
        """Why there is no evaluation, where there is none."""
        if not self.row.trained_here:
            return REASONS["DONE"]
        if self.stored is None:
            return REASONS["FAILED"] if self.job_failed else NOT_RUN
        return REASONS[self.stored.state]

    @property
    def job_failed(self) -> bool:
        """Whether its job failed outside of a run, which could have said so."""
        return self.job_of is not None and self.job.failure.exists()

    def contributes(self, column: Column) -> bool:
        """Tell whether it scores a column of a table, which may be one of validation cases."""
        if column.target == VALIDATION:
            return (self.request.task, self.request.source) == (column.task, column.source)
        return column in self.columns

    @cached_property
    def job(self) -> JobFile:
        """Job file of what is left to do; it need not exist."""
        assert self.job_of is not None, "planned without a folder of jobs"
        return self.job_of(self)

    def evaluation(self, domain: str) -> StoredEvaluation | None:
        """Return the finished evaluation on a domain that the plan asks for."""
        return next(iter(self._matching(domain)), None)

    def require_one_version(self) -> None:
        """Raise UsageError where it, or one of its evaluations, has answers from different data."""
        for other in self.others:
            assert self.stored is not None, "others come behind the answer"
            what = f"runs of {other.spec.request.method!r}"
            _require_equal(what, self.stored, other, IDENTIFYING)
            if self.stored.train_id != other.train_id and self.row.trained_here:  # in what an export does not say
                raise _conflict(what, "identity", self.stored.path, other.path)
        for domain in self.domains:
            require_same_evaluations(self._matching(domain))

    def _matching(self, domain: str) -> list[StoredEvaluation]:
        request = self.request
        training, evaluation = request.training, request.evaluation
        kind = (domain, training.selection, evaluation.resample, request.overlap, self.regions)
        stored = () if self.stored is None else self.stored.evaluations
        matching = [e for e in stored if e.done and e.kind == kind]
        name = request.source if domain == VALIDATION else domain
        matching = [e for e in matching if self.cameras_fit((name,), (e.data.get("degrees"),))]
        if self.data is not None:
            matching = [e for e in matching if self.data.agree(request.task, name, e.data.get("manifest"), e.path)]
        return matching

    def state_of(self, domain: str) -> State:
        """Return the state of one evaluation: DONE once scored, QUEUED while only that is left.

        FAILED also where the job failed before there was a run that could say so.
        """
        if self.evaluation(domain) is not None:
            return "DONE"
        state: State = "QUEUED" if self.stored is None or self.stored.state == "DONE" else self.stored.state
        return "FAILED" if state in ("QUEUED", "STALE") and self.job_failed else state

    @cached_property
    def state(self) -> State:
        """State of the run: DONE once it is trained and every evaluation is there."""
        states = map(self.state_of, self.domains)
        return next((state for state in states if state != "DONE"), "DONE")

    @property
    def trained(self) -> bool:
        """Whether its training is done, whatever is left to score."""
        return self.stored is not None and self.stored.trained

    @property
    def has_weights(self) -> bool:
        """Whether its final weights are here, for further predictions: an export has none."""
        return self.stored is not None and self.trained and not self.stored.export

    @property
    def early_best(self) -> str:
        """Its best epoch, of how many, where source-val selection took one of the first tenth; else ""."""
        training = self.request.training
        if self.stored is None or not self.row.trained_here or training.selection != "source-val":
            return ""  # without a look at its files: a status may show thousands
        epoch = self.stored.selected_epoch
        is_early = epoch is not None and epoch <= EARLY * training.epochs
        return f"best epoch {epoch} of {training.epochs}" if is_early else ""

    @property
    def error(self) -> str:
        """Why it failed, if it did."""
        message = last_error(self.stored.path) if self.stored is not None else ""
        if not message and self.state == "FAILED" and self.job_of is not None and self.job.failure.is_file():
            return self.job.failure.read_text(encoding="utf-8")
        return message


def match_plan(
    plan: Sequence[Planned],
    stored: Iterable[StoredRun],
    job_of: Callable[[Planned], JobFile] | None = None,
    data: PresentData | None = None,
) -> tuple[list[PlannedRun], list[str]]:
    """Return each planned run with the stored run that answers it, and notes about runs left out.

    With ``data``, what is stored of other versions of the present files answers nothing. Whoever takes a number from
    the runs has to :func:`require_one_version`.
    """
    index: defaultdict[tuple[Any, ...], list[StoredRun]] = defaultdict(list)
    for run in stored:
        index[request_key(run.spec.request)].append(run)
    candidates = [
        [
            run
            for run in index[request_key(p.request)]
            if settings_fit(p.request.method_settings, run.spec)
            and weights_fit(p.request, run.spec)
            and p.cameras_fit((p.request.source, p.request.target), run.spec.degrees)
            and (data is None or data.trained(p.request, run.spec, run.path))
        ]
        for p in plan
    ]
    candidates, foreign = _of_their_task(plan, candidates)
    newest, notes = _newest_versions(plan, candidates)
    matched = []
    for p, runs in zip(plan, candidates, strict=True):
        answers = _answers(runs, newest.get(p.row.id))
        asked = (p.row, p.columns, p.request, p.task_definition, p.regions, p.cameras)
        matched.append(PlannedRun(*asked, next(iter(answers), None), job_of, data, tuple(answers[1:])))
    return matched, [*foreign, *notes]


def require_one_version(runs: Iterable[PlannedRun]) -> None:
    """Raise UsageError where runs for one table are of different data; names the field and both folders."""
    first: dict[tuple[Any, ...], StoredRun] = {}
    for planned in runs:
        planned.require_one_version()
        run, request = planned.stored, planned.request
        if run is None or not _has_results(run) or not planned.row.trained_here:
            continue
        for name in ("source_manifest", "split"):
            if getattr(run.spec, name):  # an older export does not say its split
                reference = first.setdefault((name, request.task, request.source, request.fold), run)
                _require_equal(f"runs on source {request.source!r}", reference, run, (name,))


def require_same_evaluations(evaluations: Sequence[StoredEvaluation], fields: Sequence[str] = EVALUATED_ON) -> None:
    """Raise UsageError where evaluations differ in a field that says which data were scored."""
    for other in evaluations[1:]:
        for name in fields:
            if other.data.get(name) != evaluations[0].data.get(name):
                raise _conflict(f"evaluations on {other.domain!r}", name, evaluations[0].path, other.path)


def _has_results(run: StoredRun) -> bool:
    return any(evaluation.done for evaluation in run.evaluations)


def _of_their_task(
    plan: Sequence[Planned], candidates: Sequence[Sequence[StoredRun]]
) -> tuple[list[list[StoredRun]], list[str]]:
    """Return the candidates trained on the planned task, and a note for each task of whose name there was another."""
    own = [
        [run for run in runs if run.spec.is_of(planned.task_definition)]
        for planned, runs in zip(plan, candidates, strict=True)
    ]
    foreign: Counter[str] = Counter()
    for planned, runs, kept in zip(plan, candidates, own, strict=True):
        foreign[planned.request.task] += len(runs) - len(kept)
    notes = [
        f"task {task!r}: {count} run{'' if count == 1 else 's'} left out, trained on another task of this name "
        "(dimensions, channels, classes or grid); give its file with --task FILE"
        for task, count in foreign.items()
        if count
    ]
    return own, notes


def _newest_versions(
    plan: Sequence[Planned], candidates: Sequence[Sequence[StoredRun]]
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Return the newest version with results of each row, and a note for each row that has older ones.

    Per row, not per run: a mean over seeds never mixes versions.
    """
    versions: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
    labels = {planned.row.id: planned.row.label for planned in plan}
    for planned, runs in zip(plan, candidates, strict=True):
        versions[planned.row.id] += [run.spec.version for run in runs if _has_results(run)]
    newest = {row: max(numbers) for row, numbers in versions.items() if numbers}
    notes = []
    for row, version in newest.items():
        if older := [v for v in versions[row] if v < version]:
            before, now = difference(min(older), version)
            notes.append(f"{labels[row]}: {len(older)} runs of {before} left out, {now} is newer")
    return newest, notes


def _answers(runs: Sequence[StoredRun], version: tuple[int, ...] | None) -> list[StoredRun]:
    """Return the runs of at least a version: those with results, or the first one where none has any."""
    runs = [run for run in runs if version is None or run.spec.version >= version]
    return [run for run in runs if _has_results(run)] or runs[:1]


def _require_equal(what: str, first: StoredRun, second: StoredRun, fields: Sequence[str]) -> None:
    exported = first.export or second.export
    for name in fields:
        values = [getattr(run.spec, name) for run in (first, second)]
        if values[0] != values[1] and (all(values) or not exported):  # an older export does not say everything
            raise _conflict(what, name, first.path, second.path)


def _conflict(what: str, name: str, first: Any, second: Any) -> UsageError:
    return UsageError(
        f"{what} differ in {name} and cannot share a table: {first} and {second}; "
        "move the folder that is out of date elsewhere, or run the suite with another --results-root; an export of "
        "other data is taken out of the suite's `exports`"
    )


def hole_reason(reasons: Iterable[str]) -> str:
    """Return the most telling of several reasons for a hole; "" for none."""
    reasons = set(reasons)
    return next((reason for reason in (*REASONS.values(), NOT_RESCORED, NOT_RUN) if reason in reasons), "")


def tally(states: Iterable[State]) -> str:
    """Return the counts of states as text: "4 DONE, 2 QUEUED"."""
    counts = Counter(states)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
