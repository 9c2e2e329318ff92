"""BigAug: the nine gates and magnitudes, what each transform leaves alone, and what the network is given."""

import dataclasses
import math

import pytest
import torch

from ssdg.methods.base import Batch, Frame, StepContext, standardise
from ssdg.methods.bigaug import SPATIAL, TRANSFORMS, BigAug, BigAugConfig, draw_transforms
from ssdg.methods.erm import Erm
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.transforms.resampling import resample

QUALITY = tuple(name for name in TRANSFORMS if name not in SPATIAL)
GRIDS = {2: (3, 32, 32), 3: (1, 16, 16, 16)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2, count=3):
    """Smooth images, a central ball as the label, a larger one as the foreground."""
    channels, *sides = GRIDS[ndim]
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in sides], indexing="ij")
    radius = torch.stack(axes).square().sum(0).sqrt().expand(count, 1, *sides)
    image = 0.5 + 0.2 * torch.rand((count, channels, *sides), generator=rng()) - 0.3 * radius.clamp(max=1)
    return Batch(image * (radius < 0.9), (radius < 0.5).long() + (radius < 0.25), radius < 0.9)


def make_method(ndim=2, cls=BigAug, **settings):
    torch.manual_seed(0)
    network = SegResNet(ndim, GRIDS[ndim][0], 3, init_filters=8)
    return cls(network, BigAugConfig(**settings)) if cls is BigAug else cls(network)


def terms_of(method, batch):
    return method.training_step(batch, StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1))


def drawn(count=2000, ndim=3, **settings):
    return draw_transforms(BigAugConfig(**settings), count, ndim, rng())


@pytest.mark.parametrize("ndim", [2, 3])
def test_with_probability_zero_it_is_source_only_training_bit_for_bit(ndim):
    method, batch = make_method(ndim, probability=0.0), make_batch(ndim)
    image, label = method.transform(batch, rng())
    assert torch.equal(image, method.prepare(batch.image, batch.foreground))
    assert torch.equal(label, batch.label)
    expected = terms_of(make_method(ndim, Erm), batch)["segmentation"]
    assert torch.equal(terms_of(method, batch)["segmentation"], expected)


def test_gates_fire_half_of_the_time_independently():
    active = torch.stack([drawn().active[name] for name in TRANSFORMS]).float()
    assert (active.mean(dim=1) - 0.5).abs().max() < 0.03
    assert active.sum(dim=0).mean().item() == pytest.approx(4.5, abs=0.1)
    correlation = torch.corrcoef(active) - torch.eye(9)
    assert correlation.abs().max() < 0.08


def test_magnitudes_cover_the_ranges_of_the_table():
    draws = drawn()
    ranges = {
        "sharpness": (10, 30),
        "blur": (0.25, 1.5),
        "noise": (0.1, 1.0),
        "brightness": (-0.1, 0.1),
        "gamma": (0.5, 4.5),
        "gain": (0.9, 1.1),
        "offset": (-0.1, 0.1),
        "elastic_sigma": (10, 13),
        "elastic_amplitude": (0, 1000),
        "angles": (-math.radians(20), math.radians(20)),
        "zoom": (0.4, 1.6),
    }
    for name, (low, high) in ranges.items():
        values, width = getattr(draws, name), high - low
        assert low <= values.min() < low + 0.01 * width, name
        assert high - 0.01 * width < values.max() <= high, name
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.03 * width), name
    assert set(ranges) | {"active", "sigmas"} == {f.name for f in dataclasses.fields(draws)}


def test_second_width_of_sharpening_is_at_most_the_first_or_independent_of_it():
    first, second = drawn().sigmas
    assert (second <= first).all()
    assert second.min() >= 0.5
    first, second = drawn(sharpness_rule="independent", sharpness_sigma=(0.25, 1.5)).sigmas
    assert 0.4 < (second > first).float().mean() < 0.6
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.08


