"""Tables: the cells of a suite beside the published numbers, with a caption that writes itself."""

from dataclasses import dataclass

from ..outcomes.results import SuiteResults
from ..outcomes.scores import Average, Cell
from ..scoring.metrics import DSC, Metric
from ..suites.paper import PublishedScore, PublishedTable, load_published
from ..suites.suite import Column, Row, Suite
from .caption import describe
from .significance import best_sets


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What to show of a suite's results."""

    published: bool = True  # the paper's numbers beside ours, where the suite names them
    validation: bool = False  # columns with the scores on the source's validation cases
    metric: Metric = DSC  # published numbers are DSC, and stand beside nothing else


@dataclass(frozen=True, slots=True)
class Heading:
    """One printed column: a target, a stratum of its cases, and which average."""

    column: Column
    stratum: str
    average: Average = "cases"
    headline: bool = True  # the average that the protocol names; the other one follows it
    unit: str = "%"

    @property
    def label(self) -> str:
        """What is printed under the target's name; "" for all cases."""
        return {"all": "", "average": f"average of {self.average}"}.get(self.stratum, self.stratum)


@dataclass(frozen=True, slots=True)
class Entry:
    """One printed cell."""

    heading: Heading
    cell: Cell
    published: PublishedScore | None = None
    best: bool = False

    @property
    def delta(self) -> float | None:
        """Ours minus published, in points."""
        mean = self.cell.mean
        return None if self.published is None or mean is None else 100 * mean - self.published.mean


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row with its cells."""

    row: Row
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that is printed."""

    suite: Suite  # with only the rows, columns and seeds that were chosen
    headings: tuple[Heading, ...]
    rows: tuple[TableRow, ...]
    caption: tuple[str, ...]  # sentences
    missing: tuple[str, ...]  # the holes: what a final table must not have
    show_published: bool
    metric: Metric = DSC

    @property
    def complete(self) -> bool:
        """Whether there is no hole."""
        return not self.missing


def build_table(results: SuiteResults, options: TableOptions | None = None) -> Table:
    """Return a suite's table.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    options = options or TableOptions()
    suite, metric = results.suite, options.metric
    average: Average = results.scoring.average
    columns = results.columns(options.validation)
    headings = tuple(h for c in columns for h in column_headings(c, average, results.unit(c, metric)))
    compared = options.published and metric is DSC
    published = load_published(suite.published) if compared and suite.published else None
    if published is not None and not published.has_any_of(column.target for column in suite.columns):
        published = None
    cells = [[results.cell(row, h.column, h.stratum, h.average, metric) for h in headings] for row in suite.rows]
    best = best_sets(results, headings, cells, metric)
    rows = tuple(
        TableRow(
            row,
            tuple(
                Entry(heading, cell, _published_score(published, row, heading), row.id in ids)
                for heading, cell, ids in zip(headings, of_row, best.rows, strict=True)
            ),
        )
        for row, of_row in zip(suite.rows, cells, strict=True)
    )
    notes = [*results.notes(metric, columns), *results.other_protocols(metric)]
    caption = describe(results, metric, columns, published, best.rule, notes)
    missing = tuple(results.holes(metric, columns))
    return Table(suite, headings, rows, tuple(caption), missing, published is not None, metric)


def column_headings(column: Column, average: Average, unit: str) -> list[Heading]:
    """Return what is printed of a target; an "average" is printed twice, first the one named."""
    other: Average = "cases" if average == "strata" else "strata"
    headings = []
    for stratum in column.strata:
        headings.append(Heading(column, stratum, average if stratum == "average" else "cases", unit=unit))
        if stratum == "average":
            headings.append(Heading(column, stratum, other, headline=False, unit=unit))
    return headings


def _published_score(published: PublishedTable | None, row: Row, heading: Heading) -> PublishedScore | None:
    if published is None or not heading.headline:
        return None
    return published.scores.get((row.id, heading.column.target, heading.stratum))
