"""What ``bench compare`` and ``bench rank`` answer: lines to print, the same as data, and what is left out."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..outcomes.headings import overall_headings, stratum_headings
from ..outcomes.results import SuiteResults
from ..resampling import DRAWS, SEED
from ..scoring.metrics import Metric
from ..statistics import ALPHA
from ..suites.suite import Row
from ..tables.wording import row_label
from .contrasts import (
    Family,
    contrast_contenders,
    contrast_rows,
    contrast_suites,
    misses_notes,
    not_compared,
    rank_rows,
)
from .mean_ranks import mean_ranks
from .render import (
    comparison_lines,
    contrast_data,
    family_text,
    level_text,
    mean_rank_data,
    mean_rank_lines,
    ranking_data,
    ranking_lines,
    scope_text,
    separated_lines,
    stability_text,
    unit_text,
)

CONDITIONAL = (
    "Wilcoxon p: signed-rank over cases, conditional on these trained models; where runs vary it calls equal methods "
    "different far more often than it says",
    "cases: with a score of either row; win/tie/loss: of those with a score of every seed of both rows, where the "
    "mean of the case's classes and of the seeds is better, equal, worse",
)
DESCRIPTIVE = "Probability of each rank in percent among the rows that saw the source alone; descriptive, not a test"
MEAN_RANKS = (
    "Of rows that saw the source alone and are complete in every suite; for other runs and cases of these targets, "
    "not for other targets. Ranks describe: {draws:,} draws of {level}, the same cases for all rows, a row's seeds "
    "together on all targets of a source (generator seed {seed}). What separates rows is their mean over the targets"
)


class Answer(NamedTuple):
    """What a command prints."""

    blocks: list[list[str]]  # lines, a blank line between blocks
    data: dict[str, Any]  # as JSON
    missing: tuple[str, ...]  # a line each: what is not complete


def compare_rows(results: SuiteResults, first: Row, second: Row, metric: Metric) -> Answer:
    """Return the first row minus the second on each target and stratum."""
    headings = [h for column in results.suite.columns for h in stratum_headings(results, column, metric)]
    family = contrast_rows(results, [first], second, headings, metric)
    notes = [*_notes([results], metric), *misses_notes(results, headings, metric)]
    names = [scope_text(results, contrast, metric) for contrast in family.contrasts]
    blocks = [[_title(results, metric, f"{first.label} minus {second.label}")]]
    blocks += [comparison_lines(family.contrasts, names, metric.scale)] if names else []
    blocks += _noted(family, notes)
    return Answer(blocks, _data(results, metric, family, notes, row=first.id, other=second.id), family.missing)


def rank_suite(results: SuiteResults, baseline: Row, metric: Metric) -> Answer:
    """Return every contender minus the baseline on each target, and how firm their order is."""
    headings = overall_headings(results, metric)
    family = contrast_contenders(results, baseline, headings, metric)
    notes = [*_notes([results], metric), *misses_notes(results, headings, metric), *not_compared(results, baseline)]
    rankings = rank_rows(results, headings, metric)
    blocks = [[_title(results, metric, f"every row minus {baseline.label}")]]
    for _, group in itertools.groupby(family.contrasts, key=lambda contrast: contrast.heading):
        contrasts = list(group)
        lines = comparison_lines(contrasts, [row_label(contrast.row) for contrast in contrasts], metric.scale)
        blocks.append([scope_text(results, contrasts[0], metric), *lines])
    blocks += _noted(family, notes)
    for ranking in rankings:
        lines = [*ranking_lines(ranking, metric.scale), stability_text(ranking)]
        blocks.append([f"{ranking.heading.text}: ranks", *lines])
    blocks += _bullets([DESCRIPTIVE]) if rankings else []
    data = _data(results, metric, family, notes, baseline=baseline.id)
    data["rankings"] = [ranking_data(ranking, metric.scale) for ranking in rankings]
    return Answer(blocks, data, family.missing)


def separate_suites(suites: Sequence[SuiteResults], baseline: str, metric: Metric) -> Answer:
    """Return where a contender of any suite is separated from the baseline, p adjusted for all suites together."""
    pairs, missing = contrast_suites(suites, baseline, metric)
    family = Family(tuple(contrast for _, contrast in pairs), tuple(missing))
    separated = [(results, contrast) for results, contrast in pairs if contrast.separated]
    count = f"{len(separated)} of {family.size} differences are separated (Holm p at most {ALPHA:g})"
    names = ", ".join(results.suite.name for results in suites)
    blocks = [[f"{names}: every row minus {baseline}, {metric.short}: {count}"]]
    if separated:
        lines = [f"{row_label(c.row)} on {c.heading.text} ({results.suite.name})" for results, c in separated]
        blocks.append(comparison_lines([contrast for _, contrast in separated], lines, metric.scale))
    levels: dict[str, list[str]] = {}
    for results, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        levels.setdefault(level_text([contrast.comparison for _, contrast in group]), []).append(results.suite.name)
    spoken = [text if len(levels) == 1 else f"{', '.join(owners)}: {text}" for text, owners in levels.items()]
    few = dict.fromkeys(results.suite.name for results, contrast in pairs if not contrast.has_verdict)
    notes = _notes(suites, metric)
    blocks += _bullets([*spoken, family_text(family.contrasts, few), *notes])
    comparisons = [{"suite": r.suite.name, **contrast_data(contrast, metric.scale)} for r, contrast in pairs]
    data = {"metric": metric.name, "baseline": baseline, "comparisons": comparisons}
    return Answer(blocks, {**data, "missing": missing, "notes": notes}, family.missing)


def rank_suites(suites: Sequence[SuiteResults], metric: Metric) -> Answer:
    """Return the mean ranks over all targets of several suites, and which pairs of rows are separated."""
    ranks = mean_ranks(suites, metric)
    names, notes = [results.suite.name for results in suites], _notes(suites, metric)
    scope = MEAN_RANKS.format(draws=DRAWS, level=ranks.level, seed=SEED)
    blocks = [
        [f"{', '.join(names)}: mean rank by {metric.short} over {len(ranks.targets)} targets, 1 is best"],
        mean_rank_lines(ranks),
        separated_lines(ranks, metric),
        *_bullets([scope, *notes]),
    ]
    data = {"suites": names, "metric": metric.name, **mean_rank_data(ranks, metric)}
    return Answer(blocks, {**data, "missing": ranks.missing, "notes": notes}, ranks.missing)


def without_nan(data: Any) -> Any:
    """Return data for JSON with None for what is infinite or not defined."""
    if isinstance(data, dict):
        return {name: without_nan(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _notes(suites: Sequence[SuiteResults], metric: Metric) -> list[str]:
    """Return what a reader has to know of the results, each suite's with its name where there are several."""
    notes = []
    for results in suites:
        text = results.convergence.text
        texts = [*results.notes(metric), *([f"{text[0].upper()}{text[1:]}"] if text else [])]
        notes += [note if len(suites) == 1 else f"{results.suite.name}: {note}" for note in texts]
    return notes


def _noted(family: Family, notes: Sequence[str]) -> list[list[str]]:
    if family.contrasts:
        level = level_text([contrast.comparison for contrast in family.contrasts])
        notes = [level, family_text(family.contrasts), *CONDITIONAL, *notes]
    return _bullets(notes)


def _bullets(notes: Sequence[str]) -> list[list[str]]:
    return [[f"* {note}." for note in notes]] if notes else []


def _title(results: SuiteResults, metric: Metric, title: str) -> str:
    suite, better = results.suite, "" if metric.better == "higher" else ", lower is better"
    unit = unit_text(results, metric)
    return f"{suite.title}, protocol {suite.protocol}: {title}, {metric.short} in {unit}{better}"


def _data(results: SuiteResults, metric: Metric, family: Family, notes: Sequence[str], **more: str) -> dict[str, Any]:
    suite = results.suite
    return {
        "suite": suite.name,
        "title": suite.title,
        "protocol": suite.protocol,
        "metric": metric.name,
        "better": metric.better,
        "seeds": list(suite.seeds),
        "comparisons": [contrast_data(contrast, metric.scale) for contrast in family.contrasts],
        "missing": list(family.missing),
        "notes": list(notes),
        **more,
    }
