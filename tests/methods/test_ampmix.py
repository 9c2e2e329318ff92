"""AmpMix: partners, shares, and the exchange of low frequencies."""

import numpy as np
import pytest
import torch

from ssdg.methods.ampmix import AmpMix, AmpMixConfig
from ssdg.methods.base import Batch
from ssdg.methods.parts.partners import draw_partners
from ssdg.methods.parts.spectrum import mix_amplitudes

SIDES = [(12, 9), (7, 6, 8)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(sides=(12, 9), count=3):
    image = torch.rand((count, 2, *sides), generator=rng()) * 0.4 + 0.3
    ones = torch.ones((count, 1, *sides))
    return Batch(image, ones.long(), ones.bool())


def augmented(batch, seed=5, **settings):
    method = AmpMix(torch.nn.Identity(), AmpMixConfig(**settings))
    return method.augment(batch, rng(seed)).image


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("settings", [{"eta": 0.0}, {"mode": "swap", "beta": 0.0}])
def test_a_share_or_a_band_of_zero_is_the_identity(sides, settings):
    batch = make_batch(sides)
    assert torch.allclose(augmented(batch, **settings), batch.image, atol=1e-5)


@pytest.mark.parametrize("sides", SIDES)
def test_shares_are_each_images_own_and_uniform_up_to_eta(sides):
    batch = make_batch(sides)
    replay = rng(5)
    partner = batch.image[draw_partners(3, replay, "ampmix", each_once=True)]
    share = 0.6 * torch.rand((3, *[1] * (len(sides) + 1)), generator=replay)
    expected = mix_amplitudes(batch.image, partner, share).clamp(0, 1)
    assert torch.allclose(augmented(batch, eta=0.6), expected, atol=1e-6)
    # The zero frequency is the mean: it moves by the share of the way to the partner's.
    before, other, after = (x.double().sum(dim=tuple(range(2, x.ndim))) for x in (batch.image, partner, expected))
    assert expected.min() > 0  # nothing was clipped
    assert expected.max() < 1
    assert torch.allclose(after, before.lerp(other, share.view(3, 1).double()), rtol=1e-4)


def test_swapping_is_fdas_exchange_of_the_low_corner():
    batch = make_batch((20, 24), count=2)
    result = augmented(batch, mode="swap", beta=0.15)
    image, partner = batch.image.double().numpy(), batch.image.flip(0).double().numpy()
    spectrum, other = (np.fft.fftshift(np.fft.fft2(x), axes=(-2, -1)) for x in (image, partner))
    amplitude, low = np.abs(spectrum), np.s_[..., 10 - 2 : 10 + 3, 12 - 2 : 12 + 3]  # ⌊0.15 · 20⌋ = 3: below 3
    amplitude[low] = np.abs(other)[low]
    mixed = np.fft.ifftshift(amplitude * np.exp(1j * np.angle(spectrum)), axes=(-2, -1))
    assert np.allclose(result.numpy(), np.fft.ifft2(mixed).real.clip(0, 1), atol=1e-5)
    assert not torch.allclose(result, batch.image, atol=0.01)


def test_images_stay_in_range_and_labels_and_foreground_as_they_are():
    image = (torch.rand((2, 3, 16, 16), generator=rng()) > 0.5).float()
    batch = Batch(image, torch.ones((2, 1, 16, 16)).long(), torch.ones((2, 1, 16, 16), dtype=torch.bool))
    method = AmpMix(torch.nn.Identity())
    after = method.augment(batch, rng(5))
    assert after.image.min() == 0
    assert after.image.max() == 1
    assert after.label is batch.label
    assert after.foreground is batch.foreground


@pytest.mark.parametrize(("name", "value"), [("eta", 1.5), ("beta", 0.6)])
def test_impossible_settings_are_errors_that_name_the_field(name, value):
    with pytest.raises(ValueError, match=f"method.{name}"):
        AmpMixConfig(**{name: value})
