"""A finished run on the user's own images: predictions in each image's own grid."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ssdg.datasets.base import Case, DataError, Domain, Task
from ssdg.datasets.discovery import PICTURES, VOLUMES, is_junk, stem

from ..data.images import file_ndim, write_prediction, write_probabilities
from ..data.prepared import PreparedDomain
from ..data.preprocess import prepare_case
from ..errors import UsageError
from ..progress import Display
from ..spec import PreprocessConfig
from ..storage.results_reader import StoredRun
from .build import find_device
from .evaluate import Predictor

SUFFIXES = {2: PICTURES, 3: VOLUMES}


PROBABILITIES = "probabilities"
"""Folder of the probabilities, apart from the label maps, whose folder other programs read whole."""


def predict_images(  # noqa: PLR0913 - the last three are keyword arguments
    run: StoredRun,
    task: Task,
    images: Path,
    output: Path,
    device_name: str,
    display: Display,
    domain: str | None = None,
    probabilities: bool = False,
    foregrounds: Path | None = None,
) -> list[Path]:
    """Segment an image or a folder of images with a finished run; return the label maps written.

    Files are read by the rules of a ``domain`` (intensities, orientation, slices); None: of the run's source.

    Labels are not read. The mask of each image is that of its name in the folder ``foregrounds`` (or the file, of one
    image); None: the foreground is the whole picture in 2D, the non-zero voxels in 3D. Predictions
    are PNG (2D) or NIfTI (3D) files of class indices, each named like its image. ``probabilities``: also those of
    each class, in a folder of that name, as :func:`write_probabilities` says.

    Raises:
        UsageError: the run has no final weights, there is no image, an image has no mask, or a prediction would
            overwrite an image or a mask.
        DataError: an image that cannot be used; the ones before it are written.
    """
    source = domain or run.spec.request.source
    if source not in {**task.sources, **task.targets}:
        raise UsageError(
            f"the run was trained on {source!r}, of which task {task.name!r} knows nothing: give the file of its "
            f"task ({run.spec.request.task!r}) with --task"
        )
    rules = replace(task.domain(source).domain, skull_stripped=False)
    ndim = file_ndim(task, rules)
    files = find_images(images, ndim)
    suffix = ".png" if ndim == 2 else ".nii.gz"
    outputs = [output / f"{stem(file)}{suffix}" for file in files]
    masks = [None] * len(files) if foregrounds is None else _masks_of(files, foregrounds, ndim)
    inputs = {file.resolve() for file in (*files, *masks) if file is not None}
    for path in outputs:
        if path.resolve() in inputs:
            raise UsageError(
                f"the prediction {path} would overwrite an image or a mask: give another --output folder"
            )
    predictor = Predictor.of_run(run.path, run.spec, task, find_device(device_name))
    # The oracle brain mask needs labels; images of one's own have none.
    config = replace(run.spec.request.preprocess, brain_mask="nonzero")
    display.scoring(str(images), len(files))
    for file, mask, path in zip(files, masks, outputs, strict=True):
        case = Case(id=stem(file), image=file, foreground=mask)
        try:
            alone = _prepared(task, case, rules, config)
        except DataError as error:
            hint = f"; it was read as an image of {rules.name}, --like reads it as one of another domain"
            of_rules = any(rule in str(error) for rule in ("intensity", "foregrounds"))
            raise DataError(f"{error}{hint if of_rules else ''}") from None
        if probabilities:
            labels, maps = predictor.native_probabilities(alone, case.id)
            name = f"{case.id}{'.npz' if ndim == 2 else '.nii.gz'}"
            write_probabilities(maps, len(task.classes), case, rules, output / PROBABILITIES / name)
        else:
            [(_, labels)] = predictor.native_labels(alone, [case.id])
        write_prediction(labels, case, rules, path)
        display.scored()
    return outputs


def _masks_of(images: list[Path], place: Path, ndim: int) -> list[Path]:
    """Return the mask of each image: the file itself, or the one of the image's name in a folder."""
    if place.is_file():
        if len(images) > 1:
            raise UsageError(f"{place} is the mask of one image, and there are {len(images)}: give a folder of masks")
        return [place]
    masks = {stem(path): path for path in find_images(place, ndim)}
    for image in images:
        if stem(image) not in masks:
            raise UsageError(
                f"{place} has no mask that is called {stem(image)}, as {image} is: name masks as their images"
            )
    return [masks[stem(image)] for image in images]


def find_images(place: Path, ndim: int) -> list[Path]:
    """Return the image at a path, or the sorted ones in a folder; refuse names that would collide."""
    suffixes = SUFFIXES[ndim]
    if place.is_file():
        return [place]
    files = sorted(p for p in place.iterdir() if p.name.lower().endswith(suffixes) and p.is_file() and not is_junk(p))
    if not files:
        raise UsageError(f"no image in {place}: a {ndim}D task takes files that end in {', '.join(suffixes)}")
    name, count = Counter(stem(file) for file in files).most_common(1)[0]
    if count > 1:
        raise UsageError(f"{place} has several images called {name!r}: their predictions would overwrite each other")
    return files


def _prepared(task: Task, case: Case, domain: Domain, config: PreprocessConfig) -> PreparedDomain:
    prepared = prepare_case(case, domain, task, config, with_label=False)
    # One case is one image, or all slices of one volume.
    arrays = (prepared.image, prepared.foreground)
    image, foreground = arrays if prepared.slices else (array[None] for array in arrays)
    return PreparedDomain(
        name=domain.name,
        ids=(case.id,),
        strata=(case.stratum,),
        image=image,
        label=None,
        foreground=foreground,
        geometries=(prepared.geometry,),
        digest="",
        depths=(prepared.slices,) if prepared.slices else (),
        slice_axis=domain.slices.axis if domain.slices else None,
    )
