import importlib.util
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssdg.benchmark.scoring.metrics import DSC
from ssdg.benchmark.scoring.overlap import count

FIELDS = ("tp", "fp", "fn", "tp_outside", "fp_outside", "fn_outside")
CLASSES = 3

dice = DSC.of_counts


def brute_force(prediction, label, classes, foreground):
    rows = {field: [0] * classes for field in FIELDS}
    for predicted, true, inside in zip(prediction.flat, label.flat, foreground.flat, strict=True):
        where = "" if inside else "_outside"
        for index in range(classes):
            if predicted == index and true == index:
                rows["tp" + where][index] += 1
            elif predicted == index:
                rows["fp" + where][index] += 1
            elif true == index:
                rows["fn" + where][index] += 1
    return rows


def as_lists(counts):
    return dict(zip(FIELDS, counts.tolist(), strict=True))


shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5)


@st.composite
def cases(draw):
    shape = draw(shapes)
    maps = hnp.arrays(np.uint8, shape, elements=st.integers(0, CLASSES - 1))
    return draw(maps), draw(maps), draw(hnp.arrays(bool, shape))


@given(cases())
def test_counts_equal_brute_force(case):
    prediction, label, foreground = case
    assert as_lists(count(prediction, label, CLASSES, foreground)) == brute_force(
        prediction, label, CLASSES, foreground
    )


@given(cases())
def test_inside_and_outside_add_up_to_the_whole_image(case):
    prediction, label, foreground = case
    split, whole = count(prediction, label, CLASSES, foreground), count(prediction, label, CLASSES)
    np.testing.assert_array_equal(split[:3] + split[3:], whole[:3])
    assert not whole[3:].any()
    tp, fp, fn = whole[:3]
    assert (tp + fn).sum() == (tp + fp).sum() == label.size


def square(*where):
    image = np.zeros((6, 7), np.uint8)
    image[where] = 1
    return image


GOLDEN = {
    # prediction, label -> tp, fp, fn of class 1, and its Dice under skip, one, zero-fp
    "both empty": (square(slice(0, 0)), square(slice(0, 0)), (0, 0, 0), (np.nan, 1.0, np.nan)),
    "label empty": (square(slice(1, 3), 2), square(slice(0, 0)), (0, 2, 0), (np.nan, 0.0, 0.0)),
    "prediction empty": (square(slice(0, 0)), square(slice(1, 4), 2), (0, 0, 3), (0.0, 0.0, 0.0)),
    "one voxel": (square(3, 3), square(3, 3), (1, 0, 0), (1.0, 1.0, 1.0)),
    "disjoint": (square(0, 0), square(5, 6), (0, 1, 1), (0.0, 0.0, 0.0)),
    "touching the border": (square(slice(4, 6), slice(5, 7)), square(5, slice(5, 7)), (2, 2, 0), (2 / 3,) * 3),
    "everything": (square(slice(None)), square(slice(0, 3)), (21, 21, 0), (2 / 3,) * 3),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors(name):
    prediction, label, expected, scores = GOLDEN[name]
    counts = count(prediction, label, 2)
    numbers = tuple(counts[:3, 1].tolist())
    assert numbers == expected
    for rule, score in zip(("skip", "one", "zero-fp"), scores, strict=True):
        np.testing.assert_allclose(dice(*numbers, empty=rule), score)


@pytest.mark.parametrize("seed", range(4))
def test_dice_equals_monai_where_the_label_has_the_class(seed):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own, at import
        from monai.metrics import compute_dice
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (9, 11, 5), dtype=np.uint8)  # class 4 is absent: MONAI's default is NaN, as "skip"
    prediction = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 5, label.shape, dtype=np.uint8))
    counts = count(prediction, label, 5)
    hot = [torch.from_numpy(np.eye(5, dtype=np.float32)[m]).movedim(-1, 0)[None] for m in (prediction, label)]
    expected = compute_dice(*hot, include_background=True)[0].numpy()
    assert np.isnan(expected[4])
    np.testing.assert_allclose(dice(*counts[:3], "skip"), expected, rtol=1e-6)


def test_dice_is_vectorised_over_cases_and_classes():
    tp, fp, fn = np.array([[0, 3], [2, 0]]), np.array([[0, 1], [0, 5]]), np.array([[0, 1], [2, 0]])
    np.testing.assert_allclose(dice(tp, fp, fn), [[np.nan, 0.75], [2 / 3, 0.0]])
    np.testing.assert_allclose(dice(tp, fp, fn, "one"), [[1.0, 0.75], [2 / 3, 0.0]])
    np.testing.assert_allclose(dice(tp, fp, fn, "skip"), [[np.nan, 0.75], [2 / 3, np.nan]])


def test_dice_keeps_large_counts_exact():
    assert dice(2**40, 1, 0) == 2 * 2**40 / (2 * 2**40 + 1)


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="no rule 'zero'"):
        dice(1, 1, 1, empty="zero")


@pytest.mark.parametrize("which", ["prediction", "label"])
def test_values_outside_the_classes_are_refused(which):
    # A mask saved as 0 / 255 must not turn into an empty label.
    maps = {"prediction": square(2, 2), "label": square(2, 2)}
    maps[which] = maps[which] * np.uint8(255)
    with pytest.raises(ValueError, match=rf"{which} has values outside the 2 classes 0\.\.1: \[255\]"):
        count(maps["prediction"], maps["label"], 2)


def test_negative_and_fractional_labels_are_refused():
    with pytest.raises(ValueError, match=r"\[-1\]"):
        count(square(0, 0), square(0, 0).astype(np.int64) - 1, 2)
    with pytest.raises(ValueError, match="float32, not class indices"):
        count(square(0, 0), square(0, 0).astype(np.float32), 2)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="different shapes"):
        count(square(0, 0), square(0, 0).T, 2)
    with pytest.raises(ValueError, match="different shapes"):
        count(square(0, 0), square(0, 0), 2, np.ones((7, 6), bool))


@pytest.mark.parametrize("classes", [2, 181, 182, 256])  # the last two need more than 16 bits a voxel
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_the_highest_class_is_counted_right(classes, kind):
    label = np.array([[classes - 1, classes - 1, 0]], kind)
    prediction = np.array([[classes - 1, 0, classes - 1]], kind)
    counts = count(prediction, label, classes, np.array([[True, False, False]]))
    assert counts[:, -1].tolist() == [1, 0, 0, 0, 1, 1]
    assert counts.dtype == np.int64


def test_inputs_are_not_modified():
    prediction, label, foreground = square(1, 1), square(2, 2), square(slice(0, 3)).astype(bool)
    copies = [array.copy() for array in (prediction, label, foreground)]
    count(prediction, label, 2, foreground)
    for array, copy in zip((prediction, label, foreground), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_importing_it_loads_neither_torch_nor_pandas():
    heavy = ("torch", "monai", "pandas")
    assert all(importlib.util.find_spec(name) for name in heavy)
    code = f"import sys, ssdg.benchmark.scoring.overlap; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@given(
    hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 3)), hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 3))
)
def test_a_region_counts_as_the_union_of_its_classes(prediction, label):
    regions = [(1, 2), (2,), (1, 2, 3)]
    counts = count(prediction, label, 4, label != 3, regions)
    for index, region in enumerate(regions):
        ours, theirs = np.isin(prediction, region).astype(np.uint8), np.isin(label, region).astype(np.uint8)
        assert np.array_equal(counts[:, index], count(ours, theirs, 2, label != 3)[:, 1])
