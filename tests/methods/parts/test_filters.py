"""Random convolutions: the kernels' law and the filtering itself."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ssdg.methods.parts.filters import choose, convolve, random_convolution, random_kernel


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_kernel_entries_have_variance_one_over_fan_in(size, ndim):
    generator = rng()
    draws = max(1, 40_000 // (9 * size**ndim))
    entries = torch.cat([random_kernel(3, size, ndim, generator).flatten() for _ in range(draws)])
    assert (entries.std() * np.sqrt(3 * size**ndim)).item() == pytest.approx(1, abs=0.02)
    assert entries.mean().abs() * np.sqrt(3 * size**ndim) < 0.02


def test_choice_is_uniform():
    generator = rng()
    picks = [choose((1, 3, 5, 7), generator) for _ in range(2000)]
    assert {size: picks.count(size) for size in (1, 3, 5, 7)} == pytest.approx(
        dict.fromkeys((1, 3, 5, 7), 500), abs=70
    )


@pytest.mark.parametrize("sides", [(9, 12), (5, 6, 7)])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_filtering_is_zero_padded_correlation(size, sides):
    image = torch.rand((1, 2, *sides), generator=rng())
    kernel = random_kernel(2, size, len(sides), rng(1))
    expected = [
        sum(ndimage.correlate(image[0, i].numpy(), kernel[o, i].numpy(), mode="constant") for i in range(2))
        for o in range(2)
    ]
    assert np.allclose(convolve(image, kernel)[0].numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 3, 17, 12), (2, 1, 9, 8, 11)])
def test_filter_is_linear_shared_by_the_batch_and_keeps_the_shape(shape, size):
    image = torch.rand(shape, generator=rng())
    image[1] = image[0]
    out = random_convolution(image, size, rng(2))
    assert out.shape == image.shape
    assert out.dtype == torch.float32
    assert torch.equal(out[0], out[1])
    assert torch.allclose(random_convolution(-3 * image, size, rng(2)), -3 * out, atol=1e-5)
    assert torch.count_nonzero(random_convolution(torch.zeros(shape), size, rng(2))) == 0


def test_filter_does_not_depend_on_the_runs_precision():
    image = torch.rand((1, 3, 12, 12), generator=rng())
    plain = random_convolution(image, 5, rng(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(random_convolution(image, 5, rng(2)), plain)
