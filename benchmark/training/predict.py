"""A finished run on the user's own images: predictions in each image's own grid."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ssdg.datasets.base import Case, Domain, Task
from ssdg.datasets.discovery import is_junk, stem

from ..data.images import write_prediction
from ..data.prepared import PreparedDomain
from ..data.preprocess import prepare_case
from ..errors import UsageError
from ..spec import PreprocessConfig
from ..storage.results_reader import StoredRun
from .build import find_device, load_run_method
from .evaluate import Predictor
from .progress import RunObserver

SUFFIXES = {2: (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".bmp"), 3: (".nii.gz", ".nii")}


def predict_images(
    run: StoredRun, task: Task, images: Path, output: Path, device_name: str, observer: RunObserver
) -> list[Path]:
    """Segment an image or a folder of images with a finished run; return the files written.

    Labels and masks are not read: the foreground is the whole picture in 2D, the non-zero voxels in 3D. Predictions
    are PNG (2D) or NIfTI (3D) files of class indices, each named like its image.

    Raises:
        UsageError: the run has no final weights, there is no image, or a prediction would overwrite one.
        DataError: an image that cannot be used; the ones before it are written.
    """
    files = find_images(images, task.ndim)
    suffix = ".png" if task.ndim == 2 else ".nii.gz"
    outputs = [output / f"{stem(file)}{suffix}" for file in files]
    inputs = {file.resolve() for file in files}
    for path in outputs:
        if path.resolve() in inputs:
            raise UsageError(f"the prediction {path} would overwrite an image: give another --output folder")
    request = run.spec.request
    device = find_device(device_name)
    method = load_run_method(run.path, run.spec, task, device)
    predictor = Predictor(method, device, request.training.precision, request.evaluation.resample)
    # The oracle brain mask needs labels; images of one's own have none.
    config = replace(request.preprocess, brain_mask="nonzero")
    observer.scoring(str(images), len(files))
    for file, path in zip(files, outputs, strict=True):
        case = Case(id=stem(file), image=file)
        domain = Domain("input", "", (case,), {}, str(file), "", skull_stripped=False)
        write_prediction(_segment(predictor, task, case, domain, config), case, domain, path)
        observer.scored()
    return outputs


def find_images(place: Path, ndim: int) -> list[Path]:
    """Return the image at a path, or the sorted ones in a folder; refuse names that would collide."""
    suffixes = SUFFIXES[ndim]
    if place.is_file():
        return [place]
    files = sorted(p for p in place.iterdir() if p.name.lower().endswith(suffixes) and p.is_file() and not is_junk(p))
    if not files:
        raise UsageError(f"no image in {place}: a {ndim}D task takes files that end in {', '.join(suffixes)}")
    stems = [stem(file) for file in files]
    for name in stems:
        if stems.count(name) > 1:
            raise UsageError(
                f"{place} has several images called {name!r}: their predictions would overwrite each other"
            )
    return files


def _segment(predictor: Predictor, task: Task, case: Case, domain: Domain, config: PreprocessConfig) -> np.ndarray:
    prepared = prepare_case(case, domain, task, config, with_label=False)
    alone = PreparedDomain(
        name=domain.name,
        ids=(case.id,),
        strata=(case.stratum,),
        image=prepared.image[None],
        label=None,
        foreground=prepared.foreground[None],
        geometries=(prepared.geometry,),
        digest="",
    )
    [(_, labels)] = predictor.native_labels(alone, [case.id])
    return labels
