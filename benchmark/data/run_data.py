"""The data of one run: which domains, which of their cases train, select and score, and in which version."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssdg.datasets.base import DataError, Domain, Task
from ssdg.datasets.manifest import Manifest, read_manifest, shared_files
from ssdg.datasets.partition import folds, held_out

from ..errors import UsageError, unknown
from ..spec import PreprocessConfig, RunRequest, digest
from ..storage.run_folder import VALIDATION
from .prepared import PreparedDomain, prepare_domain

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where domains are found, and how much of one must be there."""

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
    """Cases to score: a target's, or the source's held-out ones."""

    found: LocatedDomain
    ids: tuple[str, ...]

    def counts(self, prepared: PreparedDomain) -> dict[str, Any]:
        """Return how many cases are scored, of how many published, which are missing on disk, and what is odd."""
        domain = self.found.domain
        notes = {"note": "every image is grey"} if prepared.is_grey else {}
        return notes | {
            "scored": len(self.ids),
            "available": len(domain.cases),
            "published": domain.published or len(domain.cases) + len(domain.missing),
            "missing": list(domain.missing),
        }


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything a run reads, found and identified; nothing is loaded yet."""

    source: LocatedDomain
    training: tuple[str, ...]
    validation: tuple[str, ...]
    target: (
        LocatedDomain | None
    )  # the one the request names: the method sees its images, or its labels select the weights
    scored: Mapping[str, EvaluationSet]  # "held-out" and each target

    @property
    def split(self) -> str:
        """Digest of who trains and who is held out."""
        return digest({"training": self.training, "held_out": self.validation})

    def prepare(
        self, task: Task, config: PreprocessConfig, cache: Path, tell: Callable[[str, int, int], None] | None = None
    ) -> dict[str, PreparedDomain]:
        """Return every domain on the network's grid by name, from the cache where it is there.

        Raises:
            DataError: files that cannot be used, all of them in one message.
        """
        domains = {found.domain.name: found for found in [self.source, *(s.found for s in self.scored.values())]}
        return {
            name: prepare_domain(found.domain, task, config, found.manifest.digest, cache, tell)
            for name, found in domains.items()
        }


def find_run_data(
    request: RunRequest, task: Task, targets: Sequence[str], data_source: DataSource, say: Say
) -> RunData:
    """Find and identify the domains of a run.

    Args:
        request: names the source and, where training looks at a target, that.
        task: where the names are looked up.
        targets: domains to score.
        data_source: where they are.
        say: told about incomplete domains.

    Raises:
        DataError: a domain is missing, incomplete under ``strict``, without labels, or shares images with the source.
    """
    if VALIDATION in targets:
        raise UsageError(f"a target cannot be called {VALIDATION!r}: the source's held-out cases are; rename it")
    source = find_domain(task, request.source, data_source, say)
    others = {name: find_domain(task, name, data_source, say) for name in targets if name != request.source}
    for name, found in others.items():
        _require_disjoint(source, found, request.source, name)
    for name, found in {request.source: source, **others}.items():
        _require_labels(name, found.domain)
    if request.fold is not None:
        return _intra_run_data(request, source)
    chosen = held_out(source.domain)
    training = tuple(case.id for case in source.domain.cases if case.id not in chosen)
    scored = {VALIDATION: EvaluationSet(source, chosen)}
    scored |= {
        name: EvaluationSet(found, tuple(case.id for case in found.domain.cases)) for name, found in others.items()
    }
    if request.target is not None and request.target not in others:
        raise UsageError(
            f"{request.method} trains for target {request.target!r}, which is not among the ones to score"
        )
    target = others[request.target] if request.target is not None else None
    return RunData(source, training, chosen, target, scored)


def find_domain(task: Task, name: str, data_source: DataSource, say: Say) -> LocatedDomain:
    """Find and identify one domain; say what is missing of it, or refuse it where the data_source is strict."""
    if name not in task.sources and name not in task.targets:
        raise unknown(f"domain of task {task.name!r}", name, [*task.sources, *task.targets])
    domain = task.domain(name)(data_source.data_root)
    if domain.missing:
        total = len(domain.cases) + len(domain.missing)
        gap = f"{name}: {len(domain.cases)} of {total} cases; the image is missing for {', '.join(domain.missing)}"
        if data_source.strict:
            raise DataError(f"{gap} (refused because of --strict)")
        say(gap)
    return LocatedDomain(domain, read_manifest(domain, data_source.cache / "hashes.json"))


def _intra_run_data(request: RunRequest, target: LocatedDomain) -> RunData:
    """Return the run_data of one fold: its cases are scored, and no case of it trains or selects."""
    assert request.fold is not None
    fold = folds(target.domain, request.fold.count)[request.fold.index]
    others = tuple(case for case in target.domain.cases if case.id not in fold)
    chosen = held_out(replace(target.domain, cases=others))
    training = tuple(case.id for case in others if case.id not in chosen)
    scored = {VALIDATION: EvaluationSet(target, chosen), request.source: EvaluationSet(target, fold)}
    return RunData(target, training, chosen, None, scored)


def _require_labels(name: str, domain: Domain) -> None:
    bare = [case for case in domain.cases if case.label is None]
    if bare:
        raise DataError(
            f"{name}: {len(bare)} of {len(domain.cases)} cases have no label, the first is {bare[0].image}: "
            "without labels nothing is trained or scored; `bench predict` segments images without them"
        )


def _require_disjoint(source: LocatedDomain, target: LocatedDomain, source_name: str, target_name: str) -> None:
    shared = shared_files(source.manifest, target.manifest)
    if shared:
        pairs = ", ".join(f"{a} = {b}" for a, b in shared[:5])
        raise DataError(
            f"source {source_name!r} and target {target_name!r} share {len(shared)} identical images ({pairs}): "
            "a target must not contain training images"
        )
