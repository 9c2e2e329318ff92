import numpy as np
import pytest

from ssdg.benchmark.data.geometry import Geometry
from ssdg.benchmark.data.preprocess import PreparedCase
from ssdg.benchmark.figures.case_sheet import GAP, SIDE, case_sheet
from ssdg.datasets.base import Task

SHAPES = {2: (32, 24), 3: (32, 24, 16)}


def drawn(ndim, classes, labelled=True):
    """Return a task and a case: a grey ground, a foreground box, and one labelled voxel box for each class."""
    shape = SHAPES[ndim]
    box = tuple(slice(4, side - 4) for side in shape)
    foreground, label = np.zeros(shape, bool), np.zeros(shape, np.uint8)
    foreground[box] = True
    for index in range(1, classes):
        label[(slice(8 * index, 8 * index + 8), *(slice(6, side - 6) for side in shape[1:]))] = index
    image = np.full((1, *shape), 100, np.uint8) if ndim == 2 else np.full((1, *shape), 100 / 255, np.float16)
    names = ("background", *(f"class-{index}" for index in range(1, classes)))
    task = Task("drawn", ndim, 1, names, shape, {}, {})
    geometry = Geometry(shape, (0,) * ndim, shape, shape)
    return case_sheet(PreparedCase(image, label if labelled else None, foreground, geometry, (1.0,) * ndim), task)


def colours(picture):
    return {tuple(int(value) for value in colour) for colour in picture.reshape(-1, 3)}


GREY, WHITE = (100, 100, 100), (255, 255, 255)


def test_image_then_label_and_outline():
    sheet = drawn(2, 2)
    width = (sheet.shape[1] - GAP) // 2
    assert (sheet.shape[0], width) == (SIDE, SIDE * 24 // 32)
    assert colours(sheet[:, :width]) == {GREY}
    over = sheet[:, width + GAP :]
    assert len(colours(over) - {GREY, WHITE}) == 1
    scale = SIDE // 32
    assert tuple(over[4 * scale, 4 * scale]) == WHITE  # a corner of the foreground
    assert tuple(over[0, 0]) == GREY
    assert tuple(over[12 * scale, 12 * scale]) not in (GREY, WHITE)


@pytest.mark.parametrize(("labelled", "classes"), [(True, 3), (False, 3)])
def test_three_planes_of_a_volume(labelled, classes):
    sheet = drawn(3, classes, labelled)
    sagittal, coronal, axial_height = SIDE * 16 // 24, SIDE * 16 // 32, SIDE * 24 // 32  # upright: z, or y, upwards
    assert sheet.shape == (sagittal + coronal + axial_height + 2 * GAP, 2 * SIDE + GAP, 3)
    axial = sheet[-axial_height:]
    assert len(colours(axial) - {GREY, WHITE}) == (classes - 1 if labelled else 0)
