"""Answers by other code than the one that is here: an earlier version of a method, a plugin that was edited since."""

from collections.abc import Iterable, Mapping

from ssdg.methods import MethodEntry

from ..settings import plugins_edited
from ..storage.results_reader import StoredRun
from .answering import difference, version_here
from .planned_run import PlannedRun


def plugin_edited(run: StoredRun) -> bool:
    """Return whether a plugin that a trained run's method is in was edited since; of an export nothing is known."""
    edited = run.trained and not run.export
    return edited and plugins_edited(run.environment, run.spec.request.method, run.spec.method_config)


def code_notes(runs: Iterable[PlannedRun], methods: Mapping[str, MethodEntry]) -> list[str]:
    """Return notes on the rows that runs of an earlier version answer, or of a plugin that was edited since."""
    earlier, edited = dict[str, None](), dict[str, None]()  # in the rows' order
    for run in runs:
        if run.stored is None or not run.row.trained_here or not any(map(run.evaluation, run.domains)):
            continue
        spec = run.stored.spec
        if (here := version_here(spec, methods)) != spec.version:
            before, now = difference(spec.version, here)
            earlier[f"{run.row.label} ({before}, here {now})"] = None
        elif plugin_edited(run.stored):
            edited[run.row.label] = None
    notes = [f"not of the code that is here, which a sweep trains: {', '.join(earlier)}"] if earlier else []
    raised = "plugin edited after training, which a raised version trains anew"
    return notes + ([f"{raised}: {', '.join(edited)}"] if edited else [])
