"""Blocks of a suite: rows with the methods of other blocks under another condition."""

from collections.abc import Iterable

from ..errors import UsageError
from .suite import Row


def blocks_of(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Return block -> method with its own settings -> row, of the rows that are compared.

    Raises:
        UsageError: a block has a method twice.
    """
    blocks: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.block and row.contender:
            own = [f"{key}={value}" for key, value in sorted(row.settings.items()) if key.startswith("method.")]
            method = " ".join([row.method, *own])
            other = blocks.setdefault(row.block, {}).setdefault(method, row)
            if other is not row:
                raise UsageError(f"rows {other.id!r} and {row.id!r} of block {row.block!r} are the same method")
    return blocks
