"""Whether tables should borrow run variances from their other rows: a simulation, printed as a Markdown table.

With three seeds a row's run variance has two degrees of freedom. Moderated variances (Smyth 2004; against outliers
Phipson et al. 2016) pull each towards what the rows of a table have in common, and add the degrees of freedom that
this is worth. Here the crossed interval of ``ssdg.benchmark.statistics.mean_difference`` is made with each kind:

    python studies/run_variances.py [--draws N]

Scores are row x case (SD 2 points) + run + noise (SD 1 point), normal. The run SD is that of the table, in one row of
the unequal tables ten times as much. Rows are compared with the first one. Error: share of intervals that exclude 0
where the rows are equal; power: where they differ by 2 points; width: median half of an interval, in points. "wide"
are comparisons of the wide row, all else of the others among each other.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats: TypeAlias = NDArray[np.float64]

ROW_BY_CASE, NOISE, EFFECT = 2.0, 1.0, 2.0  # points
ALPHA = 0.05
TAILS = (0.05, 0.10)  # shares that the robust fit winsorizes, those of limma
MOST = 1e6  # prior degrees of freedom that stand for infinity
PRIORS = np.geomspace(0.05, MOST, 600)


class Setting(NamedTuple):
    """One kind of simulated table."""

    run_sd: float
    widest: int  # factor of the last row's run SD
    seeds: int
    cases: int
    rows: int


SETTINGS = [
    Setting(run_sd, widest, seeds, cases, rows)
    for widest, run_sd, seeds, cases, rows in itertools.product((1, 10), (0.5, 1.5), (3, 5), (22, 10), (10, 13))
]


def plain(variances: Floats, df: int) -> tuple[Floats, Floats]:
    """Return variances (tables, rows) as they are, with their degrees of freedom: today's interval."""
    return variances, np.full_like(variances, df)


def moderated(variances: Floats, df: int) -> tuple[Floats, Floats]:
    """Return posterior variances and degrees of freedom by the moments of log F, as Smyth (2004)."""
    logs = np.log(variances)
    # The variance of log F(df, prior) falls with the prior degrees of freedom.
    spread = special.polygamma(1, df / 2) + special.polygamma(1, PRIORS / 2)
    prior = np.interp(-logs.var(axis=-1, ddof=1, keepdims=True), -spread, PRIORS)
    offset = special.digamma(df / 2) - np.log(df / 2) - special.digamma(prior / 2) + np.log(prior / 2)
    return _posterior(variances, df, np.exp(logs.mean(axis=-1, keepdims=True) - offset), prior)


def robust(variances: Floats, df: int) -> tuple[Floats, Floats]:
    """Return those of winsorized moments, the prior weaker for outlying rows, as Phipson et al. (2016)."""
    logs, rows = np.log(variances), variances.shape[-1]
    low, high = np.quantile(logs, [TAILS[0], 1 - TAILS[1]], axis=-1)[..., None]
    clipped = np.clip(logs, low, high)
    means, spread = _winsorized_moments(df)
    prior = np.interp(-clipped.var(axis=-1, ddof=1, keepdims=True), -spread, PRIORS)
    shift = np.interp(np.log(prior), np.log(PRIORS), means)
    common = np.exp(clipped.mean(axis=-1, keepdims=True) - shift)
    tail = np.maximum(stats.f.sf(variances / common, df, prior), 1e-300)
    rank = np.argsort(np.argsort(tail, axis=-1), axis=-1)
    regular = np.minimum(tail / ((rank + 0.5) / rows), 1.0)
    # Prior degrees of freedom with which the most extreme row would be at its distribution's median.
    extreme = tail.min(axis=-1, keepdims=True)
    outlying = np.minimum(np.log(0.5) / np.log(extreme) * prior, prior)
    again = stats.f.logsf((variances / common).max(axis=-1, keepdims=True), df, outlying)
    outlying = np.minimum(np.log(0.5) / again * outlying, prior)
    of_rows = np.where(regular.min(axis=-1, keepdims=True) < 1, regular * prior + (1 - regular) * outlying, prior)
    # The more extreme a row, the weaker its prior: monotone in the tail.
    order = np.argsort(tail, axis=-1)
    steps = np.maximum.accumulate(np.take_along_axis(of_rows, order, axis=-1), axis=-1)
    np.put_along_axis(of_rows, order, steps, axis=-1)
    return _posterior(variances, df, common, of_rows)


