"""Pictures of the pages: what methods do to a drawn image, and what the tutorial's commands write."""

import io
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

from ssdg.benchmark.cli import main
from ssdg.benchmark.figures.augmentations import augmentation_figure, examples, load_batch
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets import TASKS
from ssdg.datasets.phantom import write_phantom
from ssdg.methods import METHODS

DRAWS = 3


def method_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield the path of each method's picture and its PNG."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_phantom(root, 2, cases=2, size=128)
        write_phantom(root, 3, cases=2, size=64)
        batches = {}
        for name, suffix in (("phantom2d", "png"), ("phantom3d", "nii.gz")):
            files = sorted((root / name / "a" / "image").glob(f"*.{suffix}"))
            pairs = [(file, file.parents[1] / "label" / file.name) for file in files]
            batches[name] = load_batch(pairs, TASKS[name], PreprocessConfig())
    for method, entry in METHODS.items():
        name = "phantom2d" if entry.works_on(2, photographs=True) else "phantom3d"
        views = examples(method, TASKS[name], batches[name], DRAWS, seed=0)
        rows = {f"draw {number}": [view] for number, view in enumerate(views, start=1)}
        figure = augmentation_figure(rows, batches[name].image[0].numpy())
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=110)
        yield f"methods/{method}.png", stream.getvalue()


def tutorial_pictures(tutorial: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of each picture that the tutorial's ``bench data`` commands write.

    Raises:
        RuntimeError: one of these commands fails.
    """
    blocks = re.findall(r"^```bash\n(.*?)^```", tutorial, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for line in (line for line in lines if line.startswith("bench data ")):
            result = CliRunner().invoke(main, shlex.split(line, comments=True)[1:], env={"BENCH_DATA": "DATA"})
            if result.exit_code:
                raise RuntimeError(f"{line}: {result.output or result.exception}")
        for file in sorted(Path("look").iterdir()):
            yield os.fspath(file), file.read_bytes()
