"""Metrics from counts: against brute force, and what an absent or missed class scores; the list of metrics."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdg.benchmark.scoring.metrics import DSC, METRICS, Metric
from ssdg.benchmark.scoring.overlap import apply_empty_rule

FROM_COUNTS = {name: metric for name, metric in METRICS.items() if metric.source == "counts"}
PRECISION, VOLUME_SIMILARITY, SENSITIVITY = (
    METRICS[name] for name in ("precision", "volume-similarity", "sensitivity")
)

pixels = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20)


@given(pixels)
def test_metrics_equal_what_sets_of_pixels_say(image):
    """Whatever is counted, by the sizes of the sets and not by tp, fp and fn."""
    predicted = {index for index, (one, _) in enumerate(image) if one}
    true = {index for index, (_, one) in enumerate(image) if one}
    if not true:
        return
    counts = len(predicted & true), len(predicted - true), len(true - predicted)
    found = {name: float(metric.of_counts(*counts, "zero-fp")) for name, metric in FROM_COUNTS.items()}
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


@pytest.mark.parametrize("metric", [PRECISION, VOLUME_SIMILARITY], ids=lambda metric: metric.name)
@pytest.mark.parametrize(
    ("rule", "expected"), [("skip", [np.nan, np.nan]), ("one", [1.0, 0.0]), ("zero-fp", [np.nan, 0.0])]
)
def test_absent_classes_follow_the_rule_of_dice(metric, rule, expected):
    found = metric.of_counts(*np.transpose([BOTH_LACK, FALSE_ALARM, MISS]), rule)
    np.testing.assert_array_equal(found, [*expected, 0.0])


def test_sensitivity_knows_no_absent_classes():
    np.testing.assert_array_equal(
        SENSITIVITY.of_counts(*np.transpose([BOTH_LACK, FALSE_ALARM, MISS]), "one"), [np.nan, np.nan, 0]
    )


def test_sizes_are_compared_and_places_are_not():
    assert VOLUME_SIMILARITY.of_counts(0, 5, 5) == 1.0
    assert VOLUME_SIMILARITY.of_counts(5, 10, 0) == pytest.approx(0.5)  # 15 voxels for 5


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="no rule 'zero'"):
        apply_empty_rule(np.ones(1), [1], [0], [0], "zero")


def test_every_metric_can_be_computed_and_says_what_it_is():
    assert next(iter(METRICS.values())) is DSC
    assert {name: metric.name for name, metric in METRICS.items()} == {name: name for name in METRICS}
    assert [name for name in METRICS if name not in FROM_COUNTS] == ["cldice", "nsd", "hd95"]
    square = np.pad(np.ones((3, 3), dtype=bool), 1)
    for name in ("cldice", "nsd"):
        assert METRICS[name].of_masks(square, square, (1.0, 1.0)) == 1.0
    assert [METRICS["hd95"].unit_in(ndim) for ndim in (2, 3)] == ["px", "mm"]
    assert [METRICS["nsd"].unit_in(ndim) for ndim in (2, 3)] == ["%", "%"]
    assert (METRICS["hd95"].scale, DSC.scale) == (1.0, 100.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "My metric", "from_counts": max}, "use small letters, digits and hyphens"),
        ({"name": "mine"}, "needs from_counts or from_masks, and not both"),
        ({"name": "mine", "from_counts": max, "from_masks": max}, "needs from_counts or from_masks, and not both"),
        ({"name": "mine", "from_masks": max, "better": "lower"}, "a missed class would score 0, the best"),
    ],
)
def test_a_metric_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Metric(short="", label="", definition="", **fields)


def test_listing_them_loads_nothing_heavy():
    code = "import ssdg.benchmark.scoring.metrics, sys\nassert not {'numpy', 'scipy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
