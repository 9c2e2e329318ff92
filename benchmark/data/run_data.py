"""The data of one run: its domains, and which of their cases train, validate and are scored."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssdg.datasets.base import DataError, Domain, Task
from ssdg.datasets.manifest import Manifest, listed_pairs, read_manifest, require_apart, shared_files, shared_labels
from ssdg.datasets.partition import folds, held_out

from ..digests import digest
from ..errors import UsageError, unknown
from ..spec import PreprocessConfig, RunRequest
from ..storage.run_folder import VALIDATION
from .each_case import OnCase, no_report
from .prepared import PreparedDomain, prepare_domain

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Data root, cache and completeness policy."""

    data_root: Path  # holds the data sets; never written
    cache: Path  # prepared data, and the hashes of files already seen
    strict: bool = False  # an incomplete domain is an error


@dataclass(frozen=True, slots=True)
class LocatedDomain:
    """A domain on disk, in the version that its manifest identifies."""

    domain: Domain
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Cases to score: a target's, or the source's validation cases."""

    located: LocatedDomain
    ids: tuple[str, ...]
    note: str = ""  # on what a target shares with the source

    def counts(self, prepared: PreparedDomain | None, task: Task) -> dict[str, Any]:
        """Return the numbers of scored, available and published cases, the missing ones, and notes.

        ``prepared``: None where no network of this version saw the images.
        """
        domain = self.located.domain
        notes = ["every image is grey"] if prepared is not None and prepared.is_grey else []
        notes += [self.note] if self.note else []
        if domain.field_of_view is not None:
            notes.append(f"field of view found by a threshold of {domain.field_of_view:g}")
        if prepared is not None and prepared.note:
            notes.append(prepared.note)
        if domain.slices is not None:
            trained = "those with a label alone" if domain.slices.keep == "labelled" else "all of them"
            notes.append(f"volumes, predicted slice by slice; a source trains on {trained}")
            if domain.slices.crop == "labelled":
                notes.append("an oracle: nothing is predicted beyond the labelled slices")
        for name, members in task.regions.items():
            notes.append(f"{name} is {' + '.join(task.classes[index] for index in members)}")
        return ({"note": "; ".join(notes)} if notes else {}) | {
            "scored": len(self.ids),
            "available": len(domain.cases),
            "published": domain.published or len(domain.cases) + len(domain.missing),
            "missing": list(domain.missing),
        }


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything a run reads, identified but not loaded."""

    source: LocatedDomain
    training: tuple[str, ...]
    validation: tuple[str, ...]
    target: LocatedDomain | None  # the one that the request names, for adaptation or oracle selection
    scored: Mapping[str, EvaluationSet]  # "held-out" and each target

    @property
    def split(self) -> str:
        """Digest of the training and validation cases."""
        return digest({"training": self.training, "held_out": self.validation})

    def prepare(
        self,
        task: Task,
        config: PreprocessConfig,
        cache: Path,
        on_case: OnCase = no_report,
        look: Callable[[], None] = lambda: None,
        trains: bool = True,
        scored: Collection[str] | None = None,
    ) -> dict[str, PreparedDomain]:
        """Return the domains that are trained on or scored on the network's grid, by name, cached where possible.

        Args:
            task: of the run.
            config: of the grid.
            cache: folder of prepared data.
            on_case: called after each case.
            look: called while another process prepares a domain; see :func:`prepare_domain`.
            trains: False leaves out those that only training sees.
            scored: names of those to score; None: all.

        Raises:
            DataError: files that cannot be used, all of them in one message.
            StorageError: see :func:`prepare_domain`.
        """
        trained_on = [located for located in (self.source, self.target) if located is not None and trains]
        scored_on = [cases.located for name, cases in self.scored.items() if scored is None or name in scored]
        return {
            located.domain.name: prepare_domain(
                located.domain, task, config, located.manifest.digest, cache, on_case, look
            )
            for located in {each.domain.name: each for each in (*trained_on, *scored_on)}.values()
        }


def find_run_data(
    request: RunRequest, task: Task, targets: Sequence[str], data_source: DataSource, say: Say
) -> RunData:
    """Find and identify the domains of a run.

    Raises:
        DataError: a domain is missing, incomplete under ``strict``, without labels, not to be split, or shares images
            with the source.
        UsageError: a name that is no domain, or that cannot be a target of this run.
    """
    domains = {name: load_domain(task, name, data_source, say) for name in domain_names(request, targets)}
    division = divide_cases(request, domains, targets)
    located = {name: _identified(domain, data_source) for name, domain in domains.items()}
    source = located[request.source]
    for name, other in located.items():
        if name != request.source:
            _require_disjoint(source, other, request.source, name)
    require_apart(source.manifest, division.training, division.validation)
    if request.fold is not None:
        seen = division.training + division.validation
        require_apart(source.manifest, seen, division.scored[request.source])
    scored = {VALIDATION: EvaluationSet(source, division.validation)}
    for name, ids in division.scored.items():
        note = "" if name == request.source else _shared_labels(source, located[name], say)
        scored[name] = EvaluationSet(located[name], ids, note)
    target = located[request.target] if request.target is not None else None
    return RunData(source, division.training, division.validation, target, scored)


