"""Tables: the cells of a suite beside the published numbers, with a caption that writes itself."""

from dataclasses import dataclass

from ..outcomes.headings import Heading, column_headings
from ..outcomes.results import SuiteResults
from ..outcomes.scores import Cell
from ..scoring.metrics import DSC, Metric
from ..suites.paper import PublishedScore, PublishedTable, load_published
from ..suites.suite import Row, Suite
from .blocks import block_notes
from .caption import lead_sentences, protocol_sentences
from .failures import Failures
from .significance import mark_columns


@dataclass(frozen=True, slots=True)
class Entry:
    """One printed cell."""

    heading: Heading
    cell: Cell
    published: tuple[PublishedScore, ...] = ()  # of each source
    best: bool = False
    tied: bool = False  # not separated from the best
    converged: bool | None = None  # on its own source; None: not judged
    failures: Failures | None = None  # None: not asked for, or no score

    @property
    def delta(self) -> float | None:
        """Ours minus the first published, in points."""
        mean = self.cell.mean
        return 100 * mean - self.published[0].mean if self.published and mean is not None else None


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row with its cells."""

    row: Row
    entries: tuple[Entry, ...]

    @property
    def unconverged(self) -> bool:
        """Whether it is not converged wherever it is judged."""
        verdicts = [entry.converged for entry in self.entries if entry.converged is not None]
        return bool(verdicts) and not any(verdicts)


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that is printed."""

    suite: Suite  # with only the rows, columns and seeds that were chosen
    headings: tuple[Heading, ...]
    rows: tuple[TableRow, ...]
    lead: tuple[str, ...]  # sentences of the caption that the numbers cannot be read without
    protocol: tuple[str, ...]  # all others
    missing: tuple[str, ...]  # the holes: what a final table must not have
    published: PublishedTable | None  # shown beside ours
    metric: Metric = DSC
    has_failures: bool = False  # printed beside the means

    @property
    def caption(self) -> tuple[str, ...]:
        """Every sentence under the table."""
        return (*self.lead, *self.protocol)

    @property
    def has_verdicts(self) -> bool:
        """Whether rows are judged by their held-out source cases, and some row is not converged."""
        return any(entry.converged is not None for row in self.rows for entry in row.entries)


def build_table(
    results: SuiteResults, metric: Metric = DSC, *, published: bool = True, validation: bool = False
) -> Table:
    """Return a suite's table, with the paper's numbers (DSC) if ``published``, and columns of validation cases.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    suite, columns = results.suite, results.columns(validation)
    headings = tuple(heading for column in columns for heading in column_headings(results, column, metric))
    paper = load_published(suite.published) if published and metric is DSC and suite.published else None
    if paper is not None and not paper.has_any_of(column.target for column in suite.columns):
        paper = None
    cells = [[results.cell(row, h.column, h.stratum, h.average, metric) for h in headings] for row in suite.rows]
    marks = mark_columns(results, headings, cells, metric)
    verdicts = results.convergence.verdicts if results.convergence.text else {}

    def entry(row: Row, heading: Heading, cell: Cell, best: frozenset[str], tied: frozenset[str]) -> Entry:
        scores = paper.scores if paper is not None and heading.headline else {}
        printed = scores.get((row.id, heading.column.target, heading.stratum), ())
        verdict = verdicts.get((row.id, heading.column))
        return Entry(heading, cell, printed, row.id in best, row.id in tied, verdict)

    rows = tuple(
        TableRow(row, tuple(map(entry, [row] * len(headings), headings, row_cells, marks.best, marks.tied)))
        for row, row_cells in zip(suite.rows, cells, strict=True)
    )
    notes = [*marks.notes, *block_notes(results, metric)]
    notes += [*results.notes(metric, columns), *results.other_protocols(metric)]
    has_dash = any(cell.state == "not-applicable" for row_cells in cells for cell in row_cells)
    lead = lead_sentences(results, metric, columns, paper, marks.rule, has_dash)
    protocol = protocol_sentences(results, metric, columns, paper, notes)
    missing = tuple(results.holes(metric, columns))
    return Table(suite, headings, rows, tuple(lead), tuple(protocol), missing, paper, metric)
