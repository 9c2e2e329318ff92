"""``bench score``: predictions of another program as a row of a suite."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click

from ssdg.datasets.base import Task

from ..errors import UsageError, unknown
from ..storage.external import ROW_FILE, external_id, row_folder, scored_folder, stored_rows
from ..storage.files import write_json
from ..suites.suite import Access, Row, Suite
from . import options
from .selection import Selection, scoring_options

ACCESSES = [access for access in get_args(Access) if access != "intra"]


@click.command()
@scoring_options
@options.data_root
@click.option("--row", "name", required=True, metavar="ID", help="Name of the row: letters, digits and . + - _")
@click.option("--label", help="Name in tables.  [default: the row's id]")
@click.option("--access", type=click.Choice(ACCESSES), help="What its training saw, by your word.  [default: ssdg]")
@click.option("--note", help="Printed under tables, after the words that mark an external row.")
@click.option(
    "--seed", type=options.WholeNumber(0), required=True, help="Seed of the training run that made the predictions."
)
@click.option("--target", required=True, help="Domain of the images.")
@click.option("--source", help="Domain it was trained on.  [default: that of the suite's column of the target]")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of label files (2D: pictures, 3D: NIfTI), one a case.",
)
@click.option(
    "--label-map",
    metavar="VALUE=CLASS,...",
    help="What values stand for, such as 255=vessel.  [default: the class indices; 0 is background]",
)
@click.option("--replace", is_flag=True, help="Score these files in place of others.")
@click.option("--strict", is_flag=True, help="Refuse an incomplete data set.")
def score(
    selection: Selection, data_root: Path, strict: bool, predictions: Path, replace: bool, **values: Any
) -> None:
    """Score label files of any program, as a row of a suite.

    The files are on the grid of the images. Every labelled case of the target needs its file, called by the case's
    id, or like its image or its label. Counts are taken by the code that scores runs and kept with the files'
    SHA-256 and a copy of the predictions, so that `bench rescore` works too. The row is in every table, ranking,
    report and export of the suite, marked as external.

    The same files again change nothing; others for the same row, seed and target are refused without --replace.
    """
    from ..data.run_data import DataSource, find_domain
    from ..outcomes.external import external_row
    from ..progress import open_display
    from ..scoring.external import ExternalPredictions, score_predictions

    facts, folder = _row_facts(selection, values, replace)
    row = external_row(**facts)
    task, source, target = _place(selection, values["target"], values["source"])
    seed, suite = values["seed"], selection.plan.suite.name
    config = selection.plan.suite.sections()["preprocess"]
    data_source = DataSource(data_root, selection.results_root / "prepared", strict)
    located = find_domain(task, target, data_source, lambda text: click.echo(f"bench: {text}", err=True))
    given = ExternalPredictions(
        train_id=external_id(suite, row.id, seed, task.name, source, target if row.per_target else None),
        task=task,
        located=located,
        source=source,
        folder=predictions,
        label_map=_label_map(values["label_map"], task),
        config=config,
    )
    output = scored_folder(folder, seed, task.name, source, target)
    with open_display(row.id) as display:

        def on_case(domain: str, done: int, total: int) -> None:
            if done == 1:
                display.scoring(domain, total)
            display.scored()

        scored, extra = score_predictions(given, output, replace, on_case)
    if extra:
        click.echo(f"bench: {len(extra)} files belong to no case: {', '.join(extra[:5])}", err=True)
    write_json(folder / ROW_FILE, facts)
    click.echo(_summary(selection, row, seed, task, target, output, scored))


def _row_facts(selection: Selection, values: Mapping[str, Any], replace: bool) -> tuple[dict[str, str], Path]:
    """Return the external row as ``row.json`` has it, and its folder; refuse another access than it had."""
    suite, name = selection.suite, values["name"]
    folder = row_folder(selection.results_root, suite.name, name)
    own = next((row for row in suite.rows if row.id == name), None)
    if own is not None and own.trained_here:
        raise UsageError(f"row {name!r} of suite {suite.name!r} is trained here: give the predictions another --row")
    facts = {"label": name, "access": "ssdg", "note": ""}
    earlier = dict(stored_rows(selection.results_root, suite.name)).get(folder, {})
    if own is not None and not earlier:
        earlier = {"label": own.label, "access": own.access}
    given = {key: values[key] for key in facts if values[key] is not None}
    if earlier and given.get("access", earlier["access"]) != earlier["access"] and not replace:
        raise UsageError(
            f"row {name!r} has access {earlier['access']!r}, and one row has one: give another --row, or --replace"
        )
    return {"id": name, **facts, **earlier, **given}, folder


def _place(selection: Selection, target: str, source: str | None) -> tuple[Task, str, str]:
    """Return the task, source and target that predictions are of."""
    suite: Suite = selection.suite
    columns = [column for column in suite.columns if column.target == target]
    tasks = [selection.inventory.task(name) for name in dict.fromkeys(column.task for column in suite.columns)]
    domains = {name: task for task in tasks for name in (*task.sources, *task.targets)}
    if source is None:
        if not columns:
            raise unknown(f"target of suite {suite.name!r}", target, {column.target for column in suite.columns})
        return selection.inventory.task(columns[0].task), columns[0].source, target
    for role, name in (("source", source), ("target", target)):
        if name not in domains:
            raise unknown(role, name, domains)
    if source == target:
        raise UsageError(f"{source!r} is both source and target: no table has such a column")
    return domains[target], source, target


def _label_map(text: str | None, task: Task) -> dict[int, int]:
    """Return value -> class index of ``--label-map``, or the class indices themselves."""
    if text is None:
        return {index: index for index in range(len(task.classes))}
    indices = {**{str(index): index for index in range(len(task.classes))}, **_by_name(task)}
    mapping = {0: 0}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d+)\s*=\s*(.+?)\s*", part)
        if match is None:
            raise UsageError(f"--label-map takes VALUE=CLASS,... such as 255={task.classes[1]}, not {text!r}")
        if match[2] not in indices:
            raise unknown(f"class of task {task.name!r}", match[2], indices)
        mapping[int(match[1])] = indices[match[2]]
    return mapping


def _by_name(task: Task) -> dict[str, int]:
    return {name: index for index, name in enumerate(task.classes)}


def _summary(selection: Selection, row: Row, seed: int, task: Task, target: str, output: Path, scored: bool) -> str:
    from ..tables.run_summary import score_text

    suite = selection.plan.suite
    text = score_text(output, suite.sections()["evaluation"], task.scored_ndim)
    shown = "" if seed in suite.seeds else f"; seed {seed} is not one of the suite's: tables show it with --seeds"
    state = "" if scored else ", as before: the same files"
    return f"{row.label} s{seed} {target}: {text}{state}; in {output}{shown}"