def test_variants_of_gamma_and_scaling():
    gamma = drawn(gamma_law="log-uniform").gamma
    assert 0.5 <= gamma.min() < gamma.max() <= 4.5
    assert gamma.log().mean().item() == pytest.approx(math.log(0.5 * 4.5) / 2, abs=0.05)
    zoom = drawn().zoom
    assert torch.equal(zoom[:, 0], zoom[:, 2])
    assert torch.corrcoef(drawn(scaling_axes="independent").zoom.mT)[0, 1].abs() < 0.08


def test_one_rotation_in_planes_three_in_volumes():
    assert drawn(4, 2).angles.shape == (4, 1)
    angles = drawn(ndim=3).angles
    assert angles.shape == (2000, 3)
    assert (torch.corrcoef(angles.mT) - torch.eye(3)).abs().max() < 0.08


@pytest.mark.parametrize("ndim", [2, 3])
def test_quality_and_appearance_never_move_the_label(ndim):
    method, batch = make_method(ndim, probability=1.0, transforms=QUALITY), make_batch(ndim)
    image, label = method.transform(batch, rng())
    assert torch.equal(label, batch.label)
    assert not torch.allclose(image, method.prepare(batch.image, batch.foreground), atol=0.1)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", SPATIAL)
def test_image_label_and_foreground_move_together(ndim, name):
    method, batch = make_method(ndim, probability=1.0, transforms=(name,)), make_batch(ndim)
    batch = dataclasses.replace(batch, **{key: getattr(batch, key).roll(3, -1) for key in ("label", "foreground")})
    draws = draw_transforms(method.config, 3, ndim, rng(5))
    as_image = batch.label.float()
    moved, label, foreground = method.move(as_image, batch, torch.zeros(()), draws, rng(6))
    assert (moved.round() == label).float().mean() > 0.97
    grid = method.draw_grid(tuple(as_image.shape[2:]), draws, rng(6))
    assert torch.equal(resample(as_image, grid, "nearest", torch.zeros(())), label.float())
    assert set(label.unique().tolist()) <= set(batch.label.unique().tolist())
    assert foreground[label > 0].all()


@pytest.mark.parametrize("name", SPATIAL)
def test_each_spatial_transform_moves_the_label(name):
    label = torch.zeros((1, 1, 32, 32), dtype=torch.long)
    label[..., 3:9, 20:29] = 1
    batch = Batch(label.expand(1, 3, 32, 32) * 1.0, label, label >= 0)
    assert not torch.equal(make_method(probability=1.0, transforms=(name,)).transform(batch, rng(2))[1], label)


def test_brightness_and_perturbation_are_the_affine_maps_they_should_be():
    image = torch.randn((2, 3, 16, 16), generator=rng())
    draws = drawn(2, 2)
    gain, offset, shift = (v.view(2, 1, 1, 1) for v in (draws.gain, draws.offset, draws.brightness))
    for name, expected in {"brightness": image + shift, "perturbation": image * gain + offset}.items():
        method = make_method(probability=1.0, transforms=(name,))
        changed, _ = method.degrade(image, image, draw_transforms(method.config, 2, 2, rng()), rng())
        torch.testing.assert_close(changed, expected)
    none = make_method(probability=1.0, transforms=("perturbation",), perturbation=0.0)
    assert torch.equal(none.degrade(image, image, draw_transforms(none.config, 2, 2, rng()), rng())[0], image)


def test_noise_has_the_drawn_deviation_and_is_independent_between_channels():
    method = make_method(probability=1.0, transforms=("noise",))
    image = torch.zeros((4, 3, 64, 64))
    draws = draw_transforms(method.config, 4, 2, rng())
    noise, _ = method.degrade(image, image, draws, rng(1))
    torch.testing.assert_close(noise.std(dim=(1, 2, 3)), draws.noise, rtol=0.03, atol=0)
    assert torch.corrcoef(noise[0].flatten(1))[0, 1].abs() < 0.05
    assert torch.corrcoef(noise[:, 0].flatten(1))[0, 1].abs() < 0.05


