"""Benchmark of single-source domain generalisation methods: ``open_results`` is its Python API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .outcomes.opening import open_results as open_results

__all__ = ["open_results"]


def __getattr__(name: str) -> Any:
    # Imported on use: a command that needs no results must not wait for NumPy.
    if name != "open_results":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .outcomes.opening import open_results

    return open_results
