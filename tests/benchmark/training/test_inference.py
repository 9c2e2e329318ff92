"""Prediction in windows: of any size, and the same as of whole images where the network looks at single voxels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ssdg.benchmark.training.inference import Inference
from ssdg.methods.base import Method


class Pointwise(Method):
    """Classifies every voxel by its own normalised value; notes the sizes it sees."""

    def __init__(self):
        super().__init__(nn.Identity())
        self.sizes = []

    def logits(self, prepared, foreground):
        self.sizes.append(tuple(prepared.shape))
        assert foreground.dtype == torch.bool
        return torch.cat([prepared.sum(dim=1, keepdim=True), foreground.float()], dim=1)


def images(*shape):
    image = torch.rand((2, 3, *shape), generator=torch.Generator().manual_seed(0))
    foreground = image[:, :1] > 0.2
    return image, foreground


@pytest.mark.parametrize("shape", [(48, 40), (33, 57), (20, 24, 17)])
def test_windows_see_the_normalisation_of_the_whole_image(shape):
    method, (image, foreground) = Pointwise(), images(*shape)
    window = (16,) * len(shape)
    whole = Inference("fp32").logits(method, image, foreground)
    seen = method.sizes.pop()
    logits = Inference("fp32", window, 0.5).logits(method, image, foreground)
    assert seen[2:] == shape
    assert {size[2:] for size in method.sizes} == {window}
    assert torch.allclose(logits, whole, atol=1e-5)


def test_an_image_smaller_than_the_window_is_filled_up_and_cut_again():
    method, (image, foreground) = Pointwise(), images(10, 40)
    logits = Inference("fp32", (16, 16)).logits(method, image, foreground)
    assert logits.shape == (2, 2, 10, 40)
    whole = Inference("fp32").logits(method, image, foreground)
    assert torch.allclose(logits, whole, atol=1e-5)  # what fills it up is no foreground, and moves no statistics


def test_what_fills_an_image_up_is_black_as_in_training():
    class Darkest(Pointwise):
        def logits(self, prepared, foreground):
            self.corner = prepared[0, :, -1, -1]
            return super().logits(prepared, foreground)

    method, (image, foreground) = Darkest(), images(10, 10)
    Inference("fp32", (16, 16)).logits(method, image, foreground)
    black = method.prepare(F.pad(image, (0, 1)), F.pad(foreground, (0, 1)))[0, :, 0, -1]
    assert torch.allclose(method.corner, black, atol=1e-6)


def test_an_image_of_the_size_of_the_window_is_predicted_at_once():
    method, (image, foreground) = Pointwise(), images(16, 16)
    Inference("fp32", (16, 16)).logits(method, image, foreground)
    assert method.sizes == [(2, 3, 16, 16)]


def test_more_overlap_more_windows():
    method, (image, foreground) = Pointwise(), images(64, 64)
    counts = []
    for overlap in (0.0, 0.25, 0.5):
        method.sizes.clear()
        Inference("fp32", (16, 16), overlap).logits(method, image[:1], foreground[:1])
        counts.append(sum(size[0] for size in method.sizes))
    assert counts == [16, 25, 49]