def test_channels_share_geometry_and_magnitudes():
    batch = make_batch()
    batch = dataclasses.replace(batch, image=batch.image[:, :1].expand(-1, 3, -1, -1))
    others = tuple(name for name in TRANSFORMS if name != "noise")
    image, _ = make_method(probability=1.0, transforms=others).transform(batch, rng())
    assert torch.equal(image[:, 0], image[:, 1])
    assert not torch.allclose(image[0], image[1])


def test_shrunk_images_lie_in_the_darkest_value_and_background():
    method = make_method(probability=1.0, transforms=("scaling",), scaling=(0.4, 0.4))
    batch = make_batch()
    batch = dataclasses.replace(batch, label=torch.ones_like(batch.label))
    image, label = method.transform(batch, rng())
    darkest = method.prepare(batch.image, batch.foreground).amin((2, 3), keepdim=True)
    assert torch.equal(image[..., :8, :], darkest.expand_as(image)[..., :8, :])
    assert label.float().mean().item() == pytest.approx(0.16, abs=0.04)
    flat = dataclasses.replace(batch, image=torch.linspace(0.2, 0.8, 32).expand_as(batch.image))
    border = make_method(probability=1.0, transforms=("scaling",), scaling=(0.4, 0.4), padding="border")
    image, _ = border.transform(flat, rng())
    assert image[..., -1].min() > image[..., 16].max()


def test_margins_change_their_colour_with_the_black_of_the_image():
    names = ("sharpness", "brightness", "contrast", "perturbation", "scaling")  # sharpness: black is not the minimum
    method = make_method(probability=1.0, transforms=names, scaling=(0.5, 0.5))
    image, _ = method.transform(make_batch(), rng())
    torch.testing.assert_close(
        image[..., 0, 0], image[..., 8, 8], atol=1e-3, rtol=0
    )  # outside the image, and its black corner
    assert not torch.allclose(image[..., 0, 0], image[..., 16, 16], atol=0.5)


def displaced(method, side, ndim):
    """Return one displacement of the elastic field at the largest amplitude, in voxels."""
    draws = draw_transforms(method.config, 16, ndim, rng())
    grid = method.draw_grid((side,) * ndim, draws, rng())
    none = {name: torch.zeros(16, dtype=torch.bool) for name in TRANSFORMS}
    still = method.draw_grid((side,) * ndim, dataclasses.replace(draws, active=none), rng())
    return (grid - still) * side / 2


def make_elastic(ndim, **settings):
    settings = {"elastic_amplitude": (1000, 1000), "elastic_sigma": (10, 10)} | settings
    return make_method(ndim, probability=1.0, transforms=("elastic",), **settings)


@pytest.mark.parametrize(("side", "ndim"), [(256, 2), (96, 2), (48, 3)])
def test_elastic_bends_any_grid_as_the_table_bends_a_volume_of_144(side, ndim):
    deviation = displaced(make_elastic(ndim), side, ndim).std().item()
    assert deviation == pytest.approx(side / 144 * 2.735, rel=0.15)


def test_elastic_in_voxels_takes_the_table_literally():
    plane = displaced(make_elastic(2, elastic_units="voxels"), 128, 2).std().item()
    assert plane == pytest.approx(16.29, rel=0.15)
    volume = displaced(make_elastic(3, elastic_units="voxels"), 40, 3).std().item()
    assert volume == pytest.approx(2.735, rel=0.15)


def test_scaling_follows_rotation_along_the_axes_of_the_result():
    method = make_method(probability=1.0, transforms=("rotation", "scaling"), scaling_axes="independent")
    draws = draw_transforms(method.config, 8, 2, rng())
    grid = method.draw_grid((16, 16), draws, rng())
    steps = torch.stack([grid.diff(dim=axis)[:, 0, 0].norm(dim=1) for axis in (1, 2)], dim=1)
    torch.testing.assert_close(steps, (2 / 16) / draws.zoom)


