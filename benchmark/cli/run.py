"""Commands on a single run: ``bench run`` and ``bench predict``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..errors import UsageError, unknown
from ..launching.job_file import Job, read_job
from ..launching.registry import current_job
from ..launching.worker import end_with_launcher, stop_on_request
from ..settings import parse_assignments, resolve_sections
from ..spec import PROTOCOLS, RunRequest
from ..training.runtime import Runtime
from . import options


@click.command()
@click.argument("job", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--method", help="Method id (`bench list methods`), or module:Class.")
@click.option("--target", "targets", multiple=True, help="Target domain to score; may be given several times.")
@click.option("--source", help="Source domain to train on; the target's task has a default.")
@click.option("--task", help="Task id, or a TOML file that describes your own data.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of initial weights, order and augmentation."
)
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="clean", show_default=True)
@click.option(
    "--selection",
    type=click.Choice(["oracle"]),
    help="Choose the checkpoint on the labels of the --target: an upper bound, marked †.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; a resumed CPU run keeps its first number.")
@click.option("--strict", is_flag=True, help="Refuse an incomplete data set instead of counting what is missing.")
@click.option("--wait", is_flag=True, help="Wait if another process works on the same run.")
@click.option("--log", type=click.Path(path_type=Path), hidden=True, help="Where a launcher sends what this prints.")
@options.checkpoint_interval
@options.settings
@options.plugins
@options.data_root
@options.results_root
def run(job: Path | None, **given: Any) -> None:
    """Train a method once and score its targets; resumes what was interrupted and skips what is done.

    JOB is a job file or a run's spec.json, to repeat exactly that run.

    \b
    bench run --method ras4dg --target lesav
    bench run --method ras4dg --target fidon --source gholipour --set preprocess.shape=48,48,48
    """  # noqa: D301 - click wants a backspace character there
    runtime = Runtime(
        data_root=given["data_root"],
        results_root=given["results_root"],
        device=given["device"],
        strict=given["strict"],
        wait=float("inf") if given["wait"] else 0.0,
        threads=given["threads"],
        checkpoint_interval=given["checkpoint_interval"],
        log=given["log"],
        job_id=current_job(),
    )
    if job is not None:
        if given["log"] is not None:
            end_with_launcher()
        refuse_beside_a_job(("method", "source", "seed", "protocol", "selection", "assignments"))
        execute(job_from_file(job, runtime, given["targets"], given["task"]), job)
    else:
        execute(job_from_options(runtime, given))


def refuse_beside_a_job(names: tuple[str, ...]) -> None:
    """Refuse options that would contradict the job file."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{parameter.opts[0]} does not go with a job file, which says it: leave one of them out")


def job_from_file(path: Path, runtime: Runtime, targets: tuple[str, ...], task: str | None) -> Job:
    """Return the job of a file; a spec.json names neither targets nor a task's own file: --target and --task do."""
    job = read_job(path, {name: getattr(runtime, name) for name in Runtime.__dataclass_fields__})
    return replace(
        job,
        targets=job.targets or targets or ((job.request.target,) if job.request.target else ()),
        runtime=replace(job.runtime, log=runtime.log, job_id=runtime.job_id),
        task_file=job.task_file or (options.find_task(task).file if task else None),
    )


def job_from_options(runtime: Runtime, given: dict[str, Any]) -> Job:
    """Return the job that the options of `bench run` describe."""
    if given["method"] is None:
        raise UsageError("name a --method (see `bench list methods`)")
    choice, source = options.choose_task(given["task"], given["targets"], given["source"])
    oracle = given["selection"] == "oracle"
    sections, method_settings = resolve_sections(given["protocol"], parse_assignments(given["assignments"]), oracle)
    uda = method_setting(given["method"]) == "uda"
    targets = tuple(dict.fromkeys(given["targets"]))
    if (uda or oracle) and len(targets) != 1:
        does = "trains on unlabelled target images" if uda else "is to be selected on the target's labels"
        raise UsageError(f"{given['method']} {does}: give it exactly one --target")
    request = RunRequest(
        task=choice.task.name,
        source=source,
        method=given["method"],
        method_settings=method_settings,
        seed=given["seed"],
        protocol=given["protocol"],
        target=targets[0] if uda or oracle else None,
        **sections,
    )
    return Job(request=request, targets=targets, runtime=runtime, task_file=choice.file, plugins=given["plugins"])


def method_setting(method: str) -> str:
    """Return "ssdg" or "uda" for a method id or module:Class."""
    from ssdg.methods import load_method, registry

    methods = registry()
    if method in methods:
        return methods[method].access
    if ":" in method:
        return str(load_method(method).access)
    raise unknown("method", method, methods)


def execute(job: Job, file: Path | None = None) -> None:
    """Do a job in this process, with a progress display; Ctrl-C stops after the step and saves a checkpoint.

    Args:
        job: the job.
        file: its file, which `bench cancel` marks.
    """
    from ..training import progress
    from ..training.run import run_one

    options.register(job.plugins)
    task = options.find_task(str(job.task_file) if job.task_file else job.request.task).task
    with progress.observer(job.name) as observer:
        folder = run_one(job.request, task, job.targets, job.runtime, observer, stop_on_request(file))
    from ..tables.run_summary import describe

    for line in describe(folder, task.ndim):
        click.echo(line)


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--input", "images", required=True, type=click.Path(path_type=Path, exists=True), help="Image or folder."
)
@click.option("--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--device", default="auto", show_default=True)
@click.option("--task", help="The TOML file of the run's task, if it is your own.")
@options.plugins
def predict(run: Path, images: Path, output: Path, device: str, task: str | None, **_: Any) -> None:
    """Segment your own images with a finished run; written in each image's own grid, as PNG or NIfTI.

    RUN is the run's folder. Pixel values are class indices in the task's order.
    """
    from ..storage.results_reader import read_run
    from ..training import progress
    from ..training.predict import predict_images

    stored = read_run(run)
    choice = options.find_task(task or stored.spec.request.task)
    with progress.observer("predict") as observer:
        written = predict_images(stored, choice.task, images, output, device, observer)
    click.echo(f"{len(written)} predictions in {output}")


commands = [run, predict]
