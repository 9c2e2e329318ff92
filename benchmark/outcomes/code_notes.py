"""Answers by other code than the one that is here: an earlier version of a method, a plugin that was edited since."""

from collections import Counter
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
    """Return a note for each row that runs of an earlier version answer, or of a plugin that was edited since."""
    notes: Counter[str] = Counter()
    for run in runs:
        if run.stored is None or not run.row.trained_here or not any(map(run.evaluation, run.domains)):
            continue
        spec = run.stored.spec
        if (here := version_here(spec, methods)) != spec.version:
            before, now = difference(spec.version, here)
            notes[f"{run.row.label}: of {before}, and {now} is here, which a sweep trains"] += 1
        elif plugin_edited(run.stored):
            notes[f"{run.row.label}: its plugin was edited after training: raise its version to train it anew"] += 1
    return [f"{note} ({count} run{'s' * (count != 1)})" for note, count in notes.items()]
