"""RASS' mathematics: the frequency grid, the noise's exact law, and where its randomness comes from."""

import itertools
import math

import numpy as np
import pytest
import torch

from ssdg.methods.parts.spectrum import amplitude_deviation, mix_amplitudes, radius, randomise_amplitude

PAPER = (3.0, 0.25, 2.0)
GRIDS = [(8, 6), (7, 5), (6, 7), (4, 6, 4), (5, 4, 3)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signed(index: int, side: int) -> int:
    return index if 2 * index <= side else index - side


@pytest.mark.parametrize("shape", GRIDS)
def test_radius_is_the_distance_from_the_zero_frequency_over_that_of_the_corner(shape):
    found = radius(shape)
    assert found.shape == (*shape[:-1], shape[-1] // 2 + 1)
    for index in itertools.product(*map(range, found.shape)):
        distance = math.sqrt(sum(signed(i, n) ** 2 for i, n in zip(index, shape, strict=True)))
        assert found[index] == pytest.approx(distance / math.sqrt(sum((n / 2) ** 2 for n in shape)), abs=1e-6)


@pytest.mark.parametrize("shape", [(512, 512), (144, 144, 144)])
def test_deviation_of_the_paper_runs_from_a_quarter_to_nine_and_a_quarter(shape):
    deviation = amplitude_deviation(shape, *PAPER)
    corner = tuple(side // 2 for side in shape)
    assert deviation[(0,) * len(shape)] == pytest.approx(0.25)
    assert deviation[corner] == pytest.approx(9.25, abs=1e-5)
    assert deviation.max() == deviation[corner]


def test_deviation_agrees_with_pastas_grid_up_to_its_doubled_zero():
    side = 512
    half = np.arange(side // 2)
    axis = np.concatenate([-half[::-1], half])  # zero twice, no Nyquist: as its code builds it
    distance = np.sqrt(axis[:, None] ** 2 + axis[None] ** 2)
    theirs = np.fft.fftshift((3 * distance / distance.max()) ** 2 + 0.25)
    ours = amplitude_deviation((side, side), *PAPER).numpy()
    # Their grid has no Nyquist row: compare all rows and the columns both have.
    assert np.abs(theirs[:, : side // 2] - ours[:, : side // 2]).max() < 0.1


@pytest.mark.parametrize("shape", GRIDS)
def test_no_noise_is_the_identity(shape):
    image = torch.rand((2, 3, *shape), generator=rng())
    assert torch.allclose(randomise_amplitude(image, 0.0, 0.0, 1.0, rng()), image, atol=1e-5)


def multipliers(shape, draws):
    """Spectrum after over spectrum before, (draws, *shape), of one image under independent noise."""
    image = torch.rand((1, 1, *shape), generator=rng(3))
    axes = tuple(range(2, 2 + len(shape)))
    before = torch.fft.fftn(image.double(), dim=axes)
    noisy = randomise_amplitude(image.expand(draws, 1, *shape), *PAPER, rng(4))
    return (torch.fft.fftn(noisy.double(), dim=axes) / before)[:, 0]


def full_deviation(shape):
    """σ of every bin of the full spectrum, written out."""
    grids = np.meshgrid(*[[signed(i, n) for i in range(n)] for n in shape], indexing="ij")
    distance = np.sqrt(sum(g.astype(float) ** 2 for g in grids) / sum(n**2 for n in shape))
    return torch.from_numpy((2 * 3.0 * distance) ** 2 + 0.25)


@pytest.mark.parametrize("shape", GRIDS)
def test_law_is_that_of_the_real_part_under_independent_noise_on_all_bins(shape):
    """Multipliers are real, mean 1, equal at k and -k; variance σ²/2, σ² where k = -k; otherwise uncorrelated."""
    ratio = multipliers(shape, draws=12_000)
    assert ratio.imag.abs().max() < 1e-3
    ratio, deviation = ratio.real, full_deviation(shape)
    axes = tuple(range(1, 1 + len(shape)))
    mirrored = ratio.flip(axes).roll([1] * len(axes), axes)
    assert torch.allclose(ratio, mirrored, atol=1e-3)
    index = torch.arange(deviation.numel()).view(shape)
    partner = index.flip(tuple(range(len(shape)))).roll([1] * len(shape), tuple(range(len(shape))))
    expected = torch.where(index == partner, 1.0, 0.5)
    assert torch.allclose(ratio.var(0) / deviation.square(), expected.double(), rtol=0.08)
    assert ((ratio.mean(0) - 1).abs() / deviation < 0.05).all()
    alone = (index <= partner).flatten()
    correlation = torch.corrcoef(ratio.flatten(1)[:, alone].T)
    assert (correlation - torch.eye(len(correlation))).abs().max() < 0.06


def test_samples_and_channels_get_noise_of_their_own():
    image = torch.rand((1, 1, 16, 16), generator=rng()).expand(2, 2, 16, 16)
    noisy = randomise_amplitude(image, *PAPER, rng()).flatten(0, 1)
    for first, second in itertools.combinations(noisy, 2):
        assert not torch.allclose(first, second, atol=1e-2)


def test_randomness_is_the_generators_alone():
    image = torch.rand((1, 1, 8, 8, 8), generator=rng())
    before = torch.get_rng_state()
    first = randomise_amplitude(image, *PAPER, rng(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, randomise_amplitude(image, *PAPER, rng(5)))
    assert not torch.equal(first, randomise_amplitude(image, *PAPER, rng(6)))


def test_spectra_are_computed_in_float32_whatever_the_runs_precision():
    image = torch.rand((1, 3, 16, 16), generator=rng())
    plain = randomise_amplitude(image, *PAPER, rng())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(randomise_amplitude(image, *PAPER, rng()), plain)
        assert randomise_amplitude(image.bfloat16(), *PAPER, rng()).dtype == torch.float32


def test_a_first_use_in_inference_mode_does_not_spoil_training():
    shape = (10, 14)  # a shape no other test uses: the deviation is not kept yet
    with torch.inference_mode():
        randomise_amplitude(torch.rand(1, 1, *shape), *PAPER, rng())
    image = torch.rand((1, 1, *shape), generator=rng(), requires_grad=True)
    randomise_amplitude(image, *PAPER, rng()).square().sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("shape", GRIDS)
def test_mixing_gives_the_amplitudes_asked_for_and_keeps_the_phases(shape):
    image, partner = (torch.rand((2, 3, *shape), generator=rng(seed)) for seed in (0, 1))
    share = torch.tensor([0.3, 1.0]).view(2, 1, *[1] * len(shape))
    axes = tuple(range(2, 2 + len(shape)))
    before, other, after = (
        np.fft.fftn(x.double().numpy(), axes=axes) for x in (image, partner, mix_amplitudes(image, partner, share))
    )
    weight = share.numpy()
    assert np.allclose(np.abs(after), (1 - weight) * np.abs(before) + weight * np.abs(other), atol=1e-4)
    assert np.allclose(after / np.abs(after), before / np.abs(before), atol=1e-3)


@pytest.mark.parametrize("shape", GRIDS)
def test_a_share_or_a_corner_of_zero_is_the_identity_and_so_is_the_image_itself_as_partner(shape):
    image, partner = (torch.rand((2, 3, *shape), generator=rng(seed)) for seed in (0, 1))
    ones = torch.ones((2, 1, *[1] * len(shape)))
    for same in (
        mix_amplitudes(image, partner, 0 * ones),
        mix_amplitudes(image, partner, ones, corner=0),
        mix_amplitudes(image, image, ones),
    ):
        assert torch.allclose(same, image, atol=1e-5)


@pytest.mark.parametrize("shape", GRIDS)
def test_a_corner_swaps_the_low_frequencies_alone(shape):
    image, partner = (torch.rand((1, 1, *shape), generator=rng(seed)) for seed in (0, 1))
    swapped = mix_amplitudes(image, partner, torch.ones((1, 1, *[1] * len(shape))), corner=2)
    before, other, after = (np.abs(np.fft.fftn(x[0, 0].double().numpy())) for x in (image, partner, swapped))
    for index in np.ndindex(*shape):
        low = all(abs(signed(i, n)) < 2 for i, n in zip(index, shape, strict=True))
        assert after[index] == pytest.approx((other if low else before)[index], abs=1e-4)


def test_frequencies_that_an_image_lacks_stay_absent():
    black, partner = torch.zeros((1, 1, 8, 8)), torch.rand((1, 1, 8, 8), generator=rng())
    assert torch.equal(mix_amplitudes(black, partner, torch.ones((1, 1, 1, 1))), black)
