"""Commands on a single run: ``bench run`` and ``bench predict``."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from ssdg.datasets import find_target
from ssdg.datasets.base import Task

from ..errors import UsageError, unknown
from ..launching.job_file import Job, read_job
from ..launching.registry import current_job
from ..launching.worker import end_with_launcher, stop_on_request
from ..settings import resolve_sections
from ..spec import RunRequest
from ..storage.results_reader import numeric_history
from ..tracking.observers import Observers, check_observers
from ..training.runtime import Runtime
from . import options
from .launch_checks import from_command_line

RUNTIME = ("data_root", "results_root", "device", "strict", "threads", "checkpoint_interval", "log", "observers")
REQUEST = ("method", "source", "seed", "protocol", "selection", "overrides")
"""Options that would contradict a job file."""


@click.command()
@click.argument("job", required=False, type=options.FILE)
@click.option(
    "--method", shell_complete=options.complete_method, help="Method id (`bench list methods`), or module:Class."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    shell_complete=options.complete_domain,
    help="Target to score (`bench list targets`); may be repeated.",
)
@click.option("--source", help="Source domain to train on; the target's task has a default.")
@click.option(
    "--task", shell_complete=options.complete_task, help="Task id (`bench list tasks`), or the TOML file of your own."
)
@click.option(
    "--seed",
    type=options.WholeNumber(0),
    default=0,
    show_default=True,
    help="Seed of initial weights, order and augmentation.",
)
@options.protocol
@click.option(
    "--selection",
    type=click.Choice(["oracle"]),
    help="Choose the checkpoint on the labels of the --target: an upper bound, marked †.",
)
@options.device
@click.option("--threads", type=options.WholeNumber(1), help="CPU threads; a resumed CPU run keeps its first number.")
@options.strict
@click.option("--explain", is_flag=True, help="Only measure and print what one step sees and costs; train nothing.")
@click.option("--wait", is_flag=True, help="Wait if another process works on the same run.")
@click.option("--log", type=click.Path(path_type=Path), hidden=True, help="Where a launcher sends what this prints.")
@options.checkpoint_interval
@options.observe
@options.settings
@options.plugins
@options.data_root
@options.results_root
def run(job: Path | None, **values: Any) -> None:
    """Train a method once and score its targets.

    The same command again resumes what was interrupted and skips what is done. Instead of --method, JOB repeats
    exactly one run: its spec.json, or a job file, whose data root, device and the like are used unless given here.
    """
    wait = float("inf") if values["wait"] else 0.0
    runtime = Runtime(wait=wait, job_id=current_job(), **{name: values[name] for name in RUNTIME})
    if job is None:
        check_observers(runtime.observers)
        do = explain_job if values["explain"] else execute
        do(_job_from_options(runtime, values))
        return
    if runtime.log is not None:
        end_with_launcher()
    if flags := from_command_line({*REQUEST}):
        raise UsageError(
            f"{', '.join(flags.values())} does not go with a job file, which says it: leave one of them out"
        )
    stored = read_job(job, asdict(runtime))
    # A spec.json names neither targets nor a task's own file: --target and --task do.
    targets = values["targets"] or stored.targets
    if values["task"] is not None and (task := options.find_task(values["task"])).name != stored.request.task:
        raise UsageError(
            f"--task {values['task']}: that is task {task.name!r}, and {job} is of {stored.request.task!r}"
        )
    task_file = options.task_file(values["task"]) or stored.task_file
    # A name that is wrong here ends the observation, not the job.
    observers = tuple(dict.fromkeys((*stored.runtime.observers, *runtime.observers)))
    asked = {name: getattr(runtime, name) for name in from_command_line({*RUNTIME, "wait"})}
    always = {"log": runtime.log, "job_id": runtime.job_id, "observers": observers}
    here = replace(stored.runtime, **{**asked, **always})
    given = replace(stored, targets=targets, runtime=here, task_file=task_file)
    if values["explain"]:
        explain_job(given)
    else:
        execute(given, job)


def _job_from_options(runtime: Runtime, values: dict[str, Any]) -> Job:
    method, targets = values["method"], tuple(dict.fromkeys(values["targets"]))
    if method is None:
        raise UsageError("name a --method (see `bench list methods`)")
    if values["task"] is None and not targets:
        raise UsageError("name a --target (see `bench list targets`) or a --task")
    task = options.find_task(values["task"]) if values["task"] is not None else find_target(targets[0])
    for target in targets:
        if target not in task.targets:
            raise unknown(f"target of task {task.name!r}", target, task.targets)
    source = values["source"] or task.source_for(*targets)
    if source not in task.sources:
        raise unknown(f"source of task {task.name!r}", source, task.sources)
    oracle = values["selection"] == "oracle"
    sections, method_settings = resolve_sections(values["protocol"], values["overrides"], oracle)
    uda = options.method_class(method).access == "uda"
    if (uda or oracle) and len(targets) != 1:
        does = "trains on unlabelled target images" if uda else "is to be selected on the target's labels"
        raise UsageError(f"{method} {does}: give it exactly one --target")
    request = RunRequest(
        task=task.name,
        source=source,
        method=method,
        method_settings=method_settings,
        seed=values["seed"],
        protocol=values["protocol"],
        target=targets[0] if uda or oracle else None,
        **sections,
    )
    task_file = options.task_file(values["task"])
    return Job(request=request, targets=targets, runtime=runtime, task_file=task_file, plugins=values["plugins"])


def _task_of(job: Job) -> Task:
    """Return a job's task, once its plugins are registered."""
    options.register(job.plugins)
    return options.find_task(str(job.task_file) if job.task_file else job.request.task)


