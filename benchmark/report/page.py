"""A report as one HTML page that loads nothing: styles, script, charts and pictures are inside."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from .. import environment
from ..comparisons.contrasts import find_baseline
from ..errors import UsageError
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC, metrics
from ..suites.suite import Row
from ..tables.build import Table, build_table
from ..tables.failures import with_failures
from ..tables.significance import best_first
from ..tables.suite_table import printed_table
from ..tables.wording import SETTINGS, signed
from . import run_facts
from .sections import case_charts, class_tables, cost_charts, difference_section, missing_parts, rank_tables

SECTIONS = {  # titles for the list of sections, by the id of each
    "table": "Table",
    "differences": "Differences",
    "ranks": "Ranking",
    "cases": "Cases",
    "classes": "Classes",
    "failures": "Failures",
    "learning": "Learning curves",
    "cost": "Cost",
    "worst": "Worst cases",
    "metrics": "Other metrics",
    "missing": "Missing",
    "provenance": "Provenance",
}
LISTED = 3  # missing things that the summary names


def render_page(
    results: SuiteResults,
    *,
    published: bool = True,
    data_root: Path | None = None,
    baseline: str | None = None,
) -> str:
    """Return a suite's report as HTML; equal results give equal bytes.

    Pictures of cases come from ``data_root``, where it is given; the baseline is a row or method, None: the suite's
    source-only row.

    Raises:
        UsageError: a name that is not in the suite, runs on different data, or a damaged results file.
    """
    suite, table = results.suite, build_table(results, published=published)
    base, left_out, worst = None, "", []
    try:
        base = find_baseline(suite, baseline)
    except UsageError as error:
        if baseline is not None:
            raise
        left_out = f"Differences to a baseline are left out: {error}."
    differences = {} if base is None else difference_section(results, base)
    if base is not None and not differences and len(suite.rows) > 1:
        left_out = f"Differences to {base.label} are left out: on no target are it and another row complete."
    if data_root is not None:
        from .worst import worst_of_targets  # opens images, and nothing else here does

        worst = worst_of_targets(table, results, base, data_root)
    learned = run_facts.learned_rows(results.planned_runs)
    (costs, devices), missing = cost_charts(results, table), missing_parts(results, table)
    sections = {
        "differences": differences,
        "ranks": rank_tables(results),
        "cases": case_charts(results, base),
        "classes": class_tables(results),
        "failures": with_failures(table, results) if results.evaluations else None,
        "learning": run_facts.learning_charts(learned),
        "cost": costs,
        "worst": worst,
        "metrics": _further_tables(results, published),
    }
    return _template().render(
        suite=suite,
        table=table,
        baseline=base,
        head=_head(results),
        summary=_summary(results, table, base, left_out, [line for _, lines in missing for line in lines]),
        sections=[(name, title) for name, title in SECTIONS.items() if sections.get(name, True)],
        missing=missing,
        words_of_access=SETTINGS,
        devices=devices,
        target_chooses=any(map(run_facts.is_on_target, learned)),
        shared_settings=run_facts.shared_settings(suite.sections()),
        row_settings=run_facts.row_settings(results.planned_runs),
        version=environment.version(),
        commit=environment.commit(),
        **run_facts.list_runs(results.planned_runs, results.root),
        **sections,
    )


def _template() -> Template:
    templates = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,  # labels, case names and messages come from users' files
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["printed"] = printed_table
    return templates.get_template("report.html")


def _further_tables(results: SuiteResults, published: bool) -> list[Table]:
    # A metric of masks opens every file again: not before one is known to be there.
    further = [m for m in metrics().values() if m is not DSC and (m.source != "masks" or results.rescored)]
    tables = [build_table(results, metric, published=published) for metric in further]
    return [table for table in tables if any(e.cell.values for row in table.rows for e in row.entries)]


def _head(results: SuiteResults) -> list[tuple[str, str]]:
    seeds = results.suite.seeds
    # The page's date is that of the newest score: equal results make equal pages.
    date = max((str(evaluation.data.get("finished") or "") for evaluation in results.evaluations), default="")
    commits = {str(evaluation.data.get("commit") or "not recorded") for evaluation in results.evaluations}
    facts = [
        ("Suite", results.suite.name),
        ("Protocol", results.suite.protocol),
        ("Seeds", f"n = {len(seeds)} ({', '.join(map(str, seeds))})"),
        ("Results of", date[:16].replace("T", " ") + " UTC" if date else ""),
        ("Scored at commit", ", ".join(sorted(commits))),
        ("ssdg-bench", environment.version()),
    ]
    return [(name, value) for name, value in facts if value]


def _summary(
    results: SuiteResults, table: Table, baseline: Row | None, left_out: str, missing: Sequence[str]
) -> list[str]:
    rows, targets, seeds = (len(part) for part in (results.suite.rows, results.suite.columns, results.suite.seeds))
    places = [(row, column) for row in results.suite.rows for column in results.suite.columns]
    planned = [place for place in places if results.row_scores(*place).availability == "planned"]
    complete = [results.is_complete(*place) for place in planned]
    sentences = [
        f"{_count(rows, 'row')} on {_count(targets, 'target')} with {_count(seeds, 'seed')}: "
        f"{sum(complete)} of {_count(len(complete), 'cell')} {'is' if len(complete) == 1 else 'are'} complete.",
        *_leaders(table, baseline),
    ]
    if not results.evaluations:
        nothing = "No run of this suite is finished and scored: there is nothing to show but what is missing."
        return [*sentences, nothing]
    if seeds == 1:
        sentences.append("One seed says nothing about the spread of training runs: read small differences as noise.")
    sentences += [left_out] if left_out else []
    if len(missing) > LISTED:
        return [*sentences, f"Missing, and listed at the end: {len(missing)} cells, runs, cases or folders."]
    return [*sentences, f"Missing: {'; '.join(missing)}." if missing else "Nothing is missing."]


def _leaders(table: Table, baseline: Row | None) -> Iterator[str]:
    rows = table.suite.rows
    for position, heading in enumerate(table.headings):
        cells = [row.entries[position].cell for row in table.rows]
        ranked = best_first(rows, cells)
        if not heading.headline or not ranked:
            continue
        means = {row.id: 100 * (cell.mean or 0.0) for row, cell in zip(rows, cells, strict=True)}
        best, gain = ranked[0], ""
        if baseline is not None and baseline in ranked[1:]:
            gain = f", {signed(means[best.id] - means[baseline.id])} points to {baseline.label}"
        yield (
            f"Highest on {heading.text} among rows that saw the source alone: {best.label}, "
            f"{means[best.id]:.2f} %{gain}."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
