"""``bench figure``: pictures for papers and for looking twice."""

from pathlib import Path

import click

from ssdg.datasets import TASKS

from . import cli_options as options
from .settings import UsageError, unknown
from .spec import PreprocessConfig

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def figure() -> None:
    """Draw figures."""


@figure.command()
@click.option(
    "--image", "images", multiple=True, required=True, type=FILE, help="Image; a second one is the partner."
)
@click.option("--label", "labels", multiple=True, type=FILE, help="Its label: SLAug transforms each class by itself.")
@click.option("--task", help="Task id or TOML file; default: fundus for pictures, fetal-atlases for volumes.")
@click.option("--methods", help="Comma-separated; default: all that work on the image.")
@click.option("--draws", type=click.IntRange(1, 8), default=3, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("augmentations.png"))
@options.plugins
def augmentations(
    images: tuple[Path, ...], labels: tuple[Path, ...], task: str | None, output: Path, **given: str
) -> None:
    """Show what each method does to one image (volumes: the middle slice) before the network sees it."""
    from ssdg.methods import registry

    from .figures import Picture, augmentation_figure, examples, load_batch, save_figure

    volume = images[0].name.endswith((".nii", ".nii.gz"))
    chosen = options.find_task(task).task if task else TASKS["fetal-atlases" if volume else "fundus"]
    if labels and len(labels) != len(images):
        raise UsageError(f"{len(images)} images and {len(labels)} labels: give each image its label, or none")
    known = {name: entry for name, entry in registry().items() if chosen.ndim in entry.ndims}
    names = given["methods"].split(",") if given["methods"] else list(known)
    for name in names:
        if name not in known:
            raise unknown(f"{chosen.ndim}D method", name, known)
    pictures = [Picture(image, labels[index] if labels else None) for index, image in enumerate(images)]
    batch = load_batch(pictures, chosen, PreprocessConfig())
    rows = {
        known[name].label: examples(name, chosen, batch, int(given["draws"]), int(given["seed"])) for name in names
    }
    save_figure(augmentation_figure(rows, batch.image[0].numpy()), output)
    click.echo(f"{len(rows)} methods in {output}")