def domain_names(request: RunRequest, targets: Sequence[str]) -> list[str]:
    """Return the domains of a run: its source, the targets to score and the one that it adapts to."""
    return list(dict.fromkeys(name for name in (request.source, *targets, request.target) if name is not None))


@dataclass(frozen=True, slots=True)
class Division:
    """Ids of the cases that train, validate and are scored in each target."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    scored: Mapping[str, tuple[str, ...]]


def divide_cases(request: RunRequest, domains: Mapping[str, Domain], targets: Sequence[str]) -> Division:
    """Return which cases of its domains a run trains on and scores; no file is read.

    Raises:
        DataError: a domain without labels, or whose cases cannot be split.
        UsageError: a name that cannot be a target of this run.
    """
    if VALIDATION in targets:
        raise UsageError(f"a target cannot be called {VALIDATION!r}: the source's held-out cases are; rename it")
    if request.fold is None and request.source in targets:
        raise UsageError(
            f"{request.source!r} is both the source and a target: give another --source, or --target; in a suite, "
            "another source or target in the column, or --sources all for every pair of domains"
        )
    if request.training.selection == "oracle" and request.target not in targets:
        raise UsageError(f"oracle selection on {request.target!r}, which is not among the targets to score")
    for name in dict.fromkeys((request.source, *targets)):
        require_labels(name, domains[name])
    source = domains[request.source]
    scored = {name: tuple(case.id for case in domains[name].cases) for name in targets}
    cases = source.cases
    if request.fold is not None:  # no case of the fold trains or validates
        fold = folds(source, request.fold.count)[request.fold.index]
        scored = {request.source: fold}
        cases = tuple(case for case in cases if case.id not in fold)
    validation = held_out(replace(source, cases=cases), whole=request.fold is None)
    return Division(tuple(case.id for case in cases if case.id not in validation), validation, scored)


def find_domain(task: Task, name: str, data_source: DataSource, say: Say) -> LocatedDomain:
    """Find and identify a domain; see :func:`load_domain`."""
    return _identified(load_domain(task, name, data_source, say), data_source)


def load_domain(task: Task, name: str, data_source: DataSource, say: Say) -> Domain:
    """Return a domain; report its missing cases, or refuse them if the data source is strict."""
    if name not in task.sources and name not in task.targets:
        raise unknown(f"domain of task {task.name!r}", name, [*task.sources, *task.targets])
    domain = task.domain(name)(data_source.data_root)
    if domain.missing:
        total = len(domain.cases) + len(domain.missing)
        gap = f"{name}: {len(domain.cases)} of {total} cases; image or label missing for {', '.join(domain.missing)}"
        if data_source.strict:
            raise DataError(f"{gap} (refused because of --strict)")
        say(gap)
    return domain


def _identified(domain: Domain, data_source: DataSource) -> LocatedDomain:
    return LocatedDomain(domain, read_manifest(domain, data_source.cache / "hashes.json"))


def require_labels(name: str, domain: Domain) -> None:
    """Refuse a domain of which some cases have no label."""
    bare = [case for case in domain.cases if case.label is None]
    if bare:
        raise DataError(
            f"{name}: {len(bare)} of {len(domain.cases)} cases have no label, the first is {bare[0].image}: "
            "without labels nothing is trained or scored: give the domain the key labels in its task file; "
            "`bench predict` segments images without them"
        )


def _require_disjoint(source: LocatedDomain, target: LocatedDomain, source_name: str, target_name: str) -> None:
    mine, theirs = source.domain.file_channels, target.domain.file_channels
    if mine and theirs and not set(mine) & set(theirs):  # two images of a patient in one file, as in two files
        return
    shared = shared_files(source.manifest, target.manifest)
    if shared:
        raise DataError(
            f"source {source_name!r} and target {target_name!r} share {len(shared)} identical images "
            f"({listed_pairs(shared)}): a target must not contain training images"
        )


def _shared_labels(source: LocatedDomain, target: LocatedDomain, say: Say) -> str:
    """Say which labels of a target are files of the source, and return it as a note; empty: none is."""
    shared = shared_labels(source.manifest, target.manifest)
    if not shared:
        return ""
    say(
        f"{target.domain.name}: the labels of {len(shared)} cases are files of source {source.domain.name} "
        f"({listed_pairs(shared)}), as of two images of one patient; tables say so. `only` in the task file leaves "
        "cases out"
    )
    return f"{len(shared)} labels are files of the source: the same patients"
