"""Measures from counts: against brute force, and what an absent or missed class scores; the list of measures."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdg.benchmark.scoring.metrics import DSC, MEASURES
from ssdg.benchmark.scoring.overlap import FROM_COUNTS, apply_empty_rule, precision, sensitivity, volume_similarity
from ssdg.benchmark.scoring.shapes import MEASURED

pixels = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20)


@given(pixels)
def test_measures_equal_what_sets_of_pixels_say(image):
    """Whatever is counted, by the sizes of the sets and not by tp, fp and fn."""
    predicted = {index for index, (one, _) in enumerate(image) if one}
    true = {index for index, (_, one) in enumerate(image) if one}
    if not true:
        return
    counts = len(predicted & true), len(predicted - true), len(true - predicted)
    found = {name: float(measure(*counts, "zero-fp")) for name, measure in FROM_COUNTS.items()}
    size = len(predicted) + len(true)
    assert found == pytest.approx(
        {
            "dsc": 2 * len(predicted & true) / size,
            "sensitivity": len(predicted & true) / len(true),
            "precision": len(predicted & true) / len(predicted) if predicted else 0.0,
            "volume-similarity": 1 - abs(len(predicted) - len(true)) / size,
        }
    )


# tp, fp, fn: the label lacks the class, and so does the prediction or not; only the prediction lacks it.
BOTH_LACK, FALSE_ALARM, MISS = (0, 0, 0), (0, 7, 0), (0, 0, 7)


@pytest.mark.parametrize("measure", [precision, volume_similarity], ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("rule", "expected"), [("skip", [np.nan, np.nan]), ("one", [1.0, 0.0]), ("zero-fp", [np.nan, 0.0])]
)
def test_absent_classes_follow_the_rule_of_dice(measure, rule, expected):
    found = measure(*np.transpose([BOTH_LACK, FALSE_ALARM, MISS]), rule)
    np.testing.assert_array_equal(found, [*expected, 0.0])


def test_sensitivity_knows_no_absent_classes():
    np.testing.assert_array_equal(
        sensitivity(*np.transpose([BOTH_LACK, FALSE_ALARM, MISS])[[0, 2]]), [np.nan, np.nan, 0]
    )


def test_sizes_are_compared_and_places_are_not():
    assert volume_similarity(0, 5, 5) == 1.0
    assert volume_similarity(5, 10, 0) == pytest.approx(0.5)  # 15 voxels for 5


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="no rule 'zero'"):
        apply_empty_rule(np.ones(1), [1], [0], [0], "zero")


def test_every_measure_can_be_computed_and_says_what_it_is():
    assert next(iter(MEASURES.values())) is DSC
    assert {name: measure.name for name, measure in MEASURES.items()} == {name: name for name in MEASURES}
    by_source = {
        source: {name for name, measure in MEASURES.items() if measure.source == source}
        for source in ("counts", "shapes")
    }
    assert by_source == {"counts": set(FROM_COUNTS), "shapes": set(MEASURED)}
    assert [MEASURES["hd95"].unit_in(ndim) for ndim in (2, 3)] == ["px", "mm"]
    assert [MEASURES["nsd"].unit_in(ndim) for ndim in (2, 3)] == ["%", "%"]
    assert (MEASURES["hd95"].scale, DSC.scale) == (1.0, 100.0)


def test_listing_them_loads_nothing_heavy():
    code = "import ssdg.benchmark.scoring.metrics, sys\nassert not {'numpy', 'scipy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
