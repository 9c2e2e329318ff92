"""SynthSeg: a Gaussian a class, clusters of the background, bias, gamma and resolution."""

from dataclasses import replace

import pytest
import torch

from ssdg.methods import synthseg
from ssdg.methods.base import Batch
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.synthseg import SynthSeg, SynthSegConfig, gaussian_classes, intensity_steps

DIMENSIONS = pytest.mark.parametrize("ndim", [2, 3])
SIDES = {2: (1, 48, 40), 3: (1, 48, 16, 16)}
BARE = {"bias": 0.0, "gamma": 0.0, "fine_share": 1.0}
"""A Gaussian a class, and the blur of the grid's own resolution."""


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2):
    channels, *sides = SIDES[ndim]
    label = torch.zeros((2, 1, *sides), dtype=torch.long)
    label[:, :, 8:20], label[:, :, 20:] = 1, 2
    foreground = torch.ones((2, 1, *sides), dtype=torch.bool)
    foreground[..., :3] = False
    return Batch(torch.rand((2, channels, *sides), generator=rng()), label, foreground)


def make_method(ndim=2, channels=1, **settings):
    torch.manual_seed(0)
    return SynthSeg(SegResNet(ndim, channels, 3, init_filters=8), SynthSegConfig(**settings))


def test_each_class_has_its_own_mean_and_deviation():
    index = torch.arange(3).repeat_interleave(4000).view(1, 1, 120, 100).expand(2, -1, -1, -1)
    means, deviations = torch.tensor([[0.1, 0.5, 0.9], [3.0, 2.0, 1.0]]), torch.tensor([[0.2, 0.1, 0.3], [1, 2, 3.0]])
    image = gaussian_classes(index, means, deviations, rng())
    for sample in range(2):
        for k in range(3):
            values = image[sample][index[sample] == k]
            assert values.mean().item() == pytest.approx(
                means[sample, k].item(), abs=0.05 * deviations[sample, k].item()
            )
            assert values.std().item() == pytest.approx(deviations[sample, k].item(), rel=0.05)
    assert torch.equal(
        gaussian_classes(index, means, torch.zeros(2, 3), rng())[0, 0, :, 0], means[0][index[0, 0, :, 0]]
    )


@DIMENSIONS
def test_without_noise_and_field_a_class_has_one_value_and_the_image_is_forgotten(ndim):
    method, batch = make_method(ndim, deviations=(0.0, 0.0), background_clusters=1, **BARE), make_batch(ndim)
    first = method.augment(batch, rng()).image
    other = method.augment(replace(batch, image=1 - batch.image), rng()).image
    inside = batch.foreground.expand_as(first)
    assert torch.equal(first[inside], other[inside])
    assert 0 <= first.min() < first.max() <= 1
    away = inside.clone()  # from boundaries between classes and to the outside, which are blurred
    away[:, :, 4:12], away[:, :, 16:24], away[..., :8] = False, False, False
    for k in range(3):
        values = first[0][away[0] & (batch.label[0] == k)]
        assert values.max() - values.min() < 1e-4


@DIMENSIONS
def test_what_lies_outside_the_foreground_stays_unless_there_is_none(ndim):
    method, batch = make_method(ndim), make_batch(ndim)
    out, outside = method.augment(batch, rng()), ~batch.foreground.expand_as(batch.image)
    assert torch.equal(out.image[outside], batch.image[outside])
    assert out.label is batch.label
    everywhere = method.augment(replace(batch, foreground=torch.zeros_like(batch.foreground)), rng()).image
    assert (everywhere[outside] != batch.image[outside]).float().mean() > 0.9


def test_real_images_stay_with_the_rest_of_the_probability():
    batch = make_batch()
    assert torch.equal(make_method(probability=0.0).augment(batch, rng()).image, batch.image)
    half = make_method(probability=0.5)
    real = [(half.augment(batch, rng(seed)).image == batch.image).flatten(1).all(dim=1) for seed in range(60)]
    assert torch.stack(real).float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_the_background_is_clustered_by_equal_steps_of_intensity():
    image = torch.linspace(0.2, 0.8, 101).view(1, 1, 1, -1)
    region = torch.ones_like(image, dtype=torch.bool)
    steps = intensity_steps(image, region, 4)[0, 0, 0]
    assert steps.unique(return_counts=True)[1].tolist() == pytest.approx([25, 25, 25, 26], abs=1)
    assert (steps.diff() >= 0).all()
    assert (intensity_steps(image, region, 1) == 0).all()
    assert (intensity_steps(image, ~region, 4) >= 0).all()  # an image without background
    batch, settings = make_batch(), {"deviations": (0.0, 0.0), **BARE}
    levels = {
        clusters: make_method(background_clusters=clusters, **settings)
        .augment(batch, rng())
        .image[0, 0, 1:7, 4:]
        .std()
        for clusters in (1, 4)
    }
    assert levels[4] > 10 * levels[1]


