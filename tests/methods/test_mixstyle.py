"""MixStyle: own statistics, a partner's, and the law of the share."""

import pytest
import torch

from ssdg.methods import mixstyle
from ssdg.methods.mixstyle import MixStyleConfig, draw_beta, mixed_statistics


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def statistics(size=3):
    return torch.randn((size, 4, 1, 1), generator=rng(1)), torch.rand((size, 4, 1, 1), generator=rng(2))


def test_a_share_of_1_is_the_identity_to_the_bit_and_of_0_the_partner(monkeypatch):
    mean, deviation = statistics()
    for share in (1.0, 0.0):
        monkeypatch.setattr(mixstyle, "draw_beta", lambda *_, share=share: torch.full((3, 1, 1, 1), share))
        order = torch.arange(3) if share else torch.randperm(3, generator=rng(4))
        mixed = mixed_statistics(mean, deviation, rng(4), 0.1)
        assert torch.equal(mixed[0], mean[order])
        assert torch.equal(mixed[1], deviation[order])
    assert order.tolist() != [0, 1, 2]


def test_mixtures_lie_between_own_and_partner_with_one_share_an_image():
    mean, deviation = statistics(2)
    for seed in range(20):
        new_mean, new_deviation = mixed_statistics(mean, deviation, rng(seed), 1.0)
        share = (new_mean - mean) / (mean.flip(0) - mean)
        assert (share >= -1e-5).all()
        assert (share <= 1 + 1e-5).all()
        assert torch.allclose(share, share[:, :1].expand_as(share), atol=1e-4)
        others = (new_deviation - deviation) / (deviation.flip(0) - deviation)
        assert torch.allclose(others, share, atol=1e-3)


@pytest.mark.parametrize("concentration", [0.1, 2.0])
def test_shares_are_beta_distributed(concentration):
    draws = draw_beta(concentration, (20000,), rng())
    assert torch.isfinite(draws).all()
    assert draws.mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.var().item() == pytest.approx(0.25 / (2 * concentration + 1), rel=0.03)
    torch.manual_seed(0)
    reference = torch.distributions.Beta(concentration, concentration).sample((20000,))
    levels = torch.tensor([0.2, 0.4, 0.6, 0.8])
    assert torch.allclose(draws.quantile(levels), reference.quantile(levels), atol=0.05)


def test_its_setting_has_a_range():
    with pytest.raises(ValueError, match=r"method\.concentration"):
        MixStyleConfig(concentration=0.0)
