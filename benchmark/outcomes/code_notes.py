"""Answers by other code than the one that is here: an earlier version of a method, a plugin that was edited since."""

from collections.abc import Iterable

from ssdg.methods import registry

from ..settings import edited, plugin_digests
from ..storage.results_reader import StoredRun
from .answering import difference, version_here
from .planned_run import PlannedRun


def edited_plugins(run: StoredRun) -> list[str]:
    """Return the methods of a run whose plugins were edited since it was trained or scored; of an export none."""
    known = run.trained and not run.export
    digests = plugin_digests(run.spec.request.method, run.spec.method_config) if known else {}
    records = [run.environment, *(evaluation.data for evaluation in run.evaluations)] if digests else []
    return list(dict.fromkeys(name for record in records for name in edited(record, digests)))


def code_notes(runs: Iterable[PlannedRun]) -> list[str]:
    """Return notes on the rows that runs of an earlier version answer, or of a plugin that was edited since."""
    methods = registry()
    earlier, later = dict[str, None](), dict[str, None]()  # in the rows' order
    for run in runs:
        if run.stored is None or not run.row.trained_here or not any(map(run.evaluation, run.domains)):
            continue
        spec = run.stored.spec
        if (here := version_here(spec, methods)) != spec.version:
            before, now = difference(spec.version, here)
            earlier[f"{run.row.label} ({before}, here {now})"] = None
        elif edited_plugins(run.stored):
            later[run.row.label] = None
    notes = [f"not of the code that is here, which a sweep trains: {', '.join(earlier)}"] if earlier else []
    raised = "plugin edited after training or scoring, which a raised version trains anew"
    return notes + ([f"{raised}: {', '.join(later)}"] if later else [])
