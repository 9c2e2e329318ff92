"""DSU: noise on statistics, of their spread over the batch."""

import pytest
import torch

from ssdg.methods.dsu import DSUConfig, batch_deviation, uncertain_statistics


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_strength_it_is_the_identity_to_the_bit():
    mean, deviation = torch.randn((3, 4, 1, 1), generator=rng(1)), torch.rand((3, 4, 1, 1), generator=rng(2))
    same = uncertain_statistics(mean, deviation, rng(), 0.0)
    assert torch.equal(same[0], mean)
    assert torch.equal(same[1], deviation)


def test_a_batch_without_spread_stays_as_it_is():
    mean, deviation = torch.full((2, 4, 1, 1), 3.0), torch.full((2, 4, 1, 1), 2.0)
    for size in (1, 2):
        new_mean, new_deviation = uncertain_statistics(mean[:size], deviation[:size], rng(), 1.0)
        assert torch.allclose(new_mean, mean[:size], atol=5e-3)  # the deviations' floor is a thousandth
        assert torch.allclose(new_deviation, deviation[:size], atol=5e-3)


def test_noise_has_the_spread_of_the_statistics_over_the_batch():
    mean = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1).expand(2, 4000, 1, 1)
    deviation = torch.tensor([1.0, 4.0]).view(2, 1, 1, 1).expand(2, 4000, 1, 1)
    new_mean, new_deviation = uncertain_statistics(mean, deviation, rng(), 0.5)
    for values, old, spread in ((new_mean, mean, 2**0.5), (new_deviation, deviation, 3 / 2**0.5)):
        noise = (values - old).flatten(1)
        assert noise.mean().item() == pytest.approx(0, abs=0.05 * spread)
        assert noise.std(dim=1).tolist() == pytest.approx([0.5 * spread] * 2, rel=0.05)
    assert (
        abs(torch.corrcoef(torch.cat([(new_mean - mean).flatten(1), (new_deviation - deviation).flatten(1)])))
        .fill_diagonal_(0)
        .max()
        < 0.06
    )


def test_the_spread_is_differentiable_where_it_vanishes():
    values = torch.ones((2, 3, 1, 1), requires_grad=True)
    batch_deviation(values).sum().backward()
    assert torch.isfinite(values.grad).all()


def test_its_setting_has_a_range():
    with pytest.raises(ValueError, match=r"method\.strength"):
        DSUConfig(strength=-1.0)
