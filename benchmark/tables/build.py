"""Tables: the cells of a suite beside the published numbers, with a caption that writes itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..outcomes.aggregate import Average, Cell, make_cell
from ..outcomes.collect import Collected, collect, other_protocols
from ..scoring.metrics import DSC, Measure
from ..storage.results_reader import StoredRun
from ..suites.paper import PublishedScore, PublishedTable, load_published
from ..suites.suite import Choice, Column, Inventory, Row, Suite
from .caption import describe
from .significance import BestSets, tied_best


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What to show of a suite."""

    choice: Choice = field(default_factory=Choice)
    published: bool = True  # the paper's numbers beside ours, where the suite names them
    held_out: bool = False  # columns with the score on the source's held-out cases
    measure: Measure = DSC  # published numbers are DSC, and stand beside nothing else


@dataclass(frozen=True, slots=True)
class Heading:
    """One printed column: a target, a group of its cases, and which average."""

    column: Column
    group: str
    average: Average = "cases"
    headline: bool = True  # the average that the protocol names; the other one is beside it
    unit: str = "%"

    @property
    def label(self) -> str:
        """What is printed under the target's name; "" for all cases."""
        return {"all": "", "average": f"average of {self.average}"}.get(self.group, self.group)


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
    measure: Measure = DSC

    @property
    def complete(self) -> bool:
        """Whether there is no hole."""
        return not self.missing


def build_table(suite: Suite, runs: Sequence[StoredRun], options: TableOptions, inventory: Inventory) -> Table:
    """Return a suite's table from the runs of a results folder.

    Args:
        suite: rows, columns and seeds.
        runs: what ``stored.scan`` found; runs of other suites are ignored.
        options: what to show.
        inventory: the methods and tasks there are.

    Raises:
        UsageError: a name that is not in the suite, runs on different data, or a damaged results file.
    """
    collected = collect(suite.narrowed(options.choice), runs, inventory, options.held_out, options.measure)
    return tabulate(collected, runs, options, inventory)


def tabulate(collected: Collected, runs: Sequence[StoredRun], options: TableOptions, inventory: Inventory) -> Table:
    """Return the table of what is collected of a suite; see :func:`build_table`."""
    chosen, measure = collected.suite, collected.measure
    average: Average = chosen.sections()["evaluation"].average
    headings = tuple(h for c in collected.columns for h in column_headings(c, average, collected.units[c]))
    compared = options.published and measure is DSC
    published = load_published(chosen.published) if compared and chosen.published else None
    if published is not None and not published.has_any_of(column.target for column in chosen.columns):
        published = None
    rows = [_table_row(row, headings, collected, published) for row in chosen.rows]
    cells = [[entry.cell for entry in row.entries] for row in rows]
    best = tied_best(chosen.rows, headings, cells, collected.scores)
    empty = {
        (row, column)
        for (row, column), scores in collected.scores.items()
        if column in chosen.columns and scores.standing == "planned" and not scores.seeds
    }
    notes = (*collected.notes, *other_protocols(chosen, runs, inventory, empty))
    caption = describe(replace(collected, notes=notes), published, best.rule)
    missing = tuple(holes(collected))
    rows = mark_best(rows, best)
    return Table(chosen, headings, tuple(rows), tuple(caption), missing, published is not None, measure)


def column_headings(column: Column, average: Average, unit: str) -> list[Heading]:
    """Return what is printed of a target; an "average" is printed twice, first the one named."""
    other: Average = "cases" if average == "strata" else "strata"
    headings = []
    for group in column.groups:
        headings.append(Heading(column, group, average if group == "average" else "cases", unit=unit))
        if group == "average":
            headings.append(Heading(column, group, other, headline=False, unit=unit))
    return headings


def holes(collected: Collected) -> Iterable[str]:
    """Yield a line for each row and target that lacks seeds, or a method."""
    expected = len(collected.suite.seeds)
    for row in collected.suite.rows:
        for column in collected.columns:
            scores = collected.scores[row.id, column]
            if scores.standing == "unavailable":
                yield f"{row.label} on {column.label}: method {row.method!r} is not in this version"
            elif scores.standing == "planned" and len(scores.seeds) < expected:
                yield f"{row.label} on {column.label}: {len(scores.seeds)} of {expected} seeds ({scores.reason})"


def mark_best(rows: Sequence[TableRow], best: BestSets) -> list[TableRow]:
    """Return the rows with the tied best set of each column marked."""
    return [
        replace(
            row,
            entries=tuple(replace(e, best=row.row.id in ids) for e, ids in zip(row.entries, best.rows, strict=True)),
        )
        for row in rows
    ]


def _table_row(
    row: Row, headings: Iterable[Heading], collected: Collected, published: PublishedTable | None
) -> TableRow:
    entries = []
    for heading in headings:
        scores = collected.scores[row.id, heading.column]
        if scores.standing == "planned":
            seeds = len(collected.suite.seeds)
            measure = collected.measure
            cell = make_cell(scores.seeds, seeds, heading.group, heading.average, scores.reason, measure)
        else:
            cell = Cell(scores.standing, measure=collected.measure)
        known = None
        if published is not None and heading.headline:
            known = published.scores.get((row.id, heading.column.target, heading.group))
        entries.append(Entry(heading, cell, known))
    return TableRow(row, tuple(entries))
