"""``bench figure``: figures for papers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssdg.datasets.base import DataError, Task
from ssdg.datasets.discovery import VOLUMES
from ssdg.methods import registry

from ..errors import UsageError, unknown
from ..scoring.metrics import DSC, Metric
from ..settings import resolve_sections
from ..spec import PreprocessConfig
from . import options
from .selection import Selection, regime_study, suite_options, suites_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..data.prepared import PreparedDomain

width = click.option(
    "--width",
    type=options.NumberRange(2, 20),
    default=7.2,
    show_default=True,
    help="Width in inches, at which the letters have 6 to 7 points: 3.5 is one column of a page, 7.2 is two.",
)


def output(default: str) -> Callable[..., Any]:
    """Return the option ``--output``, which refuses a format before anything is computed."""

    def check(_context: object, _parameter: object, path: Path) -> Path:
        from ..figures.style import require_format

        require_format(path)
        return path

    file = options.OUTPUT_FILE
    text = "File to write: PDF or PNG by its suffix."
    return click.option("--output", type=file, default=Path(default), show_default=True, callback=check, help=text)


def _write(drawn: "Figure", output: Path) -> None:
    from ..figures.style import PAGE, save_figure

    save_figure(drawn, output)
    height = drawn.get_figheight()
    if height > PAGE:
        advice = "show less, or give another --width"
        click.echo(f"bench: the figure is {height:.1f} in high, a page about {PAGE:g}: {advice}", err=True)


@click.group()
def figure() -> None:
    """Figures: augmentations, predictions, regimes, robustness, spectra.

    The suffix of --output chooses the format: PDF or PNG.
    """


@figure.command()
@click.option(
    "--image",
    multiple=True,
    required=True,
    type=options.FILE,
    help="Image to change; a second one is its partner in the batch.",
)
@click.option(
    "--label", multiple=True, type=options.FILE, help="Label of the image: SLAug and SRC change each class by itself."
)
@click.option("--task", help="Task id or TOML file.  [default: fundus for pictures, fetal-atlases for volumes]")
@click.option(
    "--methods",
    callback=options.names,
    help="Only these methods; comma-separated.  [default: all that work on the image]",
)
@click.option(
    "--draws", type=options.WholeNumber(1, 8), default=3, show_default=True, help="Random draws for each method."
)
@click.option("--seed", type=options.WholeNumber(0), default=0, show_default=True, help="Seed of the draws.")
@output("augmentations.png")
@width
@options.plugins
def augmentations(image: tuple[Path, ...], label: tuple[Path, ...], output: Path, **values: Any) -> None:
    """Show what each method does to one image.

    Drawn is what the network sees; of a volume, the middle slice, and for a task on slices the one with most of the
    label or foreground. The image is read as those of the task's first source are, for a CT with its window.
    """
    from ..figures.augmentations import augmentation_figure, examples, load_batch

    volume = image[0].name.lower().endswith(VOLUMES)
    kind = options.find_task(values["task"] or ("fetal-atlases" if volume else "fundus"))
    if label and len(label) != len(image):
        raise UsageError(f"{len(image)} images and {len(label)} labels: give each image its label, or none")
    entries = {name: entry for name, entry in registry().items() if entry.works_on(kind.ndim, kind.photographs)}
    methods = values["methods"] or tuple(entries)
    for name in methods:
        if name not in entries:
            raise unknown(f"method that works on task {kind.name!r}:", name, entries)
    pictures = list(zip(image, label or (None,) * len(image), strict=True))
    batch = load_batch(pictures, kind, PreprocessConfig())
    rows = {entries[name].label: examples(name, kind, batch, values["draws"], values["seed"]) for name in methods}
    _write(augmentation_figure(rows, batch.image[0].numpy(), values["width"]), output)
    click.echo(f"{len(rows)} methods in {output}")


@figure.command()
@click.option("--task", required=True, help="Task id or TOML file.")
@click.option(
    "--domains",
    callback=options.names,
    help="Only these domains; comma-separated.  [default: the source and all targets on disk]",
)
@click.option("--labels", callback=options.names, help="What to call the domains, comma-separated, in their order.")
@click.option("--low", type=float, help="End of the low band: distance from the zero frequency, 1 is the farthest.")
@click.option("--high", type=float, help="Begin of the high band.")
@click.option("--csv", "table", type=options.OUTPUT_FILE, help="Also write every number, one line a case and band.")
@output("spectra.pdf")
@options.protocol
@width
@options.settings
@options.data_root
@options.results_root
def spectra(task: str, table: Path | None, output: Path, **values: Any) -> None:
    """Show how domains differ in spatial frequencies.

    Drawn are the amplitudes of a low and of a high band (RAS4DG, Fig. 1b/c). Amplitudes are those of the prepared
    images, in [0, 1] on the network's grid. The limits of the bands are a choice of this benchmark; the paper does
    not state its own.
    """
    from numpy import median

    from ..figures.amplitudes import Bands, fold_range, measure, spectra_csv
    from ..figures.spectra import spectra_figure
    from ..storage.files import write_output

    bands = Bands(**{name: values[name] for name in ("low", "high") if values[name] is not None})
    prepared = _prepared(options.find_task(task), values)
    labels = values["labels"] or tuple(domain.name for domain in prepared)
    if len(labels) != len(prepared):
        raise UsageError(f"{len(labels)} labels for {len(prepared)} domains ({', '.join(d.name for d in prepared)})")
    measured = [measure(domain, bands) for domain in prepared]
    _write(spectra_figure(measured, labels, bands, values["width"]), output)
    if table is not None:
        write_output(table, spectra_csv(measured, bands))
    for label, domain in zip(labels, measured, strict=True):
        low, high = median(domain.low), median(domain.high)
        click.echo(f"{label}: {len(domain.cases)} cases, medians: low {low:.3g}, high {high:.3g}")
    if len(measured) > 1:
        click.echo(f"medians apart: low x{fold_range(measured, 'low'):.2f}, high x{fold_range(measured, 'high'):.2f}")
    click.echo(f"{len(measured)} domains in {output}")


def _prepared(task: Task, values: dict[str, Any]) -> "list[PreparedDomain]":
    """Return the domains asked for, prepared; unless named, those missing on disk are left out with a message."""
    from ..data.prepared import prepare_domain
    from ..data.run_data import DataSource, find_domain
    from ..progress import open_display

    config = resolve_sections(values["protocol"], values["overrides"])[0]["preprocess"]
    cache = values["results_root"] / "prepared"
    data_source = DataSource(values["data_root"], cache)
    prepared = []
    with open_display(task.name) as display:
        for name in values["domains"] or (task.source, *task.targets):
            try:
                located = find_domain(task, name, data_source, display.log)
            except DataError as error:
                if values["domains"]:
                    raise
                display.log(f"{name} is left out: {str(error).splitlines()[0]}")
                continue
            digest = located.manifest.digest
            prepared.append(prepare_domain(located.domain, task, config, digest, cache, display.preparing))
    if not prepared:
        raise UsageError(f"no domain of task {task.name!r} is under {values['data_root']}: give --data-root")
    return prepared


@figure.command()
@suite_options
@options.metric(text="Metric by whose mean rows are ranked.", default=DSC.name)
@output("regimes.pdf")
@width
def regimes(selection: Selection, metric: Metric, output: Path, width: float) -> None:
    """Show the order of a suite's rows under each protocol.

    The protocols are `paper`, `clean`, and `clean` with nnU-Net's stronger augmentation. `bench table SUITE
    --regimes` has the numbers.
    """
    from ..figures.regimes import regimes_figure

    study = regime_study(selection, metric)
    _write(regimes_figure(study, width), output)
    click.echo(f"{len(study.rows)} rows in {output}")
    selection.require_complete(study.missing, "left out")


@figure.command()
@suites_options
@output("robustness.pdf")
@width
def robustness(selections: Sequence[Selection], output: Path, width: float) -> None:
    """Show target DSC against source DSC, row by row.

    A panel for each target of the suites; the source's DSC is that of its held-out cases. A row above the line
    through all converged rows does better than its score on the source predicts; `bench table SUITE --robustness`
    has the numbers.
    """
    from ..comparisons.robustness import measure_robustness
    from ..figures.robustness import robustness_figure

    measured = [of for selection in selections for of in measure_robustness(selection.results())]
    _write(robustness_figure(measured, width), output)
    click.echo(f"{sum(len(of.headings) for of in measured)} targets in {output}")
    for selection in selections:
        selection.require_complete()


@figure.command()
@suite_options
@click.option("--case", "cases", multiple=True, help="Case to show of the targets that have it; repeatable.")
@output("predictions.pdf")
@width
@options.data_root
def predictions(selection: Selection, cases: tuple[str, ...], output: Path, width: float, data_root: Path) -> None:
    """Show every row's prediction beside the label.

    One case of each target is drawn (as in RAS4DG, Fig. 4). Unless --case names it, the case is the one whose DSC
    by the source-only row is the median. Stored predictions are drawn: nothing is trained or predicted.
    """
    from ..figures.prediction_cases import choose_case, legend_of, make_strip, note_of, require_cases
    from ..figures.predictions import predictions_figure

    selection.require_runs()
    results = selection.results()
    require_cases(results, cases)
    strips, notes, tasks = [], [], []
    for column in results.suite.columns:
        choice = choose_case(results, column, cases)
        if choice is None:
            click.echo(f"bench: {column.label} is left out: no row has a finished run", err=True)
            continue
        case, why = choice
        strip, domain = make_strip(results, column, case, data_root)
        strips.append(strip)
        notes.append(f"{why} ({domain.citation or domain.source}).")
        tasks.append(selection.inventory.task(column.task))
    if not strips:
        selection.nothing_finished()
    note = note_of(results, tasks, notes)
    _write(predictions_figure(strips, legend_of(tasks), note, width), output)
    click.echo(note)
    click.echo(f"{len(strips)} cases in {output}")
    selection.require_complete()