def test_no_class_shares_the_law_of_a_cluster_or_of_another_class(monkeypatch):
    seen = []

    def record(index, *arguments):
        seen.append(index)
        return gaussian_classes(index, *arguments)

    monkeypatch.setattr(synthseg, "gaussian_classes", record)
    batch = make_batch()
    make_method(background_clusters=4).augment(batch, rng())
    [index] = seen
    assert set(index[batch.label == 0].tolist()) == {0, 1, 2, 3}
    assert [set(index[batch.label == k].tolist()) for k in (1, 2)] == [{4}, {5}]


def test_fields_are_smooth_positive_and_centred_on_one():
    method, image = make_method(3, bias=0.5, bias_scale=0.2), torch.zeros((40, 1, 24, 16, 16))
    field = method.bias_field(image, rng())
    assert field.shape == image.shape
    assert field.min() > 0
    assert abs(field.log().mean()) < 0.05
    assert 0.05 < field.log().flatten(1).std(dim=1).max() < 0.6
    assert field.log().diff(dim=2).std() < 0.3 * field.log().std()
    assert (make_method(3, bias=0.0).bias_field(image, rng()) == 1).all()


@DIMENSIONS
def test_resolutions_are_those_of_every_axis_or_one(ndim):
    method = make_method(ndim, coarsest_isotropic=4.0, coarsest_axis=8.0, isotropic_share=0.2)
    spacing, thickness = method.draw_resolution(4000, ndim, rng())
    assert (thickness >= 1).all()
    assert (thickness <= spacing).all()
    coarse = (spacing > 1).sum(dim=1)
    assert (coarse == 0).float().mean().item() == pytest.approx(0.05, abs=0.02)
    assert (coarse == ndim).float().mean().item() == pytest.approx(0.2 * 0.95, abs=0.03)
    assert spacing[coarse == ndim].max() <= 4
    assert 7.5 < spacing[coarse == 1].max() <= 8
    assert (spacing[coarse == 1] > 1).float().mean(dim=0).tolist() == pytest.approx([1 / ndim] * ndim, abs=0.05)


def test_low_resolution_along_one_axis_leaves_the_others_sharp(monkeypatch):
    method, image = make_method(), torch.rand((1, 1, 48, 48), generator=rng())
    coarse = torch.tensor([[4.0, 1.0]])
    monkeypatch.setattr(method, "draw_resolution", lambda *_: (coarse, coarse))
    low = method.lower(image, rng())
    down, across = (low.diff(dim=axis).abs().mean() for axis in (2, 3))
    assert across > 3 * down
    monkeypatch.setattr(method, "draw_resolution", lambda *_: (torch.ones(1, 2), torch.ones(1, 2)))
    fine = method.lower(image, rng())
    assert torch.corrcoef(torch.stack([fine.flatten(), image.flatten()]))[0, 1] > 0.7


def test_channels_share_each_classs_law():
    batch = make_batch()
    wide = replace(batch, image=torch.rand((2, 3, 48, 40), generator=rng()))
    out = make_method(channels=3, background_clusters=1, **BARE).augment(wide, rng()).image
    means = torch.stack([out[0, :, 24:44, 8:].mean(dim=(1, 2)), out[0, :, 10:18, 8:].mean(dim=(1, 2))])
    assert torch.allclose(means, means[:, :1].expand_as(means), atol=0.05)
    assert not torch.equal(out[:, 0], out[:, 1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"probability": 1.5}, "method.probability"),
        ({"means": (0.9, 0.1)}, "method.means"),
        ({"background_clusters": 0}, "method.background_clusters"),
        ({"bias": -1.0}, "method.bias"),
        ({"bias_scale": 0.0}, "method.bias_scale"),
        ({"coarsest_axis": 0.5}, "method.coarsest"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        SynthSegConfig(**settings)
