"""FreeSDG: its views, its two decoders, and what each setting changes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ssdg.benchmark.training.inference import Inference
from ssdg.methods.base import Batch, Frame, StepContext
from ssdg.methods.freesdg import FreeSDG, FreeSDGConfig, whole_if_empty
from ssdg.methods.losses import cross_entropy, soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts.boxes import random_box
from ssdg.methods.parts.cbam import BlockAttention
from ssdg.methods.parts.coupling import CERTAIN
from ssdg.methods.parts.highpass import high_pass

SIDES = {2: (3, 32, 32), 3: (1, 16, 16, 16)}
DIMENSIONS = pytest.mark.parametrize("ndim", [2, 3])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2, size=2):
    channels, *sides = SIDES[ndim]
    image = torch.rand((size, channels, *sides), generator=rng())
    label = torch.randint(3, (size, 1, *sides), generator=rng(1))
    foreground = torch.ones((size, 1, *sides), dtype=torch.bool)
    foreground[..., :3] = False
    return Batch(image * foreground, label, foreground)


def make_method(ndim=2, **settings):
    torch.manual_seed(0)
    return FreeSDG(SegResNet(ndim, SIDES[ndim][0], 3, init_filters=8), FreeSDGConfig(**settings))


def terms_of(method, batch):
    return method.training_step(batch, StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1))


def views_of(method, batch, generator):
    return method.views(batch, generator)


def test_bank_and_fixed_filter_at_512_pixels_are_the_authors():
    fixed, *bank = make_method().filters(torch.empty(1, 3, 512, 512))
    assert fixed == (27, 9)
    assert bank == [(5 + 2 * k, 2 + k) for k in range(20)]


def test_filters_follow_the_grid_unless_told_not_to():
    fixed, *bank = make_method(3).filters(torch.empty(1, 1, 144, 144, 144))
    assert fixed == (7, pytest.approx(2.53, abs=0.01))
    assert bank[0] == (3, 0.5625)
    assert bank[-1] == (13, pytest.approx(5.91, abs=0.01))
    assert make_method().filters(torch.empty(1, 3, 256, 256))[0] == (13, 4.5)
    unscaled = make_method(3, reference_side=0)
    assert unscaled.filters(torch.empty(1, 1, 48, 48, 48))[0] == (27, 9)


def test_no_filter_of_a_small_grid_gives_a_blank_view():
    method, image = make_method(), torch.rand((1, 3, 32, 32), generator=rng())
    filters = method.filters(image)
    views = high_pass(2 * image - 1, torch.ones(1, 1, 32, 32, dtype=torch.bool), filters, 4.0)
    assert views.flatten(1).std(dim=1).min() > 0.1


@DIMENSIONS
def test_constant_images_give_zero(ndim):
    method, batch = make_method(ndim, reference_side=64), make_batch(ndim)
    whole = torch.ones_like(batch.foreground)
    assert method.prepare(torch.full_like(batch.image, 0.7), whole).abs().max() < 5e-6
    view, fixed = method.views(replace(batch, image=torch.full_like(batch.image, 0.7), foreground=whole), rng())
    assert max(view.abs().max(), fixed.abs().max()) < 5e-6


@DIMENSIONS
def test_an_added_constant_changes_nothing(ndim):
    batch = make_batch(ndim)
    image, whole = 0.5 * batch.image, torch.ones_like(batch.foreground)
    method = make_method(ndim, reference_side=64)
    assert torch.allclose(method.prepare(image + 0.4, whole), method.prepare(image, whole), atol=1e-5)
    plain, brighter = (replace(batch, image=image + offset, foreground=whole) for offset in (0, 0.4))
    for each, shifted in zip(method.views(plain, rng()), method.views(brighter, rng()), strict=True):
        assert torch.allclose(each, shifted, atol=1e-5)


@DIMENSIONS
def test_views_lie_in_the_clip_and_are_minus_one_outside(ndim):
    method, batch = make_method(ndim, gain=50.0), make_batch(ndim)
    views = [*views_of(method, batch, rng()), method.prepare(batch.image, batch.foreground)]
    outside = ~batch.foreground.expand_as(batch.image)
    for view in views:
        assert view.shape == batch.image.shape
        assert view.min() == -1
        assert view.max() == 1
        assert (view[outside] == -1).all()
        assert (view[~outside] > -1).any()


def test_outside_is_filled_with_the_median_of_the_whole_photograph_plus_an_offset():
    batch = make_batch()
    _, fill = make_method().levels(batch.image, batch.foreground)
    middle = torch.stack([channel.flatten().sort().values[511] for image in batch.image for channel in image])
    assert torch.allclose(fill.flatten(), 2 * middle - 1 + 0.2)
    # The fill blurs into the field of view: an edge where it differs from the border's level, none where it agrees.
    image = torch.full((1, 3, 32, 32), 0.5)
    view = make_method(fill_offset=0.0).prepare(image, batch.foreground[:1])
    assert view[..., 3:].abs().max() < 1e-5
    assert make_method().prepare(image, batch.foreground[:1])[..., 3].max() < -0.1


def test_volumes_are_filled_with_the_median_of_the_foreground():
    batch = make_batch(3)
    signed, fill = make_method(3, range_3d=(0.0, 1.0)).levels(batch.image, batch.foreground)
    inside = signed[1][batch.foreground[1]].sort().values
    assert fill[1].item() == pytest.approx(inside[(len(inside) - 1) // 2].item() + 0.2)
    mostly_empty = batch.foreground.clone()
    mostly_empty[..., :10] = False
    _, as_published = make_method(3, median_3d="grid").levels(batch.image * mostly_empty, mostly_empty)
    assert torch.allclose(as_published, torch.tensor(-0.8))


def test_volumes_are_stretched_between_quantiles_of_the_foreground():
    batch, (low, high) = make_batch(3), (0.1, 0.8)
    signed, _ = make_method(3, range_3d=(low, high)).levels(batch.image, batch.foreground)
    for image, foreground, out in zip(batch.image, batch.foreground, signed, strict=True):
        inside = image[foreground].sort().values
        first, last = (inside[int(q * (len(inside) - 1))] for q in (low, high))
        expected = 2 * ((image - first) / (last - first)).clamp(0, 1) - 1
        assert torch.allclose(out, expected, atol=1e-6)


def reference_view(image, gaussian):
    """One channel (H, W) in [-1, 1]: the definition with a two-dimensional kernel and replicated borders."""
    width, sigma = gaussian
    offset = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    square = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma**2))
    padded = F.pad(image.double()[None, None], (width // 2,) * 4, mode="replicate")
    blurred = F.conv2d(padded, (square / square.sum())[None, None])[0, 0]
    return (4 * (image - blurred)).clamp(-1, 1).float()


@pytest.mark.parametrize("gaussian", [(5, 2.0), (27, 9.0), (43, 21.0)])
def test_separable_filter_is_the_plane_one(gaussian):
    image = torch.rand((2, 3, 40, 56), generator=rng()) * 2 - 1
    whole = torch.ones(2, 1, 40, 56, dtype=torch.bool)
    view = high_pass(image, whole, (gaussian,), 4.0)[0]
    assert torch.allclose(view[1, 2], reference_view(image[1, 2], gaussian), atol=1e-5)


def test_separable_filter_is_the_cubic_one():
    image = torch.rand((1, 1, 16, 12, 20), generator=rng())
    offset = torch.arange(5.0) - 2
    line = torch.exp(-offset.square() / (2 * 1.5**2))
    cube = line[:, None, None] * line[:, None] * line
    blurred = F.conv3d(F.pad(image, (2,) * 6, mode="replicate"), (cube / cube.sum())[None, None])
    view = high_pass(image, torch.ones_like(image, dtype=torch.bool), ((5, 1.5),), 4.0)[0]
    assert torch.allclose(view, (4 * (image - blurred)).clamp(-1, 1), atol=1e-5)


def test_chosen_filters_are_those_of_the_list_in_that_order():
    batch, filters = make_batch(), ((5, 2.0), (7, 3.0), (9, 4.0))
    every = high_pass(batch.image, batch.foreground, filters, 4.0)
    some = high_pass(batch.image, batch.foreground, filters, 4.0, torch.tensor([2, 0, 2]))
    assert torch.allclose(some, every[[2, 0, 2]], atol=1e-6)
    assert not torch.allclose(every[0], every[2], atol=1e-2)


@DIMENSIONS
def test_view_is_one_filter_with_a_box_of_another(ndim):
    method, batch = make_method(ndim), make_batch(ndim)
    replay = rng(5)
    first, second = torch.randint(20, (2,), generator=replay).tolist()
    box = random_box(batch.image.shape[2:], replay)
    signed, fill = method.levels(batch.image, batch.foreground)
    filled = torch.where(batch.foreground, signed, fill)
    bank = high_pass(filled, batch.foreground, method.filters(batch.image)[1:], 4.0)
    view, fixed = views_of(method, batch, rng(5))
    assert first != second
    assert box.any()
    assert torch.allclose(view, torch.where(box, bank[second], bank[first]), atol=1e-6)
    assert torch.allclose(fixed, method.prepare(batch.image, batch.foreground), atol=1e-6)
    assert torch.equal(method.example(batch, rng(5)), view)


def test_the_same_filter_twice_is_that_filter():
    batch = make_batch()
    method = make_method(bank_sigmas=(4.0,), reference_side=32)
    signed, fill = method.levels(batch.image, batch.foreground)
    filled = torch.where(batch.foreground, signed, fill)
    expected = high_pass(filled, batch.foreground, ((9, 4.0),), 4.0)[0]
    assert torch.allclose(views_of(method, batch, rng())[0], expected, atol=1e-6)


def test_one_draw_serves_the_whole_batch():
    batch = make_batch(size=1)
    four = Batch(*(getattr(batch, name).repeat(4, 1, 1, 1) for name in ("image", "label", "foreground")))
    view = views_of(make_method(), four, rng())[0]
    assert torch.allclose(view, view[:1].expand_as(view), atol=1e-6)


def test_boxes_have_the_authors_sizes_and_places():
    shape, generator = (16, 24), rng()
    boxes = torch.stack([random_box(shape, generator) for _ in range(4000)])
    sides = [boxes.any(dim=axis).sum(dim=1)[boxes.flatten(1).any(dim=1)] for axis in (2, 1)]
    for side, length in zip(sides, shape, strict=True):
        assert side.min() == 1
        assert side.max() == length - 1
        assert side.float().mean().item() == pytest.approx(length / 2, abs=0.4)  # U{1, ..., N-1}
    assert not boxes[:, -1].any()
    assert not boxes[:, :, -1].any()
    assert boxes[:, 0].any()
    share = 0.5 * 15 / 16 * 0.5 * 23 / 24
    assert boxes.float().mean().item() == pytest.approx(share, abs=0.015)
    area = boxes.flatten(1).sum(dim=1)
    assert all(box.any(dim=1).sum() * box.any(dim=0).sum() == area[i] for i, box in enumerate(boxes[:50]))


def test_boxes_of_a_fixed_side():
    generator = rng()
    boxes = torch.stack([random_box((12, 12, 12), generator, side=5) for _ in range(50)])
    assert (boxes.flatten(1).sum(dim=1) == 125).all()
    assert not torch.equal(boxes[0], boxes[1])
    assert random_box((8, 16), generator, side=40).sum() == 7 * 15
    batch, method = make_batch(), make_method(patch_side=256)
    view, fixed = views_of(method, batch, rng(2))
    assert view.shape == fixed.shape


def test_without_mixing_the_network_sees_the_view_of_prediction():
    batch, method = make_batch(), make_method(mix=False)
    generator = rng()
    before = generator.get_state()
    view, fixed = views_of(method, batch, generator)
    assert torch.equal(view, fixed)
    assert torch.allclose(fixed, method.prepare(batch.image, batch.foreground), atol=1e-6)
    assert torch.equal(generator.get_state(), before)


def test_without_filtered_input_the_image_itself_goes_in_and_the_target_stays():
    batch, method = make_batch(), make_method(filter_input=False)
    view, fixed = views_of(method, batch, rng())
    assert torch.equal(view, 2 * batch.image - 1)
    assert torch.equal(method.prepare(batch.image, batch.foreground), view)
    assert torch.allclose(fixed, make_method().prepare(batch.image, batch.foreground), atol=1e-6)


@DIMENSIONS
def test_terms_are_supervision_and_reconstruction_of_one_view(ndim):
    method, batch = make_method(ndim, reconstruction=0.5, segmentation=2.0), make_batch(ndim)
    view, fixed = views_of(method, batch, rng(9))
    logits, decoder = method.decode(view)
    region = batch.foreground.float()
    reconstructed = (method.reconstruct(decoder) + 1) * region - 1
    terms = terms_of(method, batch)
    assert torch.allclose(terms["reconstruction"], 0.5 * (reconstructed - fixed).abs().mean())
    confined = method.confine(logits, batch.foreground)
    assert torch.equal(terms["segmentation"], 2.0 * soft_dice(confined, batch.label))
    official = terms_of(make_method(ndim, supervision="official"), batch)
    assert torch.allclose(official["segmentation"], cross_entropy(confined, batch.label))


def test_official_supervision_is_the_authors_masked_binary_cross_entropy():
    method = make_method(supervision="official")
    logits = torch.randn((2, 2, 8, 8), generator=rng())
    region = torch.rand((2, 1, 8, 8), generator=rng(1)) < 0.7
    label = (torch.rand((2, 1, 8, 8), generator=rng(2)) < 0.3) & region
    probability = logits.softmax(dim=1)[:, 1:] * region
    expected = F.binary_cross_entropy(probability, label.float())
    assert torch.allclose(cross_entropy(method.confine(logits, region), label.long()), expected, atol=1e-6)


@DIMENSIONS
def test_gradients_of_each_term_reach_what_they_should(ndim):
    method, batch = make_method(ndim), make_batch(ndim)
    terms = terms_of(method, batch)
    named = dict(method.named_parameters())
    gradients = {}
    for term in terms:
        found = torch.autograd.grad(terms[term], list(named.values()), retain_graph=True, allow_unused=True)
        gradients[term] = {n for n, g in zip(named, found, strict=True) if g is not None and g.abs().max() > 0}
    decoder = {name for name in named if name.startswith(("reconstruction.up_layers", "reconstruction.up_samples"))}
    encoder = {name for name in named if name.startswith(("network.convInit", "network.down_layers"))}
    head = {name for name in named if name.startswith("reconstruction.head")}
    ours = {name for name in named if name.startswith(("network.up_", "network.conv_final", "coupling"))}
    assert decoder | encoder <= gradients["segmentation"]
    assert decoder | encoder | head <= gradients["reconstruction"]
    assert not head & gradients["segmentation"]
    assert not ours & gradients["reconstruction"]
    assert {name for name in named if name.startswith("network.")} <= gradients["segmentation"]


@DIMENSIONS
def test_prediction_needs_the_reconstruction_decoders_maps(ndim, monkeypatch):
    method, batch = make_method(ndim).eval(), make_batch(ndim)
    with torch.no_grad():
        usual = method.predict(batch.image, batch.foreground)
        forward = method.reconstruction.forward
        monkeypatch.setattr(method.reconstruction, "forward", lambda *a: [0 * x for x in forward(*a)])
        without = method.predict(batch.image, batch.foreground)
    assert (usual - without).abs().max() > 1e-3


def test_segmentation_decoder_has_no_skip_connections_of_its_own(monkeypatch):
    method, view = make_method(), torch.randn((1, 3, 32, 32), generator=rng())
    with torch.no_grad():
        usual, _ = method.decode(view)
        deepest, skips = method.network.encode(view)
        maps = method.reconstruction(deepest, skips)
        monkeypatch.setattr(method.reconstruction, "forward", lambda *_: maps)
        monkeypatch.setattr(method.network, "encode", lambda _: (deepest, [torch.randn_like(s) for s in skips]))
        assert torch.equal(method.decode(view)[0], usual)
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 8, 8), (16, 16, 16), (8, 32, 32)]


@DIMENSIONS
def test_reconstruction_decoder_is_the_shared_networks_decoder(ndim):
    method = make_method(ndim)
    network, reconstruction = method.network, method.reconstruction
    for ours, theirs in (
        (reconstruction.up_layers, network.up_layers),
        (reconstruction.up_samples, network.up_samples),
    ):
        shapes = {name: value.shape for name, value in theirs.state_dict().items()}
        assert {name: value.shape for name, value in ours.state_dict().items()} == shapes
    twin = make_method(ndim).reconstruction
    twin.load_state_dict(
        {
            **reconstruction.state_dict(),
            **{f"up_layers.{k}": v for k, v in network.up_layers.state_dict().items()},
            **{f"up_samples.{k}": v for k, v in network.up_samples.state_dict().items()},
        }
    )
    image = torch.randn((1, *SIDES[ndim]), generator=rng())
    deepest, skips = network.encode(image)
    assert torch.equal(twin(deepest, skips)[-1], network(image).decoder)
    own, shared = reconstruction.up_layers.state_dict(), network.up_layers.state_dict()
    assert any(not torch.equal(own[name], shared[name]) for name in own)


def test_the_bottleneck_slot_keeps_its_place():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        usual = method.predict(batch.image, batch.foreground)
        method.network.bottleneck = torch.nn.Tanh()
        assert not torch.equal(method.predict(batch.image, batch.foreground), usual)


def test_reconstruction_is_the_hyperbolic_tangent_of_the_head():
    method, decoder = make_method(), 50 * torch.randn((2, 8, 16, 16), generator=rng())
    image = method.reconstruct(decoder)
    assert image.shape == (2, 3, 16, 16)
    assert torch.equal(image, method.reconstruction.head(decoder).tanh())


@DIMENSIONS
def test_attention_is_channels_first_then_voxels(ndim):
    torch.manual_seed(0)
    attention = BlockAttention(ndim, 32, 16, 7)
    x = torch.randn((2, 32, *[8] * ndim), generator=rng())
    flat = x.flatten(2)

    def perceptron(v):
        return torch.relu(v @ attention.squeeze.weight.T) @ attention.expand.weight.T

    channel = torch.sigmoid(perceptron(flat.mean(2)) + perceptron(flat.amax(2)))
    weighted = x * channel.view(2, 32, *[1] * ndim)
    pooled = torch.stack([weighted.mean(1), weighted.amax(1)], dim=1)
    convolve = {2: F.conv2d, 3: F.conv3d}[ndim]
    expected = weighted * torch.sigmoid(convolve(pooled, attention.locate.weight, padding=3))
    assert torch.allclose(attention(x), expected, atol=1e-6)
    assert attention.squeeze.weight.shape == (2, 32)


def test_prediction_repeats_and_filters_with_the_fixed_filter():
    method, batch = make_method(), make_batch()
    fixed = method.filters(batch.image)[0]
    signed, fill = method.levels(batch.image, batch.foreground)
    filled = torch.where(batch.foreground, signed, fill)
    view = high_pass(filled, batch.foreground, (fixed,), 4.0)[0]
    with torch.no_grad():
        expected = method.confine(method.decode(view)[0], batch.foreground)
        method.train()
        first = method.predict(batch.image, batch.foreground)
        assert torch.equal(first, method.eval().predict(batch.image, batch.foreground))
    assert torch.allclose(first, expected, atol=1e-6)


def test_prediction_outside_the_field_of_view_is_background():
    batch = make_batch()
    outside = ~batch.foreground[:, 0]
    with torch.no_grad():
        probability = make_method().predict(batch.image, batch.foreground).softmax(dim=1)
        free = make_method(mask_prediction=False).predict(batch.image, batch.foreground).softmax(dim=1)
    assert (probability[:, 0][outside] > 1 - 1e-6).all()
    assert (free[:, 0][outside] < 0.99).all()
    assert torch.equal(free[..., 3:], probability[..., 3:])


def test_no_foreground_counts_as_the_whole_image():
    method, batch = make_method(), make_batch()
    none = torch.zeros_like(batch.foreground)
    assert whole_if_empty(none).all()
    assert torch.equal(whole_if_empty(batch.foreground), batch.foreground)
    some = torch.cat([none[:1], batch.foreground[1:]])
    assert torch.equal(whole_if_empty(some)[1], batch.foreground[1])
    assert torch.equal(method.prepare(batch.image, none), method.prepare(batch.image, ~none))
    terms, whole = (terms_of(method, replace(batch, foreground=f)) for f in (none, ~none))
    assert all(torch.equal(terms[name], whole[name]) for name in whole)


def test_views_do_not_depend_on_the_precision_of_the_run():
    method, batch = make_method(), make_batch()
    expected = method.prepare(batch.image, batch.foreground)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(method.prepare(batch.image, batch.foreground), expected)
        assert method.reconstruct(torch.randn(1, 8, 32, 32)).dtype == torch.float32


def test_filters_first_built_while_predicting_serve_training():
    method, image = make_method(reference_side=77), torch.rand((1, 3, 24, 24), generator=rng())
    with torch.inference_mode():
        method.prepare(image, torch.ones(1, 1, 24, 24, dtype=torch.bool))
    image.requires_grad_()
    method.prepare(image, torch.ones(1, 1, 24, 24, dtype=torch.bool)).sum().backward()
    assert image.grad is not None


@pytest.mark.parametrize(
    "settings",
    [
        {"bank_sigmas": ()},
        {"bank_sigmas": (2.0, 0.0)},
        {"fixed_width": 26},
        {"fixed_sigma": 0.0},
        {"gain": -1.0},
        {"smallest_sigma": 0.0},
        {"reference_side": -1},
        {"patch_side": -1},
        {"reconstruction": -1.0},
        {"range_3d": (0.9, 0.1)},
        {"attention_reduction": 0},
        {"attention_kernel": 6},
    ],
)
def test_impossible_settings_are_errors_that_name_the_field(settings):
    with pytest.raises(ValueError, match=f"method.{next(iter(settings))}"):
        FreeSDGConfig(**settings)


def test_views_of_a_window_are_those_of_its_image_at_512_pixels():
    method = make_method(mix=False)
    method.grid = (512, 512)
    assert method.margin() == 21  # half of the widest filter, 43 pixels
    image = torch.rand((1, 3, 160, 160), generator=rng())
    foreground = image[:, :1] > 0.1
    seen = (slice(None), slice(None), slice(30, 136), slice(30, 136))
    frame = Frame(method.statistics(image, foreground), method.statistics(image[seen], foreground[seen]))
    window = Batch(
        image[seen], torch.zeros(1, 1, 106, 106, dtype=torch.long), foreground[seen], frame=frame, margin=21
    )
    whole = method.prepare(image, foreground)[..., 51:115, 51:115]
    for view in method.views(window, rng()):
        assert torch.allclose(view, whole, atol=1e-6)


def test_without_a_margin_views_differ_at_the_border_of_a_window():
    method = make_method()
    method.grid = (512, 512)
    image = torch.rand((1, 3, 160, 160), generator=rng())
    foreground = image[:, :1] > 0.1
    whole = method.prepare(image, foreground)[..., 51:115, 51:115]
    seen = (slice(None), slice(None), slice(51, 115), slice(51, 115))
    frame = Frame(method.statistics(image, foreground), method.statistics(image[seen], foreground[seen]))
    bare = method.prepare(image[seen], foreground[seen], frame)
    apart = (bare - whole).abs()
    assert apart[..., 0].max() > 0.05
    assert apart[..., 21:-21, 21:-21].max() < 1e-6  # the filter's reach is the whole difference


def test_windows_without_foreground_are_background_as_in_the_whole_image():
    method = make_method()
    method.grid = (64, 64)
    image = torch.rand((2, 3, 64, 64), generator=rng())
    foreground = torch.zeros((2, 1, 64, 64), dtype=torch.bool)
    foreground[:, :, 40:, 36:] = True
    logits = [Inference("fp32", window, 0.25).logits(method, image, foreground) for window in (None, (32, 32))]
    outside = ~foreground.expand_as(logits[0])
    assert torch.allclose(*(each[outside] for each in logits))
    # An image without any foreground is foreground as a whole, and so are all its windows.
    for window in (None, (32, 32)):
        free = Inference("fp32", window, 0.25).logits(method, image, torch.zeros_like(foreground))
        assert (free[:, 0] < CERTAIN / 2).all()