def execute(job: Job, file: Path | None = None) -> None:
    """Do a job, perhaps of a file that `bench cancel` marks; Ctrl-C stops after the step and saves a checkpoint."""
    from .. import progress
    from ..tables.run_summary import describe, mean_scores
    from ..training.run import run_one

    task = _task_of(job)
    stop, names = stop_on_request(file), job.runtime.observers
    with progress.open_display(job.name) as display, Observers(names, job.name, display.log) as observers:
        folder = run_one(job.request, task, job.targets, job.runtime, display, stop, observers)
        if names:
            observers.history(numeric_history(folder))
            observers.scores(mean_scores(folder, job.request, task))
    for line in describe(folder, job.request, task):
        click.echo(line)


def explain_job(job: Job) -> None:
    """Print what one step of a job sees and costs."""
    from .. import progress
    from ..training.explain import explain

    task = _task_of(job)
    with progress.open_display(job.name) as display:
        lines = list(explain(job.request, task, job.targets, job.runtime, display))
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--input", "images", required=True, type=click.Path(path_type=Path, exists=True), help="Image or folder."
)
@click.option("--output", required=True, type=options.OUTPUT_FOLDER, help="Folder to write to.")
@options.device
@click.option("--task", help="The TOML file of the run's task, if it is your own.")
@click.option(
    "--like", metavar="DOMAIN", help="Read the images as those of this domain of the task.  [default: the source]"
)
@click.option(
    "--foregrounds",
    type=click.Path(path_type=Path, exists=True),
    help="Masks of the field of view or the brain: a folder, named as their images, or the file of one image.",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write softmax probabilities, float32, to OUTPUT/probabilities: 3D NIfTI with the classes as fourth "
    "axis, 2D NPZ (classes, rows, columns).",
)
@options.plugins
def predict(run: Path, images: Path, output: Path, task: str | None, like: str | None, **values: Any) -> None:
    """Segment your own images with a finished run.

    RUN is the run's folder. Each label map is written on its image's own grid, as PNG or NIfTI. Pixel values are
    class indices in the task's order.

    Where the run was trained with masks (fundus photographs), give those of your images by --foregrounds: without
    them images are normalised over the whole picture, and predictions differ from those of the run's targets.

    Probabilities are resampled linearly to that grid and add up to 1; where the run's evaluation.resample is
    "probabilities" (the clean protocol), the label map is their argmax, with "nearest" the two differ at borders.
    """
    from .. import progress
    from ..storage.results_reader import read_run
    from ..training.predict import predict_images

    stored = read_run(run)
    its_task = options.find_task(task or stored.spec.request.task)
    if like is not None and like not in options.domain_loaders(its_task):
        raise unknown(f"domain of task {its_task.name!r}", like, options.domain_loaders(its_task))
    read_as = like or stored.spec.request.source
    loader = options.domain_loaders(its_task).get(read_as)  # none: predict_images says what is wrong with the task
    masked = its_task.ndim == 2 and loader is not None and "foregrounds" in loader.patterns
    if masked and values["foregrounds"] is None:
        click.echo(
            f"bench: images of {read_as} have masks of the foreground, and these have none: they are "
            "normalised over the whole picture, and predicted otherwise than with --foregrounds",
            err=True,
        )
    with progress.open_display("predict") as display:
        options_of_files = {name: values[name] for name in ("probabilities", "foregrounds")}
        written = predict_images(
            stored, its_task, images, output, values["device"], display, like, **options_of_files
        )
    click.echo(f"{len(written)} predictions in {output}")
