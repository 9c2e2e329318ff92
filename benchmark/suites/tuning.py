"""Random trials of a row's settings, for ``bench tune``: drawn here, judged on held-out source cases alone."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from ..digests import JSON
from ..errors import unknown
from ..randomness import derived_seed
from ..spec import OptimizerConfig
from .suite import Row

LEARNING_RATE = "optimizer.lr"
"""Tuned with every row, by the same draws."""


TUNED = "_tuned"
"""Added to the id of a row, for the row that won its trials."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values of a number that trials draw from: log-uniformly where both ends are positive, else uniformly."""

    low: float
    high: float
    whole: bool = False

    def draw(self, share: float) -> JSON:
        """Return the value below which a share (0..1) of the draws lies, in three significant digits."""
        positive = self.low > 0
        value = self.low * (self.high / self.low) ** share if positive else self.low + share * (self.high - self.low)
        return round(value) if self.whole else float(f"{value:.3g}")


def ranges(config: type[Any]) -> dict[str, Range]:
    """Return the settings that may be tuned: the learning rate, and each field of a method's Config with a range.

    A field declares it as ``metadata={"range": (low, high)}``.
    """
    own = [f.name for f in dataclasses.fields(config) if "range" in f.metadata]
    return {LEARNING_RATE: _field(OptimizerConfig, "lr"), **{f"method.{name}": _field(config, name) for name in own}}


def _field(config: type[Any], name: str) -> Range:
    [field] = (f for f in dataclasses.fields(config) if f.name == name)
    low, high = field.metadata["range"]
    return Range(low, high, whole=get_type_hints(config)[name] is int)


def trial_rows(row: Row, count: int, tuned: Mapping[str, Range], names: Sequence[str] | None = None) -> list[Row]:
    """Return a row for each trial: first the row as it is, then with random values of some settings.

    Args:
        row: to be tuned.
        count: of trials, at least 2.
        tuned: from :func:`ranges`.
        names: the settings to draw; None draws all.

    Raises:
        UsageError: a setting without a range.
    """
    for name in names or ():
        if name not in tuned:
            raise unknown(f"setting with a range of method {row.method!r}", name, tuned)
    chosen = tuned if names is None else {name: tuned[name] for name in names}
    rows = [replace(row, id=f"{row.id}-trial0")]
    for trial in range(1, count):
        # A function of name and trial alone: every row of a table is tried with the same learning rates.
        shares = {name: (derived_seed(0, f"tune {name}", trial) + 0.5) / 2**32 for name in chosen}
        drawn = {name: chosen[name].draw(share) for name, share in shares.items()}
        rows.append(replace(row, id=f"{row.id}-trial{trial}", settings={**row.settings, **drawn}))
    return rows


def tuned_row(row: Row, winner: Row, trials: int) -> str:
    """Return the TOML table of the row that won, as a suite takes it."""
    values: dict[str, JSON] = {"id": f"{row.id}{TUNED}", "label": f"{row.label}, tuned", "method": row.method}
    values |= {"access": row.access, "tuned": trials}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    if settings := ", ".join(f'"{key}" = {json.dumps(value)}' for key, value in winner.settings.items()):
        lines.append(f"settings = {{ {settings} }}")
    return "\n".join(["[[rows]]", *lines]) + "\n"
