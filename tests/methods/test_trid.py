"""TriD: the law of its statistics."""

import pytest
import torch

from ssdg.methods.trid import random_statistics


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_channel_keeps_both_statistics_or_gets_both_from_the_unit_interval():
    mean, deviation = torch.full((50, 40, 1, 1), 7.0), torch.full((50, 40, 1, 1), 9.0)
    new_mean, new_deviation = random_statistics(mean, deviation, rng())
    kept = new_mean == 7
    assert torch.equal(kept, new_deviation == 9)
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.03)
    for values in (new_mean[~kept], new_deviation[~kept]):
        assert 0 <= values.min() < 0.01
        assert 0.99 < values.max() < 1
        assert values.mean().item() == pytest.approx(0.5, abs=0.03)
    assert abs(torch.corrcoef(torch.stack([new_mean[~kept], new_deviation[~kept]]))[0, 1]) < 0.1


def test_a_coin_of_beta_distributed_probability_is_a_fair_one():
    for concentration in (0.1, 1.0):
        torch.manual_seed(0)
        shares = torch.distributions.Beta(concentration, concentration).sample((20000,))
        assert torch.bernoulli(shares).mean().item() == pytest.approx(0.5, abs=0.02)
