"""SLAug: the two views, their fusion by saliency, and gradients of both passes in one backward pass."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ssdg.benchmark.data.loader import Batches, Pool
from ssdg.benchmark.data.windows import WindowBatches, Windows
from ssdg.benchmark.training.augmentation import moderate_geometry
from ssdg.methods import slaug
from ssdg.methods.base import EPSILON, Batch, Frame, StepContext
from ssdg.methods.losses import cross_entropy, soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.slaug import SLAug, SLAugConfig, saliency, sample_dice, with_gradients

GRIDS = {2: (3, 24, 32), 3: (1, 16, 24, 16)}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2, number=2):
    image = torch.rand((number, *GRIDS[ndim]), generator=rng())
    image[:, :, :4] = 0
    image[:, :, 4] = 0.01
    label = torch.bucketize(image.mean(dim=1, keepdim=True), torch.tensor([0.35, 0.6]))
    return Batch(image, label, image[:, :1] >= 0)


def make_method(ndim=2, **settings):
    torch.manual_seed(0)
    return SLAug(SegResNet(ndim, GRIDS[ndim][0], 3, init_filters=8), SLAugConfig(**settings))


def step_context():
    return StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1)


def without_shift(**settings):
    """Settings under which the curve is all there is: nothing is clipped, and order can be told everywhere."""
    return {"scale_deviation": 0.0, "location_deviation": 0.0, **settings}


def reversals(before, after):
    """How far the order of intensities is broken: 0 for a non-decreasing map."""
    return (-after[before.argsort()].diff()).clamp(min=0).max().item()


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_global_view_never_reverses_the_order_of_intensities(ndim):
    method, batch = make_method(ndim), make_batch(ndim)
    generator = rng()
    for _ in range(10):
        overall, local = method.intensity_views(batch.image, batch.label, generator)
        assert overall.shape == local.shape == batch.image.shape
        for view in (overall, local):
            assert view.min() >= 0
            assert view.max() <= 1
        for before, after in zip(batch.image.flatten(0, 1), overall.flatten(0, 1), strict=True):
            assert reversals(before.flatten(), after.flatten()) < 1e-6


def test_background_is_always_inverted_and_other_regions_are_or_are_not():
    method, batch = make_method(**without_shift()), make_batch(number=12)
    local = method.intensity_views(batch.image, batch.label, rng())[1]
    label, upwards = batch.label.expand_as(batch.image), []
    for before, after, region in zip(*(t.flatten(0, 1) for t in (batch.image, local, label)), strict=True):
        for index in range(3):
            inside = (region == index) & (before > 0.01)
            kept = index > 0 and reversals(before[inside], after[inside]) < 1e-6
            assert kept or reversals(before[inside], -after[inside]) < 1e-6
            upwards += [kept] * (index > 0)
    assert 20 < sum(upwards) < 52  # of 72


def test_probabilities_of_a_decreasing_curve(monkeypatch):
    asked, original = [], slaug.draw_curves
    monkeypatch.setattr(
        slaug, "draw_curves", lambda inversion, *rest: asked.append(inversion) or original(inversion, *rest)
    )
    batch = make_batch()
    make_method().intensity_views(batch.image, batch.label, rng())
    inverted = original(asked[0], 10_000, rng()).inverted.float().mean(dim=0)
    assert inverted[0] == 0
    assert inverted[1] == 1
    assert torch.allclose(inverted[2:], torch.full((2,), 0.5), atol=0.02)


def test_the_curve_keeps_the_range_of_its_region():
    method, batch = make_method(**without_shift(background_threshold=-1.0)), make_batch()
    overall, local = method.intensity_views(batch.image, batch.label, rng())
    assert torch.allclose(overall.amax(dim=(2, 3)), batch.image.amax(dim=(2, 3)), atol=1e-6)
    assert torch.allclose(overall.amin(dim=(2, 3)), batch.image.amin(dim=(2, 3)), atol=1e-6)
    for index in range(3):
        before, after = (image[0, 0][batch.label[0, 0] == index] for image in (batch.image, local))
        assert torch.allclose(torch.stack(before.aminmax()), torch.stack(after.aminmax()), atol=1e-6)


def test_dark_voxels_of_the_local_view_keep_their_values_bit_for_bit():
    method, batch = make_method(), make_batch()
    overall, local = method.intensity_views(batch.image, batch.label, rng())
    dark = batch.image <= 0.01
    assert dark.any()
    assert torch.equal(local[dark], batch.image[dark])
    assert not torch.equal(overall[dark], batch.image[dark])
    assert (local[~dark] != batch.image[~dark]).float().mean() > 0.95


def framed(batch, centre=(12, 16), radius=9):
    """Return the batch with a round field of view; its outside, brighter than the rule for background, is label 0."""
    row, column = (torch.arange(side) for side in batch.image.shape[2:])
    inside = (row[:, None] - centre[0]) ** 2 + (column - centre[1]) ** 2 <= radius**2
    foreground = inside.expand_as(batch.foreground).clone()
    image = torch.where(foreground, 0.2 + batch.image / 2, 0.03)
    return replace(batch, image=image, label=batch.label * foreground, foreground=foreground)


def raw_views(method, batch):
    return method.intensity_views(batch.image, method.regions(batch), rng())


@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_the_outside_of_a_picture_stays_as_it_is(channels):
    method, batch = make_method(channels=channels), framed(make_batch())
    inside = batch.foreground.expand_as(batch.image)
    for view in raw_views(method, batch):
        assert torch.equal(view[~inside], batch.image[~inside])
        assert (view[inside] != batch.image[inside]).float().mean() > 0.95
    for view in raw_views(make_method(channels=channels, outside="official"), batch):
        assert (view[~inside] != batch.image[~inside]).float().mean() > 0.95


def test_no_curve_follows_values_of_the_outside():
    method, batch = make_method(), framed(make_batch())
    inside = batch.foreground.expand_as(batch.image)
    other = replace(batch, image=torch.where(inside, batch.image, 0.9))
    for view, again in zip(raw_views(method, batch), raw_views(method, other), strict=True):
        assert torch.equal(view[inside], again[inside])
    for view in raw_views(make_method(**without_shift()), batch):
        assert torch.allclose(view[0, 0][inside[0, 0]].aminmax()[0], batch.image[0, 0][inside[0, 0]].min(), atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_an_outside_and_in_volumes_the_views_are_the_authors(ndim):
    batch = make_batch(ndim)
    masks = [batch.foreground, torch.zeros_like(batch.foreground)]
    masks += [batch.image[:, :1] > 0.5] if ndim == 3 else []
    expected = make_method(ndim, outside="official").intensity_views(batch.image, batch.label, rng())
    for mask in masks:
        views = raw_views(make_method(ndim), replace(batch, foreground=mask))
        assert all(map(torch.equal, views, expected))


def test_the_outside_of_windows_is_what_normalisation_makes_of_it():
    method, batch = make_method(), framed(make_batch(), centre=(20, 16))
    whole = method.statistics(batch.image, batch.foreground)
    cut = slice(None), slice(None), slice(8, 24), slice(4, 28)
    window = replace(batch, **{name: getattr(batch, name)[cut] for name in ("image", "label", "foreground")})
    window = replace(window, frame=Frame(whole, method.statistics(window.image, window.foreground)))
    outside = ~window.foreground.expand_as(window.image)
    assert 0 < outside.sum() < outside.numel()
    plain = method.prepare(batch.image, batch.foreground)[cut]
    for view in (*method.views(window, rng()), method.example(window, rng())):
        assert torch.allclose(view[outside], plain[outside], atol=1e-5)
        assert not torch.allclose(view[~outside], plain[~outside], atol=0.1)


def windows_of(batch, method):
    """Return windows of a batch as training draws them under the shared augmentation ``geometric``."""
    pool = Pool(batch.image.half(), batch.label.byte(), batch.foreground, torch.arange(len(batch.image)))
    windows = WindowBatches(Batches(pool, None, 2, 0), Windows((8, 8), per_image=8), method.statistics)
    return windows.at(0, moderate_geometry((8, 8)), rng(1), rng(2))


@pytest.mark.parametrize("normalisation", ["foreground", "grid"])
def test_windows_are_normalised_by_what_is_left_of_them_after_augmentation(normalisation):
    method = make_method()
    method.normalisation = normalisation
    batch = framed(make_batch(number=2), centre=(12, 16))
    batch = replace(batch, image=batch.image * torch.linspace(0, 1, 32) ** 4)  # windows differ from their image
    window = windows_of(batch, method)
    # As drawn: to the bit by mean and deviation of the whole image.
    drawn = method.original_statistics(window)
    for ours, whole in zip(drawn, window.frame.image.unbind(1), strict=True):
        assert torch.equal(ours.flatten(), whole)
    # Darker and of less contrast: by those that `prepare` normalises by, also of what no curve changes.
    darker = replace(window, image=0.5 * window.image.square())
    mean, deviation = method.original_statistics(darker)
    prepared = method.prepare(darker.image, darker.foreground, darker.frame)
    assert torch.allclose((darker.image - mean) / (deviation + EPSILON), prepared, atol=1e-4)
    outside = ~darker.foreground.expand_as(prepared)
    assert outside.any()
    for view in method.views(darker, rng()):
        assert torch.allclose(view[outside], prepared[outside], atol=1e-4)


def test_one_region_that_is_not_inverted_has_the_law_of_the_global_view(monkeypatch):
    """Given the same draws they are the same image."""
    method, batch = make_method(inversion_probability=0.0), make_batch()
    label = torch.ones_like(batch.label)
    original = slaug.draw_curves

    def same_for_all_rows(*arguments):
        draws = original(*arguments)
        return type(draws)(*(part[..., :1].expand_as(part) for part in draws))

    monkeypatch.setattr(slaug, "draw_curves", same_for_all_rows)
    overall, local = method.intensity_views(batch.image, label, rng())
    bright = batch.image > 0.01
    assert torch.equal(overall[bright], local[bright])


def test_samples_and_channels_have_curves_of_their_own_unless_joint():
    batch = make_batch()
    grey = batch.image[:1, :1].expand(2, 3, -1, -1)
    label = batch.label[:1].expand(2, -1, -1, -1)
    for channels in ("independent", "joint"):
        for view in make_method(channels=channels).intensity_views(grey, label, rng()):
            assert not torch.allclose(view[0], view[1], atol=0.01)
            assert torch.equal(view[:, 0], view[:, 1]) == (channels == "joint")


def test_joint_regions_span_all_channels():
    """A channel that is darker than the others stays darker."""
    image = make_batch().image * torch.tensor([1.0, 0.6, 0.3]).view(1, 3, 1, 1)
    method = make_method(channels="joint")
    overall = method.intensity_views(image, torch.ones_like(image[:, :1], dtype=torch.int64), rng())[0]
    assert reversals(image[0].flatten(), overall[0].flatten()) < 1e-6


def test_views_are_normalised_by_the_statistics_of_their_original():
    batch = make_batch()
    batch = Batch(batch.image, batch.label, batch.image[:, :1] > 0.05)
    for normalisation in ("foreground", "grid"):
        method = make_method()
        method.normalisation = normalisation
        views = method.views(batch, rng())
        raw = raw_views(method, batch)
        unchanged = method.prepare(batch.image, batch.foreground)
        # prepare is affine in each image: two of its values give the map.
        for index in range(2):
            (x, y), (u, v) = batch.image[index].aminmax(), unchanged[index].aminmax()
            for view, plain in zip(views, raw, strict=True):
                assert torch.allclose(view[index], u + (plain[index] - x) * (v - u) / (y - x), atol=1e-4)


def test_an_image_of_one_value_stays_as_it_is():
    batch = make_batch()
    batch = replace(batch, image=torch.where(torch.tensor([True, False]).view(2, 1, 1, 1), 0.3, batch.image))
    for seed in range(4):
        for view in make_method().views(batch, rng(seed)):
            assert view[0].abs().max() < 0.1
            assert 1 < view[1].abs().max() < 10


def test_views_normalised_by_themselves_have_mean_0_and_deviation_1():
    batch = make_batch()
    for view in make_method(statistics="view").views(batch, rng()):
        assert torch.allclose(view.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5)
        assert torch.allclose(view.std(dim=(1, 2, 3), correction=0), torch.ones(2), atol=1e-4)


@pytest.mark.parametrize("ndim", [2, 3])
def test_saliency_is_a_smooth_map_from_0_to_1(ndim):
    gradient = torch.randn((3, *GRIDS[ndim]), generator=rng(), requires_grad=True)
    found = saliency(gradient, 4)
    assert found.shape == (3, 1, *GRIDS[ndim][1:])
    assert not found.requires_grad
    assert torch.equal(found.flatten(1).amin(dim=1), torch.zeros(3))
    assert torch.equal(found.flatten(1).amax(dim=1), torch.ones(3))
    for axis in range(2, ndim + 2):
        assert found.diff(dim=axis).abs().max() < 6 / found.shape[axis]
    assert torch.allclose(saliency(1e-6 * gradient, 4), found, atol=1e-5)  # the scale of the loss is nothing to it


def test_saliency_peaks_where_the_gradient_is():
    gradient = torch.zeros((2, 3, 30, 30))
    gradient[0, 1, 2:6, 3:7] = -5
    gradient[1, :, 14:17, 14:17] = 1
    corner, centre = saliency(gradient, 3)[:, 0]
    assert corner.argmax() == 0
    assert corner[20:, 20:].max() < 0.01
    assert centre[14:16, 14:16].min() > 0.99
    assert centre[0, 0] < 0.1


def test_saliency_is_the_root_mean_square_over_channels():
    one = torch.randn((1, 1, 24, 24), generator=rng())
    assert torch.allclose(saliency(torch.cat([2 * one, 0 * one, -one], dim=1), 3), saliency(one, 3), atol=1e-5)


def test_saliency_agrees_with_a_spline_of_transposed_convolutions():
    """On a square image of cells of 16 voxels, whose centres are stretched to its corners."""
    box = torch.ones((1, 1, 16, 16))
    kernel = F.conv2d(F.conv2d(box, box, padding=15), box, padding=15) / 16**4
    gradient = torch.rand((4, 1, 64, 64), generator=rng()) ** 8
    pooled = F.adaptive_avg_pool2d(gradient, 4)
    margin = (kernel.shape[-1] - 16) // 2 + 8
    field = F.conv_transpose2d(pooled, kernel, padding=margin, stride=16)
    field = F.interpolate(field, size=(64, 64), mode="bilinear", align_corners=True)
    low, high = field.flatten(1).aminmax(dim=1)
    expected = (field - low.view(-1, 1, 1, 1)) / (high - low).view(-1, 1, 1, 1)
    found = saliency(gradient, 4)
    assert (found - expected).abs().mean() < 0.03
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.99


def test_fusion_keeps_the_global_view_where_salient_and_the_local_one_elsewhere(monkeypatch):
    method = make_method()
    overall, local = torch.randn((2, 1, 3, 24, 32), generator=rng())
    for value, expected in ((1.0, overall), (0.0, local)):
        monkeypatch.setattr(slaug, "saliency", lambda gradient, cells, s=value: torch.full_like(gradient[:, :1], s))
        assert torch.equal(method.fuse(overall, local, overall), expected)
    monkeypatch.undo()
    gradient = torch.randn((1, 3, 24, 32), generator=rng(1))
    expected = local + saliency(gradient, 3) * (overall - local)
    assert torch.allclose(method.fuse(overall, local, gradient), expected, atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("supervision", ["dice", "official"])
def test_one_backward_pass_gives_the_gradients_of_two_separate_losses(ndim, supervision):
    method, batch = make_method(ndim, supervision=supervision), make_batch(ndim)
    terms = method.training_step(batch, step_context())
    weights = list(method.parameters())
    assert all(weight.grad is None for weight in weights)
    sum(terms.values()).backward()

    overall, local = method.views(batch, rng(9))
    overall.requires_grad_()
    first = method.supervise(method.network(overall).logits, batch.label)
    gradient, *of_first = torch.autograd.grad(first, [overall, *weights])
    fused = torch.lerp(local, overall.detach(), saliency(gradient, 3))
    second = method.supervise(method.network(fused).logits, batch.label)
    of_second = torch.autograd.grad(second, weights)
    assert torch.equal(terms["gla"], first.detach())
    assert torch.allclose(terms["fused"], second, atol=1e-6)
    for weight, one, other in zip(weights, of_first, of_second, strict=True):
        assert torch.allclose(weight.grad, one + other, rtol=1e-4, atol=1e-5)


def test_a_step_is_two_forward_passes():
    method, calls = make_method(), []
    method.network.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0]))
    method.training_step(make_batch(), step_context())
    assert len(calls) == 2
    assert not torch.allclose(calls[0], calls[1])
    assert not calls[1].requires_grad


def test_known_gradients_travel_with_the_value():
    weights = [torch.ones(size, requires_grad=True) for size in (3, 2)]
    value = with_gradients(torch.tensor(5.0), weights, [torch.arange(3.0), None])
    assert value == 5
    (2 * value).backward()
    assert torch.equal(weights[0].grad, 2 * torch.arange(3.0))
    assert weights[1].grad is None


def test_official_supervision_is_cross_entropy_and_dice_of_each_sample():
    method, batch = make_method(supervision="official"), make_batch()
    logits = torch.randn((2, 3, 24, 32), generator=rng())
    expected = cross_entropy(logits, batch.label) + sample_dice(logits, batch.label)
    assert torch.equal(method.supervise(logits, batch.label), expected)
    each = [soft_dice(logits[i : i + 1], batch.label[i : i + 1], epsilon=0) for i in range(2)]
    assert torch.allclose(sample_dice(logits, batch.label), torch.stack(each).mean(), atol=1e-5)


def test_the_example_is_the_fused_view_even_in_inference_mode():
    method, batch = make_method(), make_batch()
    overall, local = method.views(batch, rng(9))
    expected = method.fuse(overall, local, method.first_pass(overall, batch.label)[1])
    assert torch.equal(method.example(batch, rng(9)), expected)
    with torch.inference_mode():
        batch = Batch(batch.image.clone(), batch.label.clone(), batch.foreground.clone())
        assert torch.allclose(method.example(batch, rng(9)), expected, atol=1e-5)


def test_prediction_is_the_plain_network():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
        assert torch.equal(method.predict(batch.image, batch.foreground), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"inversion_probability": 1.5},
        {"background_inversion_probability": -0.1},
        {"scale_deviation": -1.0},
        {"location_deviation": -1.0},
        {"scale_limits": (1.1, 0.9)},
        {"scale_limits": (1.0,)},
        {"location_percentile": 60.0},
        {"saliency_cells": 1},
    ],
)
def test_impossible_settings_are_errors_that_name_the_field(settings):
    with pytest.raises(ValueError, match=f"method.{next(iter(settings))}"):
        SLAugConfig(**settings)
