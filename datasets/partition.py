"""Which cases of a domain are held out from training, and the folds of an intra-domain run.

Lists that tables depend on are committed under ``splits/``; every other domain is split by one rule, so that nobody
chooses: within each stratum, cases in the order of the SHA-256 of their ids.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .base import Case, DataError, Domain

HELD_OUT_FRACTION = 0.2

REGROUP = "let {group} (or groups) in the task file name a patient or site, or leave it out"


def held_out(domain: Domain, whole: bool = True) -> tuple[str, ...]:
    """Return the sorted ids of the cases that no training step sees; they validate a source.

    The committed list of that name decides where there is one (ids not on disk are passed over); otherwise a fifth of
    the labelled cases, at least one, spread over the strata. So it is where the domain is not ``whole``, without the
    cases of a fold, and the list has nothing on either side.

    Raises:
        DataError: fewer than two labelled cases, or a list that leaves nothing on either side.
    """
    cases = _labelled(domain)
    if len(cases) < 2:
        raise DataError(f"domain {domain.name!r} has {len(cases)} labelled cases; training and holding out need two")
    file = Path(__file__).with_name("splits") / f"{domain.name}.txt"
    listed = read_split(file) & {case.id for case in cases} if file.is_file() else set()
    if 0 < len(listed) < len(cases):
        return tuple(sorted(listed))
    if not file.is_file() or not whole:
        chosen = choose(cases, max(1, round(HELD_OUT_FRACTION * len(cases))))
        if len(chosen) == len(cases):
            raise DataError(
                f"domain {domain.name!r}: all cases are of one group, {cases[0].group!r}, which no split divides; "
                f"training and holding out need two: {REGROUP}"
            )
        return chosen
    state = "all" if listed else "none"
    raise DataError(
        f"the list {file} names {state} of the {len(cases)} cases of domain {domain.name!r} on disk: "
        "complete the data, or give a domain of your own another name"
    )


def read_split(file: Path) -> set[str]:
    """Return the ids of a split list: one a line, ``#`` starts a comment line."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def choose(cases: Sequence[Case], count: int) -> tuple[str, ...]:
    """Return about ``count`` ids, sorted: each stratum gives its share (largest remainders), in the order of hashes.

    A group is taken whole, if that brings its stratum nearer to its share; if none does, the smallest is.
    """
    strata = _strata(cases)
    sizes = {stratum: sum(map(len, groups)) for stratum, groups in strata.items()}
    exact = {stratum: count * size / len(cases) for stratum, size in sizes.items()}
    share = {stratum: int(value) for stratum, value in exact.items()}
    for stratum in sorted(strata, key=lambda s: (share[s] - exact[s], s))[: count - sum(share.values())]:
        share[stratum] += 1
    chosen: list[str] = []
    for stratum, groups in strata.items():
        lacking = share[stratum]
        for group in groups:
            if abs(lacking - len(group)) < abs(lacking):
                chosen += group
                lacking -= len(group)
    smallest = min((group for groups in strata.values() for group in groups), key=lambda group: len(group))
    return tuple(sorted(chosen or smallest))


def folds(domain: Domain, count: int) -> list[tuple[str, ...]]:
    """Return ``count`` disjoint folds (sorted ids) that cover the labelled cases; groups stay together.

    The numbers of groups (of cases, where each is a group of its own) differ by one at most over the folds, and so
    does the number of groups of any stratum.

    Raises:
        DataError: fewer groups than folds, or fewer than two folds.
    """
    # Dealing the strata one after another, without starting anew, balances both the strata and the total.
    order = [group for _, groups in sorted(_strata(_labelled(domain)).items()) for group in groups]
    if not 2 <= count <= len(order):
        grouped = any(len(group) > 1 for group in order)
        kind = f"group{'s' * (len(order) != 1)} of cases" if grouped else "labelled cases"
        advice = f"; {REGROUP}" if grouped else ""
        raise DataError(f"domain {domain.name!r} with {len(order)} {kind} cannot be cut into {count} folds{advice}")
    return [tuple(sorted(id for group in order[index::count] for id in group)) for index in range(count)]


def _labelled(domain: Domain) -> list[Case]:
    return [case for case in domain.cases if case.label is not None]


def _strata(cases: Sequence[Case]) -> dict[str, list[list[str]]]:
    """Return stratum -> groups of ids in the order of the groups' hashes; a group is of its first case's stratum."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault(("group", case.group) if case.group else ("case", case.id), []).append(case)
    strata: dict[str, list[list[str]]] = {}
    for key in sorted(groups, key=lambda key: hashlib.sha256(key[1].encode()).hexdigest()):
        members = groups[key]
        strata.setdefault(members[0].stratum, []).append([case.id for case in members])
    return strata
