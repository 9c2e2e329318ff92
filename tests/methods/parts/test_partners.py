"""Batch partners: their laws, and the error of a batch of one image for every method that mixes images."""

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods import MethodError, load_method
from ssdg.methods.base import Batch, StepContext
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts.partners import draw_partners


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_by_a_turn_every_image_has_another_and_is_used_once(count):
    seen = {tuple(draw_partners(count, rng(seed), "toy", each_once=True).tolist()) for seed in range(40)}
    assert len(seen) == count - 1
    for indices in seen:
        assert sorted(indices) == list(range(count))
        assert all(index != own for own, index in enumerate(indices))


def test_independent_partners_are_other_images_each_as_often():
    drawn = torch.stack([draw_partners(4, rng(seed), "toy") for seed in range(300)])
    own = torch.arange(4)
    assert (drawn != own).all()
    counts = F.one_hot(drawn, 4).sum(0)
    assert (counts[own, own] == 0).all()
    assert counts[~torch.eye(4, dtype=torch.bool)].min() > 65
    assert (drawn[:, 0] == 1).logical_xor(drawn[:, 1] == 2).any(), "images draw independently"
    assert torch.equal(draw_partners(2, rng(), "toy"), torch.tensor([1, 0]))


@pytest.mark.parametrize("name", ["ampmix", "cutmix", "feddg"])
def test_a_batch_of_one_image_is_one_error_that_names_method_and_setting(name):
    image = torch.rand((1, 3, 16, 16), generator=rng())
    foreground = image[:, :1] >= 0
    batch = Batch(image, foreground.long(), foreground, target=image, target_foreground=foreground)
    method = load_method(name)(SegResNet(2, 3, 2, 8))
    with pytest.raises(MethodError, match=rf"{name} mixes .* training\.batch_size must be 2 or more, not 1"):
        method.training_step(batch, StepContext(rng=rng(), step=0, total_steps=1, epoch=0, total_epochs=1))
