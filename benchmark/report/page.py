"""A report as one HTML page that loads nothing: styles, script, charts and pictures are inside."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..comparisons.render import p_text, signed
from ..tables.build import Entry
from ..tables.significance import best_first
from ..tables.wording import SETTINGS, delta_text, heading_text, ours_text, published_text, row_label
from .gather import Report
from .run_facts import (
    is_on_target,
    learned_rows,
    learning_charts,
    list_runs,
    row_settings,
    shared_settings,
    training_costs,
)
from .sections import case_charts, class_tables, cost_charts, difference_section, rank_tables

SECTIONS = {
    "table": "Table",
    "differences": "Differences",
    "ranks": "Ranking",
    "cases": "Cases",
    "classes": "Classes",
    "learning": "Learning curves",
    "cost": "Cost",
    "worst": "Worst cases",
    "metrics": "Other metrics",
    "missing": "Missing",
    "provenance": "Provenance",
}
"""Titles for the list of sections, by the id of each."""

LISTED = 3
"""Missing things that the summary names."""


def render_page(report: Report) -> str:
    """Return a report as HTML; equal results give equal bytes."""
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,  # labels, case names and messages come from users' files
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= _WORDS
    results, baseline, data_root = report.results, report.baseline, report.data_root
    learned = learned_rows(results.planned_runs)
    costs = training_costs(learned)
    worst = []
    if data_root is not None:
        from .worst import worst_of_targets  # opens images, and nothing else here does

        worst = worst_of_targets(report.table, results, baseline, data_root)
    sections = {
        "differences": {} if baseline is None else difference_section(results, baseline),
        "ranks": rank_tables(results),
        "cases": case_charts(results, baseline),
        "classes": class_tables(results),
        "learning": learning_charts(learned),
        "cost": cost_charts(report.table, costs),
        "worst": worst,
        "metrics": report.further,
    }
    return environment.get_template("report.html").render(
        report=report,
        head=_head(report),
        summary=_summary(report, bool(sections["differences"])),
        sections=[(name, title) for name, title in SECTIONS.items() if sections.get(name, True)],
        words_of_access=SETTINGS,
        devices=sorted({device for _, device in costs.values()}),
        target_chooses=any(map(is_on_target, learned)),
        shared_settings=shared_settings(report.suite.sections()),
        row_settings=row_settings(results.planned_runs),
        **list_runs(results.planned_runs, results.root, report.public),
        **sections,
    )


def _head(report: Report) -> list[tuple[str, str]]:
    seeds = report.suite.seeds
    # The page's date is that of the newest score: equal results make equal pages.
    date = max((str(evaluation.data.get("finished") or "") for evaluation in report.evaluations), default="")
    commits = {str(evaluation.data.get("commit") or "not recorded") for evaluation in report.evaluations}
    facts = [
        ("Suite", report.suite.name),
        ("Protocol", report.suite.protocol),
        ("Seeds", f"n = {len(seeds)} ({', '.join(map(str, seeds))})"),
        ("Results of", date[:16].replace("T", " ") + " UTC" if date else ""),
        ("Scored at commit", ", ".join(sorted(commits))),
        ("ssdg-bench", report.version),
    ]
    return [(name, value) for name, value in facts if value]


def _summary(report: Report, has_differences: bool) -> list[str]:
    rows, targets, seeds = len(report.suite.rows), len(report.suite.columns), len(report.suite.seeds)
    scores = [scores for column in report.suite.columns for scores in report.results.of_column(column)]
    complete = [len(row.seeds) == seeds for row in scores if row.availability == "planned"]
    sentences = [
        f"{_count(rows, 'row')} on {_count(targets, 'target')} with {_count(seeds, 'seed')}: "
        f"{sum(complete)} of {_count(len(complete), 'cell')} {'is' if len(complete) == 1 else 'are'} complete.",
        *_leaders(report),
    ]
    if not report.evaluations:
        nothing = "No run of this suite is finished and scored: there is nothing to show but what is missing."
        return [*sentences, nothing]
    if seeds == 1:
        sentences.append("One seed says nothing about the spread of training runs: read small differences as noise.")
    if report.no_baseline:
        sentences.append(f"Differences to a baseline are left out: {report.no_baseline}.")
    if report.baseline is not None and not has_differences and rows > 1:
        label = report.baseline.label
        sentences.append(f"Differences to {label} are left out: on no target are it and another row complete.")
    lines = [line for _, lines in report.missing for line in lines]
    if len(lines) > LISTED:
        return [*sentences, f"Missing, and listed at the end: {len(lines)} cells, runs, cases or folders."]
    return [*sentences, f"Missing: {'; '.join(lines)}." if lines else "Nothing is missing."]


def _leaders(report: Report) -> Iterator[str]:
    rows, baseline = report.suite.rows, report.baseline
    for position, heading in enumerate(report.table.headings):
        cells = [row.entries[position].cell for row in report.table.rows]
        ranked = best_first(rows, cells)
        if not heading.headline or not ranked:
            continue
        means = {row.id: 100 * (cell.mean or 0.0) for row, cell in zip(rows, cells, strict=True)}
        best, gain = ranked[0], ""
        if baseline is not None and baseline in ranked[1:]:
            gain = f", {signed(means[best.id] - means[baseline.id])} points to {baseline.label}"
        yield (
            f"Highest on {heading_text(heading)} among rows that saw the source alone: {best.label}, "
            f"{means[best.id]:.2f} %{gain}."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _score(entry: Entry) -> Mapping[str, str]:
    text, _, note = ours_text(entry.cell).partition(" (")
    return {"score": text, "note": note.removesuffix(")")}


def _value(entry: Entry) -> str:
    """Return the key that a cell is sorted by; "" for an empty one."""
    return "" if entry.cell.mean is None else f"{entry.cell.metric.scale * entry.cell.mean:.4f}"


_WORDS: Mapping[str, Callable[[Any], Any]] = {
    "heading": heading_text,
    "label": row_label,
    "ours": _score,
    "value": _value,
    "published": published_text,
    "delta": delta_text,
    "signed": signed,
    "p": p_text,
}