def _winsorized_moments(df: int) -> tuple[Floats, Floats]:
    """Return mean and variance of a winsorized log F(df, prior) for each of ``PRIORS``."""
    shares = np.clip((np.arange(1000) + 0.5) / 1000, TAILS[0], 1 - TAILS[1])
    logs = np.log(stats.f.ppf(shares, df, PRIORS[:, None]))
    return logs.mean(axis=1), logs.var(axis=1)


def _posterior(variances: Floats, df: int, common: Floats, prior: Floats) -> tuple[Floats, Floats]:
    # No row knows more than all rows together.
    pooled = df * variances.shape[-1]
    freedom = np.broadcast_to(np.minimum(df + prior, pooled), variances.shape)
    return (df * variances + prior * common) / (df + prior), freedom


KINDS = {"today": plain, "moderated": moderated, "robust": robust}


class Tally(NamedTuple):
    """What one kind of interval did in one setting."""

    error: float
    power: float
    width: float
    wide_error: float  # NaN where no row is wide


def intervals(scores: Floats, kind: Callable[[Floats, int], tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return differences to the first row, and half their intervals, (tables, rows - 1).

    ``scores`` are (tables, rows, seeds, cases).
    """
    seeds, cases = scores.shape[2:]
    by_case = scores.mean(axis=2)
    paired = by_case[:, 1:] - by_case[:, :1]
    variances, df = kind(scores.mean(axis=3).var(axis=2, ddof=1), seeds - 1)
    part, variances = paired.var(axis=2, ddof=1) / cases, variances / seeds
    total = part + variances[:, 1:] + variances[:, :1]
    squares = part**2 / (cases - 1) + (variances**2 / df)[:, 1:] + (variances**2 / df)[:, :1]
    return paired.mean(axis=2), special.stdtrit(total**2 / squares, 1 - ALPHA / 2) * np.sqrt(total)


def simulated(setting: Setting, draws: int, seed: int = 0) -> Floats:
    """Return scores (draws, rows, seeds, cases) of rows without a true difference, in points."""
    rng = np.random.default_rng([seed, int(10 * setting.run_sd), *setting[1:]])
    shape = (draws, setting.rows, setting.seeds, setting.cases)
    scores = rng.normal(0, NOISE, shape) + rng.normal(0, ROW_BY_CASE, (draws, setting.rows, 1, setting.cases))
    run_sd = np.full(setting.rows, setting.run_sd)
    run_sd[-1] *= setting.widest
    return scores + run_sd[:, None, None] * rng.normal(0, 1, (*shape[:3], 1))


def tally(setting: Setting, draws: int) -> dict[str, Tally]:
    """Return what each kind of interval does in simulated tables."""
    scores, tallies = simulated(setting, draws), {}
    last = setting.rows - 1 - (setting.widest > 1)  # comparisons of ordinary rows
    for name, kind in KINDS.items():
        difference, half = intervals(scores, kind)
        excluded = np.abs(difference) > half
        tallies[name] = Tally(
            error=float(excluded[:, :last].mean()),
            power=float((np.abs(difference + EFFECT) > half)[:, :last].mean()),
            width=float(np.median(half[:, :last])),
            wide_error=float(excluded[:, last:].mean()) if setting.widest > 1 else float("nan"),
        )
    return tallies


def lines(settings: list[Setting], draws: int) -> Iterator[str]:
    """Yield the lines of the table, each kind's numbers in the order of ``KINDS``."""
    kinds = " / ".join(KINDS)
    yield f"Each cell: {kinds}; {draws:,} tables a line."
    yield ""
    yield "| run SD | wide row | seeds | cases | rows | error, % | error of the wide row, % | power, % | width |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for setting in settings:
        tallies = tally(setting, draws).values()
        percent = [
            [f"{100 * getattr(of_kind, name):.1f}" for of_kind in tallies]
            for name in ("error", "wide_error", "power")
        ]
        error, wide, power = (" / ".join(texts) for texts in percent)
        widths = " / ".join(f"{of_kind.width:.2f}" for of_kind in tallies)
        wide = wide if setting.widest > 1 else ""
        factor = f"x {setting.widest}" if setting.widest > 1 else "none"
        first = f"| {setting.run_sd:g} | {factor} | {setting.seeds} | {setting.cases} | {setting.rows}"
        yield f"{first} | {error} | {wide} | {power} | {widths} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="simulated tables of each kind [default: 4000]")
    for line in lines(SETTINGS, parser.parse_args().draws):
        print(line, flush=True)


if __name__ == "__main__":
    main()
