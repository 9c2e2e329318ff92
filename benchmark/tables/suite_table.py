"""A suite's table to print: its columns for people, a line a cell for programs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from ..outcomes.frames import cell_record
from ..outcomes.headings import Heading
from ..scoring.metrics import DSC
from ..suites.paper import PublishedScore
from ..suites.suite import Row
from .build import Entry, Table, TableRow
from .document import Document, Part
from .failures import NAMES, failure_columns, failure_fields
from .printed import CHECK, Printed, PrintedColumn
from .wording import UNCONVERGED, ours_text, published_text, row_label, setting_text, signed, unsigned_zero

MOST = 6  # columns of numbers that a line of 6.5 in holds: those of Table 1


def table_document(table: Table) -> Document:
    """Return a suite's table to print.

    CSV has a line a row, target, stratum and average, with scores in the unit named, empty where there is none; JSON
    has everything that is known.
    """
    return Document(
        title=table.suite.title if table.metric is DSC else f"{table.suite.title}: {table.metric.short}",
        label=table.suite.name if table.metric is DSC else f"{table.suite.name}-{table.metric.name}",
        parts=[Part(printed_table(table))],
        records=partial(_records, table),
        data=partial(_data, table),
        sentences=table.lead,
        protocol=table.protocol,
        wide=len(table.headings) * (1 + table.has_failures * len(NAMES)) > MOST,
    )


def _records(table: Table) -> list[dict[str, Any]]:
    records = []
    for row in table.rows:
        components = {f"component_{label}": has for label, has in table.suite.components_of(row.row).items()}
        for entry in row.entries:
            sources = _every_source(table, entry, published_text)
            records.append({**_cell_record(table, row.row, entry), **sources, **components})
    return records


def _data(table: Table) -> dict[str, Any]:
    return {
        "suite": table.suite.name,
        "title": table.suite.title,
        "protocol": table.suite.protocol,
        "metric": table.metric.name,
        "better": table.metric.better,
        "seeds": table.suite.seeds,
        "sections": table.suite.sections(),
        "complete": not table.missing,
        "missing": table.missing,
        "caption": table.caption,
        "rows": [_json_row(table, row) for row in table.rows],
    }


def _json_row(table: Table, row: TableRow) -> dict[str, Any]:
    cells = [
        {
            **_cell_record(table, row.row, entry),
            **_every_source(table, entry, list),
            "per_seed": list(map(entry.cell.scaled, entry.cell.values)),
        }
        for entry in row.entries
    ]
    shared = {name: cells[0][name] for name in ("row", "label", "method", "setting", "selection")}
    components = table.suite.components_of(row.row)
    return {**shared, "settings": row.row.settings, "components": components, "cells": cells}


def printed_table(table: Table) -> Printed[TableRow]:
    """Return the columns that people read: method, setting, components and targets."""
    depth = 1 + any(heading.second_line for heading in table.headings)

    def words(heading: str, text: Callable[[Row], str], align: Literal["l", "c"] = "l") -> PrintedColumn[TableRow]:
        return PrintedColumn(heading, lambda row: text(row.row), align=align)

    def component(label: str) -> PrintedColumn[TableRow]:
        return words(label, lambda row: CHECK if table.suite.components_of(row)[label] else "", "c")

    def target(position: int, heading: Heading) -> PrintedColumn[TableRow]:
        def text(row: TableRow) -> str:
            entry = row.entries[position]
            return ours_text(entry.cell, UNCONVERGED if entry.converged is False and not row.unconverged else "")

        def value(row: TableRow) -> str:
            number = row.entries[position].cell.scaled(row.entries[position].cell.mean)
            return "" if number is None else f"{number:.4f}"

        def notes(row: TableRow) -> dict[str, str]:
            delta = row.entries[position].delta
            return {
                "published": published_text(row.entries[position].published),
                "difference": "" if delta is None else signed(delta),
            }

        return PrintedColumn(
            heading.text,
            text=text,
            value=value,
            bold=lambda row: row.entries[position].best,
            tied=lambda row: row.entries[position].tied,
            notes=notes if table.published is not None else lambda _: {},
            unit="%" if heading.unit == "%" else "",
            stacked=(heading.column.label, heading.second_line)[:depth],
        )

    def label(row: TableRow) -> str:
        return row_label(row.row) + (f" {UNCONVERGED}" if row.unconverged else "")

    columns = [
        replace(words("Method", row_label), text=label),
        words("Setting", setting_text),
        *map(component, table.suite.components),
        *(target(position, heading) for position, heading in enumerate(table.headings)),
    ]
    return Printed(failure_columns(table, columns) if table.has_failures else columns, table.rows)


def _cell_record(table: Table, row: Row, entry: Entry) -> dict[str, Any]:
    first = next(iter(entry.published), None)
    record = {
        **{"suite": table.suite.name, "protocol": table.suite.protocol},
        **cell_record(row, entry.heading, entry.cell),
        **{"selection": table.suite.resolved(row)[0]["training"].selection, "best": entry.best, "tied": entry.tied},
        **{"published_mean": first and first.mean, "published_sd": first and first.sd, "delta": entry.delta},
        **(failure_fields(entry.failures) if table.has_failures else {}),
        **({"converged": entry.converged} if table.has_verdicts else {}),
    }
    return {name: rounded(value) if isinstance(value, float) else value for name, value in record.items()}


def _every_source(table: Table, entry: Entry, form: Callable[[tuple[PublishedScore, ...]], Any]) -> dict[str, Any]:
    """Return the cell's scores of all sources, in a table whose published numbers name theirs."""
    named = table.published is not None and table.published.citations
    return {"published": form(entry.published)} if named else {}


def rounded(value: float | None) -> float | None:
    """Return a score with four decimals, as programs read it."""
    return None if value is None else unsigned_zero(value, 4)
