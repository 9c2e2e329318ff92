"""How often ``bench rank SUITE1 SUITE2 …`` separates rows that are equal: a simulation, printed as a Markdown table.

    python studies/mean_ranks.py [--studies N] [--draws N]

Scores are row x case (SD 2 points) + run + noise (SD 1 point), normal; a row's run counts on every target of its
suite. The run SD is 1.5 points, in one row of the unequal studies ten times as much. All rows are equal but where
power is asked for: there the first is better than each other one by 2 points everywhere. Error: share of studies in
which some pair of equal rows is separated, p at most 0.05 after Holm's method; power: share of the pairs with the
better row that are.
"""

import argparse
import itertools
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ssdg.benchmark.comparisons.mean_ranks import PlaceScores, drawn_means, rank_pairs
from ssdg.benchmark.comparisons.ranking import competition_ranks

ROW_BY_CASE, RUN, NOISE, EFFECT = 2.0, 1.5, 1.0, 2.0  # points
ALPHA = 0.05
CASES = 20


class Setting(NamedTuple):
    """One kind of simulated study."""

    suites: int
    targets: int  # of each suite
    rows: int
    seeds: int
    widest: int  # factor of the last row's run SD


SETTINGS = [
    Setting(suites, targets, rows, seeds, widest)
    for (suites, targets), rows, seeds, widest in itertools.product(((2, 2), (4, 1), (4, 2)), (5, 8), (3, 5), (1, 10))
]


def simulated(setting: Setting, rng: Generator, better: float = 0.0) -> list[PlaceScores]:
    """Return the scores of a study, in points; the first row is better by so many."""
    places = []
    for suite in range(setting.suites):
        spread = np.full(setting.rows, RUN)
        spread[-1] *= setting.widest
        runs = rng.normal(size=(setting.rows, setting.seeds)) * spread[:, None]
        for _ in range(setting.targets):
            own = ROW_BY_CASE * rng.normal(size=(setting.rows, 1, CASES))
            noise = NOISE * rng.normal(size=(setting.rows, setting.seeds, CASES))
            scores = 70 + own + runs[..., None] + noise
            scores[0] += better
            places.append(PlaceScores(list(scores), None, suite))
    return places


def separated(places: list[PlaceScores], rng: Generator, draws: int) -> set[tuple[int, int]]:
    """Return the pairs of rows that a study separates."""
    full, drawn = drawn_means(places, rng, draws)
    pairs = rank_pairs(np.asarray(competition_ranks(full).mean(axis=0)), full, drawn)
    return {(min(pair.first, pair.second), max(pair.first, pair.second)) for pair in pairs if pair.p <= ALPHA}


def measure(setting: Setting, studies: int, draws: int, seed: int = 0) -> tuple[float, float]:
    """Return error and power, in 0..1."""
    rng = np.random.default_rng([seed, *setting])
    errors = [bool(separated(simulated(setting, rng), rng, draws)) for _ in range(studies)]
    found = [separated(simulated(setting, rng, EFFECT), rng, draws) for _ in range(studies)]
    power = [sum(0 in pair for pair in pairs) / (setting.rows - 1) for pairs in found]
    return float(np.mean(errors)), float(np.mean(power))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400, help="of each kind, twice")
    # Of few draws even the smallest p is no longer small after Holm's method over all pairs.
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    print("| suites x targets | rows | seeds | rows vary | error, nominal 5 % | power at 2 points |")
    print("|---|---|---|---|---|---|")
    for setting in SETTINGS:
        error, power = measure(setting, options.studies, options.draws)
        vary = "alike" if setting.widest == 1 else f"one {setting.widest} times as wide"
        place = f"{setting.suites} x {setting.targets}"
        print(
            f"| {place} | {setting.rows} | {setting.seeds} | {vary} | {100 * error:.1f} | {100 * power:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
