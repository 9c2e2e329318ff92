"""Blur and sharpening: against scipy, their fixed points, and one magnitude an image."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ssdg.methods.transforms.blur import blur, blur_by_shifts, replicated, sharpen

SHAPES = {2: (2, 3, 20, 17), 3: (2, 1, 12, 9, 10)}


def images(ndim):
    return torch.randn(SHAPES[ndim], generator=torch.Generator().manual_seed(0))


def reference(image, sigma, radius):
    axes = tuple(range(1, image.ndim))
    return gaussian_filter(image.double().numpy(), sigma, mode="nearest", radius=radius, axes=axes)


@pytest.mark.parametrize("ndim", [2, 3])
def test_blur_is_a_gaussian_filter_with_replicated_borders(ndim):
    image, sigma = images(ndim), torch.tensor([0.4, 1.5])
    out = blur_by_shifts(image, sigma, widest=1.5)
    for sample, filtered, width in zip(image, out, sigma, strict=True):
        np.testing.assert_allclose(filtered, reference(sample, float(width), 6), atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_sharpening_adds_the_detail_of_the_first_blur(ndim):
    image, strength = images(ndim), torch.tensor([12.0, 29.0])
    first, second = torch.tensor([0.6, 1.0]), torch.tensor([0.5, 0.8])
    out = sharpen(image, strength, first, second, widest=1.0)
    for i, sample in enumerate(image):
        smooth = reference(sample, float(first[i]), 4)
        detail = smooth - gaussian_filter(
            smooth, float(second[i]), mode="nearest", radius=4, axes=tuple(range(1, sample.ndim))
        )
        np.testing.assert_allclose(out[i], smooth + float(strength[i]) * detail, atol=1e-4)


def test_sharpening_of_strength_zero_is_the_blur():
    image, sigma = images(2), torch.tensor([0.5, 0.9])
    assert torch.equal(sharpen(image, torch.zeros(2), sigma, sigma, 1.0), blur_by_shifts(image, sigma, 1.0))


def test_a_constant_image_stays_constant():
    image, sigma = torch.full((2, 1, 9, 9, 9), 0.7), torch.tensor([0.5, 1.0])
    torch.testing.assert_close(blur_by_shifts(image, sigma, 1.0), image)
    torch.testing.assert_close(sharpen(image, torch.full((2,), 30.0), sigma, sigma, 1.0), image, atol=1e-4, rtol=0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_matrices_and_shifts_are_one_filter(ndim):
    image = images(ndim)
    matrices = [replicated(side, ((9, 0.9),), image.device) for side in image.shape[2:]]
    out = blur(image.flatten(0, 1).unsqueeze(0), matrices).view(image.shape)
    torch.testing.assert_close(out, blur_by_shifts(image, torch.full((2,), 0.9), 1.0), atol=1e-5, rtol=0)
