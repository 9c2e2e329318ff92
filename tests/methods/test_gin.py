"""GIN: one rendering by a random network of each image's own, and nothing but its supervised term."""

import pytest
import torch

from ssdg.methods.base import Batch, StepContext
from ssdg.methods.csdg import CSDG, CSDGConfig
from ssdg.methods.gin import GIN
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts import gin
from ssdg.methods.parts.gin import GINConfig


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch():
    image = torch.rand((2, 3, 16, 16), generator=rng())
    label = torch.randint(3, (2, 1, 16, 16), generator=rng(1))
    return Batch(image, label, torch.ones((2, 1, 16, 16), dtype=torch.bool))


def make_method(**settings):
    torch.manual_seed(0)
    return GIN(SegResNet(2, 3, 3, init_filters=8), GINConfig(**settings))


def rendering_of(method, seed=9):
    batch = make_batch()
    return method.render(method.prepare(batch.image, batch.foreground), batch.label, rng(seed))


def test_the_only_term_is_that_of_the_rendering():
    method, context = make_method(), StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1)
    expected = soft_dice(method.network(rendering_of(method)).logits, make_batch().label)
    terms = method.training_step(make_batch(), context)
    assert set(terms) == {"segmentation"}
    assert torch.allclose(terms["segmentation"], expected)


def test_a_share_of_zero_is_the_image_and_norms_are_kept(monkeypatch):
    method, batch = make_method(), make_batch()
    image = method.prepare(batch.image, batch.foreground)
    lengths = image.flatten(1).norm(dim=1)
    assert torch.allclose(rendering_of(method).flatten(1).norm(dim=1), lengths, rtol=1e-4)
    assert not torch.allclose(rendering_of(method), image, atol=0.1)
    mix = gin.mix
    monkeypatch.setattr(gin, "mix", lambda image, output, weight, match: mix(image, output, 0 * weight, match))
    assert torch.allclose(rendering_of(method), image, atol=1e-5)


def test_it_draws_as_one_view_of_csdg_does():
    torch.manual_seed(0)
    csdg = CSDG(SegResNet(2, 3, 3, init_filters=8), CSDGConfig(ipa=False, kernel_sizes=(3,)))
    batch = make_batch()
    view = csdg.views(csdg.prepare(batch.image, batch.foreground), generator := rng(9))[0]
    assert generator.get_state().tolist() != rng(9).get_state().tolist()
    # With one kernel size only the number of draws for sizes differs: 12 of three views, 4 of one.
    replay = rng(9)
    torch.randint(1, (8,), generator=replay)
    method = make_method(kernel_sizes=(3,))
    assert torch.equal(method.render(method.prepare(batch.image, batch.foreground), batch.label, replay), view)


@pytest.mark.parametrize(("name", "value"), [("kernel_sizes", (2,)), ("layers", 0), ("hidden_channels", 0)])
def test_impossible_settings_are_errors_that_name_the_field(name, value):
    with pytest.raises(ValueError, match=f"method.{name}"):
        GINConfig(**{name: value})