def test_elastic_of_amplitude_zero_moves_nothing():
    method = make_elastic(2, elastic_amplitude=(0.0, 0.0))
    assert displaced(method, 32, 2).abs().max() == 0
    batch = make_batch()
    image, label = method.transform(batch, rng())
    torch.testing.assert_close(image, method.prepare(batch.image, batch.foreground), atol=1e-4, rtol=0)
    assert torch.equal(label, batch.label)


@pytest.mark.parametrize("normalisation", ["grid", "foreground"])
def test_renormalising_gives_mean_zero_and_deviation_one(normalisation):
    batch = make_batch()
    method = make_method(probability=1.0, transforms=QUALITY, renormalise=True)
    method.normalisation = normalisation
    image, _ = method.transform(batch, rng())
    torch.testing.assert_close(image, standardise(image, batch.foreground if normalisation == "foreground" else None))


@pytest.mark.parametrize("normalisation", ["grid", "foreground"])
def test_renormalising_a_window_makes_it_what_it_is_in_its_whole_image(normalisation):
    method, whole = make_method(probability=0.0, renormalise=True), make_batch()
    method.normalisation = normalisation
    window, inside = (maps[:, :, 8:, 8:] for maps in (whole.image, whole.foreground))
    frame = Frame(method.statistics(whole.image, whole.foreground), method.statistics(window, inside))
    image, _ = method.transform(Batch(window, whole.label[:, :, 8:, 8:], inside, frame=frame), rng())
    expected, _ = method.transform(whole, rng())
    torch.testing.assert_close(image, expected[:, :, 8:, 8:], atol=1e-4, rtol=0)


def test_the_transformed_batch_is_what_is_learnt_from():
    method, batch = make_method(), make_batch()
    image, label = method.transform(batch, rng(9))
    expected = soft_dice(method.network(image).logits, label)
    assert torch.equal(terms_of(method, batch)["segmentation"], expected)
    assert torch.equal(method.example(batch, rng(9)), image)


def test_reduced_precision_does_not_reach_the_transforms():
    method, batch = make_method(3, probability=1.0), make_batch(3)
    image, label = method.transform(batch, rng())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = method.transform(batch, rng())
    assert torch.equal(reduced[0], image)
    assert torch.equal(reduced[1], label)


def test_prediction_is_the_plain_network():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
        assert torch.equal(method.predict(batch.image, batch.foreground), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"probability": 1.1},
        {"transforms": ("flip",)},
        {"blur": (1.5, 0.25)},
        {"blur": (0.0, 1.5)},
        {"noise": (0.1, 0.5, 1.0)},
        {"scaling": (-1.0, 1.0)},
        {"rotation": -20.0},
    ],
)
def test_impossible_settings_are_errors_that_name_the_field(settings):
    with pytest.raises(ValueError, match=f"method.{next(iter(settings))}"):
        BigAugConfig(**settings)


def test_a_window_is_bent_as_its_whole_image():
    method = make_method(transforms=("elastic",), probability=1.0)
    draws = draw_transforms(method.config, 24, 2, rng())
    bent = {}
    for grid, shape in (((128, 128), (128, 128)), ((128, 128), (32, 32)), (None, (32, 32))):
        method.grid = grid
        still = dataclasses.replace(draws, active=dict.fromkeys(draws.active, torch.zeros(24, dtype=torch.bool)))
        moved = method.draw_grid(shape, draws, rng(1)) - method.draw_grid(shape, still, rng(1))
        bent[grid, shape] = (moved * shape[0] / 2).square().mean().sqrt()  # voxels
    assert bent[(128, 128), (32, 32)] == pytest.approx(bent[(128, 128), (128, 128)], rel=0.25)
    assert bent[None, (32, 32)] < 0.5 * bent[(128, 128), (128, 128)]
