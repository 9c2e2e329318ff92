"""Blocks of a suite, rows that repeat the same methods on another network, and whether the methods' order repeats.

Descriptive, not a test; see :mod:`ssdg.benchmark.agreement`.
"""

from dataclasses import dataclass

from ..agreement import Agreement, agreements
from ..outcomes.headings import Heading, overall_headings, target_scores
from ..outcomes.results import SuiteResults
from ..resampling import DRAWS, SEED
from ..scoring.metrics import DSC, Metric
from ..statistics import defined
from ..suites.blocks import blocks_of
from ..suites.suite import Row
from .wording import decimals


@dataclass(frozen=True, slots=True)
class Agreements:
    """Every pair of blocks, on the targets where all their rows are complete."""

    pairs: tuple[Agreement, ...]
    rows: tuple[Row, ...]  # of the first block, one a method
    headings: tuple[Heading, ...]


def compare_blocks(results: SuiteResults, metric: Metric = DSC) -> Agreements | None:
    """Return how each pair of blocks agrees; None without two blocks, two methods and a target."""
    blocks = blocks_of(results.suite.rows)
    methods = [m for m in next(iter(blocks.values()), ()) if all(m in block for block in blocks.values())]
    if len(blocks) < 2 or len(methods) < 2:
        return None
    rows = [block[method] for block in blocks.values() for method in methods]
    targets = [
        (heading, target_scores(results, rows, heading, metric))
        for heading in overall_headings(results, metric)
        if all(results.is_complete(row, heading.column, metric) for row in rows)
    ]
    targets = [(heading, scores) for heading, scores in targets if defined(scores).strata]
    if not targets:
        return None
    headings, scores = zip(*targets, strict=True)
    return Agreements(tuple(agreements(tuple(blocks), scores)[1]), tuple(rows[: len(methods)]), headings)


def block_notes(results: SuiteResults, metric: Metric = DSC) -> list[str]:
    """Return whether the order of the methods depends on the block, as a sentence; none without blocks."""
    compared = compare_blocks(results, metric)
    if compared is None:
        return []
    pairs = map(agreement_text, compared.pairs)
    seeds = ", and each row's seeds for itself" if len(results.suite.seeds) > 1 else "; the one seed is not resampled"
    return [
        f"order of {', '.join(row.label for row in compared.rows)} by mean {metric.short} over "
        f"{', '.join(heading.text for heading in compared.headings)}: Kendall's tau between {'; '.join(pairs)}; "
        f"in brackets 95 % of {DRAWS:,} draws of each target's cases, the same for all rows{seeds} "
        f"(generator seed {SEED})"
    ]


def agreement_text(pair: Agreement) -> str:
    """Return tau between two groups with its interval."""
    return f"{' and '.join(pair.blocks)} {decimals(pair.tau)} [{decimals(pair.low)}, {decimals(pair.high)}]"
