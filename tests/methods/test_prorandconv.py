"""Pro-RandConv: the block, its repetition, and the laws of what it draws."""

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods import prorandconv
from ssdg.methods.prorandconv import ProRandConv, ProRandConvConfig, block, fade

SIDES = [(12, 10), (6, 7, 5)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def render(image, seed, **settings):
    return ProRandConv(torch.nn.Identity(), ProRandConvConfig(**settings)).render(image, torch.zeros(0), rng(seed))


@pytest.fixture
def blocks(monkeypatch):
    """Record (image, kernel, displacement, contrast) of each application of a block."""
    seen = []

    def spy(*arguments):
        seen.append(arguments)
        return block(*arguments)

    monkeypatch.setattr(prorandconv, "block", spy)
    return seen


def standardised(x):
    axes = tuple(range(2, x.ndim))
    return (x - x.mean(axes, keepdim=True)) / x.std(axes, correction=0, keepdim=True)


@pytest.mark.parametrize("sides", SIDES)
def test_without_displacements_it_is_plain_convolutions_stacked(sides, blocks):
    image = torch.randn((2, 2, *sides), generator=rng())
    result = render(image, 1, displacement=0.0)
    assert len(blocks) > 2
    convolution = {2: F.conv2d, 3: F.conv3d}[len(sides)]
    expected = image
    for _, kernel, displacement, (scale, offset) in blocks:
        assert not displacement.any()
        expected = torch.tanh(scale * standardised(convolution(expected, kernel, padding=1)) + offset)
    assert torch.allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("sides", SIDES)
def test_one_block_is_repeated_a_uniform_number_of_times(sides, blocks):
    image, counts = torch.randn((1, 1, *sides), generator=rng()), []
    for seed in range(30):
        blocks.clear()
        render(image, seed, repetitions=3)
        counts.append(len(blocks))
        assert all(a is b for one in blocks for a, b in zip(one[1:3], blocks[0][1:3], strict=True))
        assert all(torch.equal(one[3], blocks[0][3]) for one in blocks)
        assert torch.equal(blocks[0][0], image)
    assert set(counts) == {1, 2, 3}


def test_outputs_lie_within_tanh_and_have_the_contrast_drawn():
    image, kernel = torch.randn((2, 2, 12, 10), generator=rng()), torch.randn((2, 2, 3, 3), generator=rng(1))
    still = torch.zeros((9, 2, 12, 10))
    contrast = torch.tensor([[0.5, -0.2], [0.1, 0.0]]).view(2, 2, 1, 1)
    before_tanh = block(image, kernel, still, contrast).atanh()
    means = before_tanh.mean(dim=(2, 3))
    assert torch.allclose(means, torch.tensor([[0.1, 0.0]]).expand(2, 2), atol=1e-4)
    assert torch.allclose(before_tanh.std(dim=(2, 3), correction=0), torch.tensor([0.5, 0.2]).expand(2, 2), atol=1e-4)


def test_a_block_does_not_depend_on_the_scale_of_image_or_kernel():
    image, kernel = torch.randn((1, 1, 12, 10), generator=rng()), torch.randn((1, 1, 3, 3), generator=rng(1))
    still, contrast = torch.zeros((9, 2, 12, 10)), torch.tensor([[0.5], [0.1]]).view(2, 1, 1, 1)
    assert torch.allclose(
        block(5 * image, 3 * kernel, still, contrast), block(image, kernel, still, contrast), atol=1e-4
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_kernels_fade_as_a_gaussian_of_the_distance(ndim):
    faded = fade(torch.ones((1, 1, *[3] * ndim)), torch.tensor(0.8))[0, 0]
    for index in torch.cartesian_prod(*[torch.arange(3)] * ndim):
        distance = (index - 1).square().sum()
        assert faded[tuple(index)].item() == pytest.approx(torch.exp(-distance / (2 * 0.8**2)).item(), rel=1e-5)


def test_laws_of_kernels_displacements_and_contrast(blocks):
    image, spreads, contrasts, corners = torch.randn((1, 1, 8, 8), generator=rng()), [], [], []
    for seed in range(200):
        blocks.clear()
        render(image, seed, repetitions=1)
        [(_, kernel, displacement, contrast)] = blocks
        assert displacement.shape == (9, 2, 8, 8)
        spreads.append(displacement.square().mean().sqrt())
        contrasts.append(contrast.flatten())
        corners.append(kernel[0, 0, ::2, ::2].square().mean() / (kernel[0, 0, 1, 1].square() + 1e-9))
    spread, contrast = torch.stack(spreads), torch.cat(contrasts)
    assert spread.mean().item() == pytest.approx(0.25, abs=0.05)  # uniform up to ½, times fields of deviation 1
    assert spread.max() < 0.9
    assert contrast.std().item() == pytest.approx(0.5, rel=0.1)
    assert abs(contrast.mean()) < 0.08
    assert torch.stack(corners).median() < 0.3  # corners fade, the middle does not


def test_without_smoothing_kernels_do_not_fade(blocks):
    image, energy = torch.randn((1, 1, 6, 6), generator=rng()), torch.zeros(3, 3)
    for seed in range(200):
        blocks.clear()
        render(image, seed, repetitions=1, smoothing=0.0)
        energy += blocks[0][1][0, 0].square() / 200
    assert energy.min() > 0.6 / 9
    assert energy.max() < 1.6 / 9


@pytest.mark.parametrize(
    ("name", "value"), [("repetitions", 0), ("kernel_size", 2), ("displacement", -0.1), ("contrast", -1.0)]
)
def test_impossible_settings_are_errors_that_name_the_field(name, value):
    with pytest.raises(ValueError, match=f"method.{name}"):
        ProRandConvConfig(**{name: value})
