"""Rows of one prediction a case: the mean of the softmax probabilities of another row's seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .suite import ENSEMBLE, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleRow(Row):
    """An ensemble that was made of the seeds of another row."""

    base: Row
    members: tuple[int, ...]  # seeds of the base
    protocols: tuple[str, ...]  # that it was made under; it is in no table of others

    def is_under(self, protocol: str) -> bool:
        """Return whether it belongs in tables of a protocol."""
        return protocol in self.protocols

    def with_settings(self, settings: Mapping[str, Any]) -> Row:
        """Return the ensemble of runs with some settings changed."""
        base = self.base.with_settings(settings)
        return replace(self, base=base, settings=shared_settings(base))


def make_ensemble_row(id: str, base: Row, members: tuple[int, ...], protocols: tuple[str, ...]) -> EnsembleRow:
    """Return the row of an ensemble, with the words that mark it."""
    count, several = len(members), "" if len(members) == 1 else "s"
    note = (
        f"mean of the softmax probabilities of {base.label}'s seed{several} {', '.join(map(str, members))}: one "
        f"prediction a case, so no SD; it computes {count} time{several} what a run does, and is neither bold, "
        "compared nor ranked"
    )
    return EnsembleRow(
        id=id,
        method=ENSEMBLE,
        label=f"{base.label}, ensemble of {count} seed{several}",
        settings=shared_settings(base),
        access=base.access,
        note=note,
        base=base,
        members=members,
        protocols=protocols,
    )


def shared_settings(row: Row) -> dict[str, Any]:
    """Return the settings of a row that are not its method's."""
    return {key: value for key, value in row.settings.items() if not key.startswith("method.")}
