"""Comparisons and rankings as text, with an interval drawn for each, and as data."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..outcomes.headings import Heading
from ..outcomes.results import SuiteResults
from ..resampling import DRAWS, SEED
from ..scoring.metrics import Metric
from ..statistics import ALPHA, CONFIDENCE, LEAST_SEEDS, Comparison, Interval
from ..tables.caption import UNITS
from ..tables.wording import DASH, decimals, percent, row_label, signed
from .contrasts import Contrast, Ranking
from .mean_ranks import MeanRanks

WIDTH = 41  # characters of a drawn interval


def comparison_lines(contrasts: Sequence[Contrast], names: Sequence[str], scale: float) -> list[str]:
    """Return a line for each comparison under a header: difference, interval, p values, wins, and the drawing."""
    left, right = _axis([contrast.comparison for contrast in contrasts])
    low, high = signed(scale * left), signed(scale * right)
    head = ["", "cases", "difference", f"{100 * CONFIDENCE:.0f} % interval", "p", "Holm p", "Wilcoxon p"]
    lines = [[*head, "win/tie/loss", low + high.rjust(WIDTH - len(low))]]
    for name, contrast in zip(names, contrasts, strict=True):
        c = contrast.comparison
        p_texts = p_text(c.p), adjusted_text(contrast), p_text(c.wilcoxon_p)
        wins = f"{c.wins}/{c.ties}/{c.losses}"
        drawing = _drawn(c, left, right)
        lines.append(
            [name, str(c.cases), signed(scale * c.difference), interval_text(c, scale), *p_texts, wins, drawing]
        )
    return aligned(lines)


def ranking_lines(ranking: Ranking, scale: float) -> list[str]:
    """Return a line a row, the best first: mean, expected rank, and the probability of each rank in percent."""
    s = ranking.stability
    lines = [["", "mean", "rank", "expected", *(f"P({rank})" for rank in range(1, len(ranking.rows) + 1))]]
    for i in ranking.order:
        drawn = [f"{s.expected[i]:.2f}", *(percent(share) or "." for share in s.probabilities[i])]
        drawn = drawn if s.level == "runs and cases" else [DASH] * len(drawn)
        lines.append([row_label(ranking.rows[i]), f"{scale * s.means[i]:.2f}", str(s.ranks[i]), *drawn])
    return aligned(lines)


def stability_text(ranking: Ranking) -> str:
    """Return how far a ranking holds when it is drawn again."""
    s = ranking.stability
    if s.level == "cases":
        return f"On {s.cases} case{_s(s.cases)}; {DASH}: a row has a single seed, so that nothing tells how runs vary"
    mean, low, high = map(decimals, (s.tau, s.tau_low, s.tau_high))
    return (
        f"On {s.cases} case{_s(s.cases)}; Kendall's tau with the full ranking when {s.level} are drawn again: "
        f"{mean} on average, {low} to {high} in 95 % of {DRAWS:,} draws (generator seed {SEED})"
    )


def level_text(comparisons: Iterable[Comparison]) -> str:
    """Return what the intervals generalise to."""
    if any(comparison.level == "cases" for comparison in comparisons):
        return (
            "Interval and p: over cases alone. A row has a single seed, so they speak of these trained models only, "
            "not of the methods: another training run may turn out otherwise"
        )
    return "Interval and p: crossed, over training runs and cases (Satterthwaite t), for other seeds and other cases"


def family_text(contrasts: Sequence[Contrast], suites: Iterable[str] = ()) -> str:
    """Return how many comparisons p is adjusted for, and how many have too few seeds, in the ``suites`` named."""
    few = sum(not contrast.has_verdict for contrast in contrasts)
    text = f"Holm p: adjusted for the number of comparisons here, {len(contrasts) - few}"
    if not few:
        return text
    named = f" ({', '.join(suites)})" if suites else ""
    return f"{text}; {few} more{named} with fewer than {LEAST_SEEDS} seeds a row, where nothing can be told apart"


def scope_text(results: SuiteResults, contrast: Contrast, metric: Metric) -> str:
    """Return the target of a comparison, and how many cases and seeds a row has there."""
    scores = results.row_scores(contrast.row, contrast.heading.column, metric)
    cases, seeds = int(scores.members(contrast.heading.stratum).sum()), len(results.suite.seeds)
    return f"{contrast.heading.text}: {cases} case{_s(cases)}, {seeds} seed{_s(seeds)} a row"


def unit_text(results: SuiteResults, metric: Metric) -> str:
    """Return the unit of differences: points of a percentage, or a length."""
    names = {**UNITS, "%": "points"}
    return " or ".join(dict.fromkeys(names[results.unit(column, metric)] for column in results.suite.columns))


def contrast_data(contrast: Contrast, scale: float) -> dict[str, Any]:
    """Return a comparison as data, numbers in the printed unit; Holm p None where nothing can be told apart."""
    numbers = asdict(contrast.comparison)
    numbers |= {name: scale * numbers[name] for name in ("difference", "low", "high", "median")}
    return {
        **{"row": contrast.row.id, "other": contrast.other.id, **_place(contrast.heading)},
        "unit": "points" if contrast.heading.unit == "%" else contrast.heading.unit,
        **{name: numbers.pop(name) for name in ("difference", "low", "high", "p")},
        **{"holm_p": contrast.adjusted, "separated": contrast.separated, **numbers},
    }


def ranking_data(ranking: Ranking, scale: float) -> dict[str, Any]:
    """Return a ranking as data, means in the printed unit."""
    s = ranking.stability
    rows = zip(ranking.rows, s.means, s.ranks, s.expected, s.probabilities.tolist(), strict=True)
    return {
        **_place(ranking.heading),
        "rows": [
            {"row": row.id, "mean": scale * mean, "rank": rank, "expected_rank": expected, "probabilities": shares}
            for row, mean, rank, expected, shares in rows
        ],
        "kendall_tau": {"mean": s.tau, "low": s.tau_low, "high": s.tau_high},
        "cases": s.cases,
        "level": s.level,
        "draws": DRAWS,
        "generator_seed": SEED,
    }


def mean_rank_lines(ranks: MeanRanks) -> list[str]:
    """Return a line a row, the best first: mean rank, the interval of the draws, and its rank on every target."""
    targets = [f"{heading.text} ({results.suite.name})" for results, heading in ranks.targets]
    lines = [["", "mean rank", "95 % of draws", *targets]]
    for i in ranks.order:
        interval = f"{ranks.low[i]:.2f} to {ranks.high[i]:.2f}"
        lines.append([row_label(ranks.rows[i]), f"{ranks.mean[i]:.2f}", interval, *map(str, ranks.ranks[:, i])])
    return aligned(lines)


def separated_lines(ranks: MeanRanks, metric: Metric) -> list[str]:
    """Return the pairs of rows that are separated, or that none is, as sentences."""
    if ranks.seeds < LEAST_SEEDS:
        seeds = f"{ranks.seeds} seed{_s(ranks.seeds)}"
        return [f"No row is separated: with {seeds} a row nothing can be told apart, {LEAST_SEEDS} are the least."]
    pairs = f"{len(ranks.pairs)} pair{_s(len(ranks.pairs))}"
    rule = (
        f"mean {metric.short} over the targets, crossed interval over runs and cases, p at most {ALPHA:g} after Holm "
        f"over {pairs}"
    )
    if not (separated := ranks.separated):
        return [f"No two rows are separated ({rule})."]
    return [
        f"Separated are {len(separated)} of {pairs} ({rule}):",
        *(
            f"  {row_label(ranks.rows[p.first])} minus {row_label(ranks.rows[p.second])}: "
            f"{signed(metric.scale * p.interval.difference)} {interval_text(p.interval, metric.scale)}, "
            f"Holm p {p_text(p.adjusted)}"
            for p in separated
        ),
    ]


def mean_rank_data(ranks: MeanRanks, metric: Metric) -> dict[str, Any]:
    """Return mean ranks and pairs as data, differences in the printed unit."""
    targets = [{"suite": results.suite.name, **_place(heading)} for results, heading in ranks.targets]
    separated = {(p.first, p.second) for p in ranks.separated}
    return {
        "rows": [
            {
                **{"row": ranks.rows[i].id, "mean_rank": float(ranks.mean[i])},
                **{"low": float(ranks.low[i]), "high": float(ranks.high[i])},
                "ranks": [
                    {**target, "rank": int(rank)} for target, rank in zip(targets, ranks.ranks[:, i], strict=True)
                ],
            }
            for i in ranks.order
        ],
        "pairs": [
            {
                **{"row": ranks.rows[p.first].id, "other": ranks.rows[p.second].id},
                **{name: metric.scale * getattr(p.interval, name) for name in ("difference", "low", "high")},
                **{"p": p.interval.p, "holm_p": p.adjusted, "separated": (p.first, p.second) in separated},
            }
            for p in ranks.pairs
        ],
        **{"level": ranks.level, "draws": DRAWS, "generator_seed": SEED},
    }


def interval_text(interval: Interval, scale: float) -> str:
    """Return an interval in the printed unit."""
    return f"[{signed(scale * interval.low)}, {signed(scale * interval.high)}]"


def p_text(p: float) -> str:
    """Return a p value with four decimals."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def adjusted_text(contrast: Contrast) -> str:
    """Return p after Holm's method; a dash where a row has too few seeds for a verdict."""
    return DASH if contrast.adjusted is None else p_text(contrast.adjusted)


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells as text, the first column to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(t.rjust(w) if i else t.ljust(w) for i, (t, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]


def _place(heading: Heading) -> dict[str, str]:
    return {"target": heading.column.target, "stratum": heading.stratum, "average": heading.average}


def _axis(comparisons: Sequence[Comparison]) -> tuple[float, float]:
    ends = [end for c in comparisons for end in (c.low, c.high, c.difference) if math.isfinite(end)]
    left, right = min(0.0, *ends), max(0.0, *ends)
    return (left, right) if right > left else (-1.0, 1.0)


def _drawn(comparison: Comparison, left: float, right: float) -> str:
    """Return an interval as text: "-" over the interval, "o" at the difference, "|" at 0."""
    ends = np.clip([comparison.low, comparison.high, 0.0, comparison.difference], left, right)
    low, high, zero, middle = (round((end - left) / (right - left) * (WIDTH - 1)) for end in ends.tolist())
    marks = {**dict.fromkeys(range(low, high + 1), "-"), zero: "|", middle: "o"}
    return "".join(marks.get(position, " ") for position in range(WIDTH))


def _s(count: int) -> str:
    return "" if count == 1 else "s"
