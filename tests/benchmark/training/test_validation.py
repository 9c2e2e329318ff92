"""Validation DSC on the grid: cases, slices, and classes that a label lacks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ssdg.benchmark.data.loader import Pool
from ssdg.benchmark.training.inference import Inference
from ssdg.benchmark.training.validation import grid_dsc
from ssdg.methods.base import Method

CLASSES = 3


class Told(Method):
    """Predicts label maps in their order."""

    def __init__(self, predictions):
        super().__init__(nn.Identity())
        self.left = predictions

    def predict(self, image, foreground):
        part, self.left = self.left[: len(image)], self.left[len(image) :]
        return F.one_hot(part, CLASSES).movedim(-1, 1).float()


def dsc(labels, predictions, case=None):
    labels, predictions = (torch.tensor(maps) if isinstance(maps, list) else maps for maps in (labels, predictions))
    pool = Pool(
        torch.zeros((len(labels), 1, *labels.shape[1:])).half(),
        labels[:, None].byte(),
        torch.ones((len(labels), 1, *labels.shape[1:]), dtype=torch.bool),
        torch.arange(len(labels)) if case is None else torch.tensor(case),
    )
    return grid_dsc(Told(predictions), pool, 2, Inference("fp32"))


def test_a_class_that_a_label_lacks_is_left_out_unless_predicted():
    both, empty = [[1, 1, 2, 0]], [[0, 0, 0, 0]]
    assert dsc([both], [both]) == 1
    assert dsc([[[1, 1, 0, 0]]], [[[1, 1, 0, 0]]]) == 1
    assert dsc([[[1, 1, 0, 0]]], [[[1, 1, 0, 2]]]) == 0.5, "a false positive of class 2 counts 0"
    assert dsc([both, empty], [both, empty]) == 1, "a case without any class is left out"
    assert dsc([both, empty], [both, [[0, 0, 0, 1]]]) == 0.5
    assert dsc([empty], [empty]) == 0
    # The slices of a volume are one case: a class that one of them lacks is not lacking.
    assert dsc([both, empty], [both, [[0, 0, 0, 1]]], case=[0, 0]) == pytest.approx((0.8 + 1) / 2)


def test_where_every_case_has_every_class_it_is_the_plain_mean_to_the_bit():
    rng = torch.Generator().manual_seed(0)
    labels, predictions = (torch.randint(0, CLASSES, (7, 24, 24), generator=rng) for _ in range(2))
    pairs = [(predictions == c, labels == c) for c in range(1, CLASSES)]
    counts = [[(each & true).sum((1, 2)), each.sum((1, 2)) + true.sum((1, 2))] for each, true in pairs]
    values = torch.stack([2 * both.double() / sizes.double() for both, sizes in counts], dim=1)
    assert dsc(labels, predictions) == float((values.sum(dim=1) / (CLASSES - 1)).mean())
