"""A report as one HTML page that loads nothing: styles, script, charts and pictures are inside."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..comparisons.render import p_text, signed
from ..tables.build import Entry
from ..tables.wording import SETTINGS, delta_text, heading_text, ours_text, published_text, row_label
from .cells import Distribution
from .charts import cost_chart, curve_chart, forest_chart, strip_chart
from .comparisons import Differences
from .gather import CostOfTarget, Report
from .run_facts import RowCurves

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
    environment.filters |= {**_WORDS, **_charts(report)}
    there = {
        "differences": report.differences,
        "ranks": report.ranks,
        "cases": report.distributions,
        "classes": report.breakdowns,
        "learning": report.learning.rows,
        "cost": report.costs,
        "worst": report.worst,
        "metrics": report.further,
    }
    return environment.get_template("report.html").render(
        report=report,
        head=_head(report),
        summary=_summary(report),
        sections=[(name, title) for name, title in SECTIONS.items() if there.get(name, True)],
        settings_in_words=SETTINGS,
        devices=sorted({cost.device for cost in report.learning.costs.values()}),
        **there,
    )


def _head(report: Report) -> list[tuple[str, str]]:
    """Return the facts under the title, as name and value."""
    suite = report.suite
    seeds = ", ".join(map(str, suite.seeds))
    facts = [
        ("Suite", suite.name),
        ("Protocol", suite.protocol),
        ("Seeds", f"n = {len(suite.seeds)} ({seeds})"),
        ("Results of", report.date[:16].replace("T", " ") + " UTC" if report.date else ""),
        ("Scored at commit", ", ".join(report.commits)),
        ("ssdg-bench", report.version),
    ]
    return [(name, value) for name, value in facts if value]


def _summary(report: Report) -> list[str]:
    """Return what is there and what is missing, in plain sentences."""
    done, planned = report.cells
    rows, targets, seeds = len(report.suite.rows), len(report.suite.columns), len(report.suite.seeds)
    sentences = [
        f"{_count(rows, 'row')} on {_count(targets, 'target')} with {_count(seeds, 'seed')}: "
        f"{done} of {_count(planned, 'cell')} {'is' if planned == 1 else 'are'} complete."
    ]
    for leader in report.leaders:
        held = ""
        if leader.baseline is not None and report.baseline is not None and leader.row.id != report.baseline.id:
            held = f", {signed(leader.mean - leader.baseline)} points to {report.baseline.label}"
        sentences.append(
            f"Highest on {heading_text(leader.heading)} among rows that saw the source alone: {leader.row.label}, "
            f"{leader.mean:.2f} %{held}."
        )
    if not report.evaluations:
        return [
            *sentences,
            "No run of this suite is finished and scored: there is nothing to show but what is missing.",
        ]
    if seeds == 1:
        sentences.append("One seed says nothing about the spread of training runs: read small differences as noise.")
    if report.no_baseline:
        sentences.append(f"Differences to a baseline are left out: {report.no_baseline}.")
    if report.baseline is not None and report.differences is None and rows > 1:
        label = report.baseline.label
        sentences.append(f"Differences to {label} are left out: on no target are it and another row complete.")
    lines = [line for _, lines in report.missing for line in lines]
    if len(lines) > LISTED:
        return [*sentences, f"Missing, and listed at the end: {len(lines)} cells, runs, cases or folders."]
    return [*sentences, f"Missing: {'; '.join(lines)}." if lines else "Nothing is missing."]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _charts(report: Report) -> dict[str, Callable[[Any], Markup]]:
    """Return filters that draw; what they return holds nothing but drawings, labels escaped."""
    reference = report.baseline.label if report.baseline is not None else "the baseline"

    def forest(one: Differences) -> Markup:
        title = f"Differences to {reference} on {one.label} with 95 % intervals; the numbers are in the table below"
        return Markup(forest_chart(one.name, title, [line.interval for line in one.lines]))

    def strips(one: Distribution) -> Markup:
        title = f"DSC of each of {one.cases} cases on {one.column.label}, one line a method"
        return Markup(strip_chart(one.name, title, one.strips, one.reference))

    def curves(one: RowCurves) -> Markup:
        scores = "target and held-out DSC" if one.on_target else "held-out DSC"
        title = f"{one.label}: {scores} and training loss over epochs"
        return Markup(curve_chart(one.name, title, one.curves, report.learning.limits))

    def cost(one: CostOfTarget) -> Markup:
        title = f"Training time against DSC on {one.column.label}, one point a method"
        return Markup(cost_chart(one.name, title, one.points))

    return {"forest": forest, "strips": strips, "curves": curves, "cost": cost}


def _score(entry: Entry) -> Mapping[str, str]:
    """Return the text of a cell in two parts: the number, and in how many seeds where not all are there."""
    text, _, note = ours_text(entry.cell).partition(" (")
    return {"score": text, "note": note.removesuffix(")")}


def _value(entry: Entry) -> str:
    """Return what a cell is sorted by; "" for what is not there."""
    return "" if entry.cell.mean is None else f"{entry.cell.metric.scale * entry.cell.mean:.4f}"


def _percent(share: float) -> str:
    """Return a probability in percent; "" for what never happened."""
    text = f"{100 * share:.0f}"
    return "" if share == 0 else "<1" if text == "0" else text


_WORDS: Mapping[str, Callable[[Any], Any]] = {
    "heading": heading_text,
    "label": row_label,
    "ours": _score,
    "value": _value,
    "published": published_text,
    "delta": delta_text,
    "signed": signed,
    "p": p_text,
    "percent": _percent,
    "first_line": lambda text: text.partition("\n")[0],
}
