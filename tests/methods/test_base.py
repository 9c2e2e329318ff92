"""The base class, which is the source-only row, and its normalisation."""

import numpy as np
import pytest
import torch

from ssdg.methods.base import Batch, Method, StepContext, standardise
from ssdg.methods.erm import Erm
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch() -> Batch:
    image = torch.rand((2, 3, 16, 16), generator=rng())
    label = torch.randint(3, (2, 1, 16, 16), generator=rng(1))
    foreground = torch.rand((2, 1, 16, 16), generator=rng(2)) > 0.3
    return Batch(image, label, foreground)


def make_method(cls=Method):
    torch.manual_seed(0)
    return cls(SegResNet(2, 3, 3, init_filters=8))


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (2, 1, 4, 5, 6)])
def test_standardise_takes_its_statistics_inside_the_region_over_channels_jointly(shape):
    image = 3 + 2 * torch.randn(shape, generator=rng())
    region = torch.rand((shape[0], 1, *shape[2:]), generator=rng(1)) > 0.5
    out = standardise(image, region)
    for x, y, r in zip(image.numpy(), out.numpy(), region.numpy(), strict=True):
        inside = np.stack([channel[r[0]] for channel in x])
        assert np.allclose(y, (x - inside.mean()) / (inside.std() + 1e-6), atol=1e-4)


def test_standardise_without_a_region_or_with_an_empty_one_takes_the_grid():
    image = torch.rand((2, 3, 8, 8), generator=rng())
    grid = standardise(image, None)
    assert torch.allclose(grid.mean((1, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(grid.std((1, 2, 3), correction=0), torch.ones(2), atol=1e-3)
    assert torch.allclose(standardise(image, torch.zeros(2, 1, 8, 8, dtype=torch.bool)), grid, atol=1e-5)


def test_standardise_turns_a_constant_image_into_zeros():
    image = torch.full((1, 1, 8, 8), 0.5)
    assert torch.equal(standardise(image, None), torch.zeros_like(image))


def test_training_step_is_dice_of_the_normalised_image():
    method, batch = make_method(), make_batch()
    context = StepContext(rng=rng(), step=0, total_steps=1, epoch=0, total_epochs=1)
    terms = method.training_step(batch, context)
    logits = method.network(standardise(batch.image, batch.foreground)).logits
    assert list(terms) == ["segmentation"]
    assert torch.equal(terms["segmentation"], soft_dice(logits, batch.label))


def test_normalisation_over_the_grid_ignores_the_foreground():
    method, batch = make_method(), make_batch()
    over_foreground = method.prepare(batch.image, batch.foreground)
    method.normalisation = "grid"
    assert torch.equal(method.prepare(batch.image, batch.foreground), standardise(batch.image, None))
    assert not torch.allclose(over_foreground, method.prepare(batch.image, batch.foreground), atol=1e-2)


def test_erm_is_the_base_class():
    batch = make_batch()
    first, second = make_method(Method), make_method(Erm)
    context = StepContext(rng=rng(), step=0, total_steps=1, epoch=0, total_epochs=1)
    assert torch.equal(
        first.training_step(batch, context)["segmentation"], second.training_step(batch, context)["segmentation"]
    )
    assert torch.equal(first.predict(batch.image, batch.foreground), second.predict(batch.image, batch.foreground))


def test_an_adversary_is_a_submodule_once_assigned():
    method = make_method()
    assert method.adversary is None
    method.adversary = torch.nn.Linear(2, 2)
    assert isinstance(method.adversary, torch.nn.Linear)
    assert "adversary.weight" in method.state_dict()


def test_an_adversary_without_a_step_is_an_error_that_names_the_method():
    context = StepContext(rng=rng(), step=0, total_steps=1, epoch=0, total_epochs=1)
    with pytest.raises(NotImplementedError, match="Erm"):
        make_method(Erm).adversary_step(make_batch(), context)


def test_a_method_of_version_0_1_says_setting():
    class Former(Method):
        setting = "uda"

    assert Former.access == "uda"
