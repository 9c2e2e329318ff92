"""Which cases of a domain are held out from training, and the folds of an intra-domain run.

Lists that tables depend on are committed under ``splits/``; every other domain is split by one rule, so that nobody
chooses: within each stratum, cases in the order of the SHA-256 of their ids.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .base import Case, DataError, Domain

HELD_OUT_FRACTION = 0.2


def held_out(domain: Domain) -> tuple[str, ...]:
    """Return the sorted ids of the cases that no training step sees; they validate a source.

    The committed list of that name decides where there is one (ids not on disk are passed over); otherwise a fifth of
    the labelled cases, at least one, spread over the strata.

    Raises:
        DataError: fewer than two labelled cases, or a list that leaves nothing on either side.
    """
    cases = _labelled(domain)
    if len(cases) < 2:
        raise DataError(f"domain {domain.name!r} has {len(cases)} labelled cases; training and holding out need two")
    file = Path(__file__).with_name("splits") / f"{domain.name}.txt"
    if not file.is_file():
        return choose(cases, max(1, round(HELD_OUT_FRACTION * len(cases))))
    chosen = sorted(read_split(file) & {case.id for case in cases})
    if not chosen or len(chosen) == len(cases):
        state = "none" if not chosen else "all"
        raise DataError(
            f"the list {file} names {state} of the {len(cases)} cases of domain {domain.name!r} on disk: "
            "complete the data, or give a domain of your own another name"
        )
    return tuple(chosen)


def read_split(file: Path) -> set[str]:
    """Return the ids of a split list: one a line, ``#`` starts a comment line."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def choose(cases: Sequence[Case], count: int) -> tuple[str, ...]:
    """Return ``count`` ids, sorted, each stratum giving its share (largest remainders), in the order of hashes."""
    groups = _strata(cases)
    exact = {stratum: count * len(group) / len(cases) for stratum, group in groups.items()}
    share = {stratum: int(value) for stratum, value in exact.items()}
    for stratum in sorted(groups, key=lambda s: (share[s] - exact[s], s))[: count - sum(share.values())]:
        share[stratum] += 1
    return tuple(sorted(id for stratum, group in groups.items() for id in group[: share[stratum]]))


def folds(domain: Domain, count: int) -> list[tuple[str, ...]]:
    """Return ``count`` disjoint folds (sorted ids) that cover the labelled cases.

    Sizes differ by one at most, and so does the number of cases of any stratum.

    Raises:
        DataError: fewer cases than folds, or fewer than two folds.
    """
    cases = _labelled(domain)
    if not 2 <= count <= len(cases):
        raise DataError(f"domain {domain.name!r} with {len(cases)} labelled cases cannot be cut into {count} folds")
    # Dealing the strata one after another, without starting anew, balances both the strata and the total.
    order = [id for _, group in sorted(_strata(cases).items()) for id in group]
    return [tuple(sorted(order[index::count])) for index in range(count)]


def _labelled(domain: Domain) -> list[Case]:
    return [case for case in domain.cases if case.label is not None]


def _strata(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Return stratum -> ids in the order of their hashes."""
    groups: dict[str, list[str]] = {}
    for case in sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).hexdigest()):
        groups.setdefault(case.stratum, []).append(case.id)
    return groups
