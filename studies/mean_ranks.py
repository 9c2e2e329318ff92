"""How often ``bench rank SUITE1 SUITE2 …`` separates rows that are equal: a simulation, printed as a Markdown table.

    python studies/mean_ranks.py [--studies N]

Scores are row x case (SD 2 points) + run + noise (SD 1 point), normal; a row's run counts on every target of its
suite. The run SD is 1.5 points, in one row of the unequal studies ten times as much; in studies with a hard target
everything varies five times as much on the last one. All rows are equal but where power is asked for: there the first
is better than each other one by 2 points everywhere. Error: share of studies in which some pair of equal rows is
separated, p at most 0.05 after Holm's method; power: share of the pairs with the better row that are.
"""

import argparse
import itertools
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ssdg.benchmark.comparisons.mean_ranks import row_pairs
from ssdg.benchmark.statistics import TargetScores

ROW_BY_CASE, RUN, NOISE, EFFECT = 2.0, 1.5, 1.0, 2.0  # points
HARD = 5  # factor of every SD on a hard target
ALPHA = 0.05
CASES = 20


class Setting(NamedTuple):
    """One kind of simulated study."""

    suites: int
    targets: int  # of each suite
    rows: int
    seeds: int
    widest: int  # factor of the last row's run SD
    hard: int = 1  # factor of every SD on the last target


SETTINGS = [
    Setting(suites, targets, rows, seeds, widest, hard)
    for (suites, targets), rows, seeds, (widest, hard) in itertools.product(
        ((2, 2), (4, 1), (4, 2)), (5, 8), (3, 5), ((1, 1), (10, 1), (1, HARD))
    )
]


def simulated(setting: Setting, rng: Generator, better: float = 0.0) -> list[TargetScores]:
    """Return the scores of a study, in points; the first row is better by so many."""
    targets = []
    for suite in range(setting.suites):
        spread = np.full(setting.rows, RUN)
        spread[-1] *= setting.widest
        runs = rng.normal(size=(setting.rows, setting.seeds)) * spread[:, None]
        for target in range(setting.targets):
            own = ROW_BY_CASE * rng.normal(size=(setting.rows, 1, CASES))
            noise = NOISE * rng.normal(size=(setting.rows, setting.seeds, CASES))
            last = (suite, target) == (setting.suites - 1, setting.targets - 1)
            scores = 70 + (own + runs[..., None] + noise) * (setting.hard if last else 1)
            scores[0] += better
            targets.append(TargetScores(list(scores), runs=suite))
    return targets


def separated(targets: list[TargetScores]) -> set[tuple[int, int]]:
    """Return the pairs of rows that a study separates."""
    goodness = np.mean([[scores.mean() for scores in target.scores] for target in targets], axis=0)
    return {
        (min(pair.first, pair.second), max(pair.first, pair.second))
        for pair in row_pairs(targets, goodness)
        if pair.adjusted <= ALPHA
    }


def measure(setting: Setting, studies: int, seed: int = 0) -> tuple[float, float]:
    """Return error and power, in 0..1."""
    rng = np.random.default_rng([seed, *setting])
    errors = [bool(separated(simulated(setting, rng))) for _ in range(studies)]
    found = [separated(simulated(setting, rng, EFFECT)) for _ in range(studies)]
    power = [sum(0 in pair for pair in pairs) / (setting.rows - 1) for pairs in found]
    return float(np.mean(errors)), float(np.mean(power))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="of each kind, twice")
    options = parser.parse_args()
    print("| suites x targets | rows | seeds | SDs | error, nominal 5 % | power at 2 points |")
    print("|---|---|---|---|---|---|")
    for setting in SETTINGS:
        error, power = measure(setting, options.studies)
        vary = "alike" if setting.widest == 1 else f"one row {setting.widest} times as wide"
        vary = vary if setting.hard == 1 else f"one target {setting.hard} times as wide"
        place = f"{setting.suites} x {setting.targets}"
        print(
            f"| {place} | {setting.rows} | {setting.seeds} | {vary} | {100 * error:.1f} | {100 * power:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
