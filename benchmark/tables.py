"""Tables: the cells of a suite beside the published numbers, with a caption that writes itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .aggregate import Average, Cell, make_cell
from .caption import describe
from .collect import Collected, collect, other_protocols
from .paper import PublishedScore, PublishedTable, load_published
from .stored import StoredRun
from .suite import Choice, Column, Inventory, Row, Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What to show of a suite."""

    choice: Choice = field(default_factory=Choice)
    published: bool = True  # the paper's numbers beside ours, where the suite names them
    held_out: bool = False  # columns with the score on the source's held-out cases


@dataclass(frozen=True, slots=True)
class Heading:
    """One printed column: a target, a group of its cases, and which average."""

    column: Column
    group: str
    average: Average = "cases"
    headline: bool = True  # the average that the protocol names; the other one is beside it

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
    chosen = suite.narrowed(options.choice)
    collected = collect(chosen, runs, inventory, options.held_out)
    average: Average = chosen.sections()["evaluation"].average
    headings = tuple(h for column in collected.columns for h in column_headings(column, average))
    published = load_published(chosen.published) if options.published and chosen.published else None
    rows = mark_best([_table_row(row, headings, collected, published) for row in chosen.rows])
    empty = {
        (row, column)
        for (row, column), scores in collected.scores.items()
        if column in chosen.columns and scores.standing == "planned" and not scores.seeds
    }
    notes = (*collected.notes, *other_protocols(chosen, runs, inventory, empty))
    caption = describe(replace(collected, notes=notes), published)
    return Table(chosen, headings, tuple(rows), tuple(caption), tuple(holes(collected)), published is not None)


def column_headings(column: Column, average: Average) -> list[Heading]:
    """Return what is printed of a target; an "average" is printed twice, first the one named."""
    headings = []
    for group in column.groups:
        headings.append(Heading(column, group, average if group == "average" else "cases"))
        if group == "average":
            headings.append(Heading(column, group, "cases" if average == "strata" else "strata", headline=False))
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


def mark_best(rows: Sequence[TableRow]) -> list[TableRow]:
    """Mark the highest mean of each column among complete cells of rows that saw the source alone.

    Means that print alike are marked alike. A single complete row is no comparison and is not marked.
    """
    marked = [list(row.entries) for row in rows]
    for position in range(len(rows[0].entries) if rows else 0):
        means = {
            index: round(100 * (row.entries[position].cell.mean or 0.0), 2)
            for index, row in enumerate(rows)
            if row.row.setting in ("ssdg", "source-only") and row.entries[position].cell.state == "complete"
        }
        for index, mean in means.items():
            if len(means) > 1 and mean == max(means.values()):
                marked[index][position] = replace(marked[index][position], best=True)
    return [TableRow(row.row, tuple(entries)) for row, entries in zip(rows, marked, strict=True)]


def _table_row(
    row: Row, headings: Iterable[Heading], collected: Collected, published: PublishedTable | None
) -> TableRow:
    entries = []
    for heading in headings:
        scores = collected.scores[row.id, heading.column]
        if scores.standing == "planned":
            seeds = len(collected.suite.seeds)
            cell = make_cell(scores.seeds, seeds, heading.group, heading.average, scores.reason)
        else:
            cell = Cell(scores.standing)
        known = None
        if published is not None and heading.headline:
            known = published.scores.get((row.id, heading.column.target, heading.group))
        entries.append(Entry(heading, cell, known))
    return TableRow(row, tuple(entries))
