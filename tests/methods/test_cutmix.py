"""CutMix: the boxes, the teacher, what is asked of whom, and what each setting changes."""

import math
from dataclasses import fields, replace

import pytest
import torch

from ssdg.benchmark.data.loader import Batches, Pool
from ssdg.methods.base import Batch, StepContext
from ssdg.methods.cutmix import CutMix, CutMixConfig, draw_boxes
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(sides=(16, 16), channels=3, count=2):
    generator, foreground = rng(), torch.ones((count, 1, *sides), dtype=torch.bool)
    image, target = torch.rand((2, count, channels, *sides), generator=generator)
    label = torch.randint(3, (count, 1, *sides), generator=generator)
    return Batch(image, label, foreground, target, foreground)


def make_method(ndim=2, **settings):
    torch.manual_seed(0)
    network = SegResNet(ndim, {2: 3, 3: 1}[ndim], 3, init_filters=8)
    return CutMix(network, CutMixConfig(**settings))


def make_context(step=0, epoch=0, total_epochs=100, seed=9):
    return StepContext(rng=rng(seed), step=step, total_steps=1000, epoch=epoch, total_epochs=total_epochs)


def detach_teacher(method):
    """Give the teacher weights of its own, as after some training."""
    with torch.no_grad():
        for weight in method.teacher.parameters():
            weight.mul_(1.5).add_(0.01)
    method.update_teacher = lambda step: None


def extents(boxes):
    """Return first and last index inside, (B, 2, axes), of boxes that are full rectangles."""
    found = []
    for box in boxes[:, 0]:
        inside = box.nonzero()
        low, high = inside.amin(0), inside.amax(0)
        assert len(inside) == (high - low + 1).prod()
        found.append(torch.stack([low, high]))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("shape", "power"), [((64, 64), 1.0), ((40, 56), 1.0), ((32, 32, 32), 1.5), ((24, 40, 16), 1.5)]
)
def test_square_boxes_take_the_root_of_the_share_along_every_axis(shape, power):
    sides = torch.tensor(shape)
    low, high = extents(draw_boxes(300, shape, (0.25, 0.5), "square", rng())).unbind(1)
    fraction = (high - low + 1) / sides
    assert (fraction >= 0.5 - 0.5 / sides).all()
    assert (fraction <= math.sqrt(0.5) + 0.5 / sides).all()
    assert (fraction.amax(1) - fraction.amin(1) <= 1.0 / sides.min()).all()
    share = fraction.prod(1)
    expected = 2 * (0.5 ** (power + 1) - 0.25 ** (power + 1)) / (0.5 * (power + 1))  # mean of p^power
    assert share.mean() == pytest.approx(expected, abs=0.02) if power == 1.0 else share.mean() < 0.26
    assert share.amax() > 0.9 * 0.5**power


def test_boxes_lie_anywhere_inside_the_grid():
    low, high = extents(draw_boxes(400, (32, 48), (0.25, 0.5), "square", rng(1))).unbind(1)
    assert (low.amin(0) == 0).all()
    assert high.amax(0).tolist() == [31, 47]
    middle = ((low + high) / 2).mean(0)
    assert torch.allclose(middle, torch.tensor([15.5, 23.5]), atol=1.0)


def test_random_boxes_take_the_share_of_the_grid_in_any_dimension():
    for shape in ((96, 96), (64, 64, 64)):
        low, high = extents(draw_boxes(100, shape, (0.5, 0.5), "random", rng())).unbind(1)
        fraction = (high - low + 1) / torch.tensor(shape)
        assert fraction.prod(1).mean() == pytest.approx(0.5, abs=0.01)
        assert (fraction.amax(1) - fraction.amin(1)).mean() > 0.15


def test_every_image_has_a_box_of_its_own():
    boxes = draw_boxes(4, (32, 32), (0.25, 0.5), "square", rng())
    assert boxes.shape == (4, 1, 32, 32)
    assert len({tuple(box.flatten().tolist()) for box in boxes}) == 4


@pytest.mark.parametrize(("ndim", "sides", "channels"), [(2, (16, 24), 3), (3, (16, 16, 16), 1)])
def test_terms_are_dice_on_the_source_and_agreement_on_mixtures(ndim, sides, channels):
    method, batch = make_method(ndim), make_batch(sides, channels, count=4)
    detach_teacher(method)
    terms = method.training_step(batch, make_context(epoch=50))
    boxes = draw_boxes(2, sides, (0.25, 0.5), "square", rng(9)).float()
    source, target = (method.prepare(x, batch.foreground) for x in (batch.image, batch.target))
    mixed = (1 - boxes) * target[:2] + boxes * target[2:]
    views = method.teacher(target).logits.softmax(1)
    expected = (1 - boxes) * views[:2] + boxes * views[2:]
    disagreement = (method.network(mixed).logits.softmax(1) - expected).square().mean()
    assert terms["segmentation"].item() == pytest.approx(
        soft_dice(method.network(source).logits, batch.label).item(), abs=1e-6
    )
    assert terms["consistency"].item() == pytest.approx(math.exp(-5 * 0.75**2) * disagreement.item(), rel=1e-4)
    assert disagreement > 1e-5


def test_without_boxes_it_is_mean_teacher_consistency_on_the_first_image(monkeypatch):
    method, batch = make_method(rampup=0.0), make_batch()
    detach_teacher(method)
    nothing = torch.zeros((1, 1, 16, 16), dtype=torch.bool)
    monkeypatch.setattr("ssdg.methods.cutmix.draw_boxes", lambda *_: nothing)
    first = method.prepare(batch.target[:1], batch.target_foreground[:1])
    plain = (method.network(first).logits.softmax(1) - method.teacher(first).logits.softmax(1)).square().mean()
    assert method.training_step(batch, make_context())["consistency"].item() == pytest.approx(plain.item(), rel=1e-4)
    changed = replace(batch, target=torch.cat([batch.target[:1], 1 - batch.target[1:]]))
    terms = method.training_step(changed, make_context())
    assert terms["consistency"].item() == pytest.approx(plain.item(), rel=1e-4)


def train(method, steps, batch=None):
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=1e-2)
    batch = batch or make_batch()
    for step in steps:
        optimizer.zero_grad()
        sum(method.training_step(batch, make_context(step)).values()).backward()
        optimizer.step()


def weights(network):
    return [weight.detach().clone() for weight in network.parameters()]


def test_teacher_is_the_student_after_the_first_step_and_their_average_later():
    method = make_method()
    before = weights(method.network)
    train(method, [0])
    assert all(map(torch.equal, weights(method.teacher), before))
    after_one = weights(method.network)
    assert not any(map(torch.equal, after_one, before))
    method.update_teacher(1)
    assert all(map(torch.equal, weights(method.teacher), after_one))
    train(method, [1])
    after_two = weights(method.network)
    method.update_teacher(2)
    for mean, one, two in zip(weights(method.teacher), after_one, after_two, strict=True):
        assert torch.allclose(mean, (one + two) / 2, atol=1e-7)


def test_decay_grows_to_its_limit():
    method = make_method(ema_decay=0.9)
    with torch.no_grad():
        for mean, weight in zip(method.teacher.parameters(), method.network.parameters(), strict=True):
            mean.fill_(1.0)
            weight.zero_()
    for step, decay in ((4, 0.75), (5, 0.8), (1000, 0.9)):
        start = weights(method.teacher)
        method.update_teacher(step)
        assert all(torch.allclose(new, decay * old) for new, old in zip(weights(method.teacher), start, strict=True))


def test_teacher_is_never_optimised_and_gets_no_gradient():
    method = make_method(rampup=0.0)
    detach_teacher(method)
    assert not any(weight.requires_grad for weight in method.teacher.parameters())
    sum(method.training_step(make_batch(), make_context()).values()).backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    assert any(weight.grad.abs().max() > 0 for weight in method.network.parameters())


def test_no_gradient_flows_through_what_the_teacher_says():
    method = make_method(rampup=0.0)
    detach_teacher(method)
    method.teacher.requires_grad_(True)
    method.training_step(make_batch(), make_context())["consistency"].backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())


def test_state_holds_the_teacher():
    method = make_method()
    train(method, range(3))
    other = make_method()
    other.load_state_dict(method.state_dict())
    assert all(map(torch.equal, weights(other.teacher), weights(method.teacher)))
    assert not all(map(torch.equal, weights(method.teacher), weights(method.network)))


@pytest.mark.parametrize(("epoch", "weight"), [(0, 0.0067379), (50, 0.0600548), (99, 0.2794), (200, 1.0), (299, 1.0)])
def test_the_official_weight_rises_over_200_epochs_whatever_the_run(epoch, weight):
    method = make_method(schedule="official")
    for total in (100, 300):
        found = method.consistency_weight(make_context(epoch=epoch, total_epochs=total))
        assert found == pytest.approx(weight, rel=1e-3)


@pytest.mark.parametrize("total", [60, 100, 300])
def test_the_weight_is_a_function_of_the_share_of_the_training(total):
    for share, weight in ((0, 0.0067379), (0.5, 0.0600548), (0.9, math.exp(-5 * 0.55**2))):
        context = make_context(epoch=round(share * total), total_epochs=total)
        assert make_method().consistency_weight(context) == pytest.approx(weight, rel=1e-3)
    last = make_context(epoch=total - 1, total_epochs=total)
    assert make_method(rampup=0.5).consistency_weight(last) == 1
    assert make_method(rampup=0.0, consistency=3.0).consistency_weight(make_context()) == 3.0


def test_in_a_run_of_the_authors_length_both_schedules_are_the_same():
    share, official = make_method(), make_method(schedule="official")
    for epoch in (0, 10, 99):
        assert share.consistency_weight(make_context(epoch=epoch)) == official.consistency_weight(
            make_context(epoch=epoch)
        )


def test_target_labels_cannot_reach_it():
    assert not any("target" in field.name and "label" in field.name for field in fields(Batch))
    foreground = torch.ones((4, 1, 16, 16), dtype=torch.bool)
    images = (torch.rand((4, 3, 16, 16), generator=rng()) * 255).byte()
    label = torch.randint(3, (4, 1, 16, 16), generator=rng(1), dtype=torch.uint8)
    source = Pool(images, label, foreground, torch.arange(4))
    found = []
    for garbage in (None, torch.full_like(label, 2), label):
        target = Pool(images.flip(0), garbage, foreground, torch.arange(4))
        batch = Batches(source, target, batch_size=2, seed=0).at(0)
        found.append(make_method().training_step(batch, make_context()))
    for name, term in found[0].items():
        assert torch.equal(term, found[1][name])
        assert torch.equal(term, found[2][name])


def test_source_images_are_not_mixed_and_their_labels_are_used():
    method, batch, changed = make_method(), make_batch(), make_batch()
    terms = method.training_step(batch, make_context())
    other_target = method.training_step(replace(batch, target=1 - batch.target), make_context())
    assert torch.equal(terms["segmentation"], other_target["segmentation"])
    changed.label.zero_()
    other_label = method.training_step(changed, make_context())
    assert terms["segmentation"] != other_label["segmentation"]
    assert torch.equal(terms["consistency"], other_label["consistency"])


def test_a_batch_without_targets_is_an_error():
    with pytest.raises(ValueError, match="target"):
        make_method().training_step(replace(make_batch(), target=None), make_context())


def test_an_odd_target_image_is_left_out():
    method, batch = make_method(rampup=0.0), make_batch(count=3)
    detach_teacher(method)
    pair = replace(batch, target=batch.target[:2], target_foreground=batch.target_foreground[:2])
    odd, even = (method.training_step(b, make_context())["consistency"] for b in (batch, pair))
    assert torch.equal(odd, even)


def test_variants_of_the_disagreement():
    torch.manual_seed(0)
    logits, expected = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8).mul(3).softmax(1)
    mean = make_method().disagreement(logits, expected)
    assert mean.item() == pytest.approx((logits.softmax(1) - expected).square().mean().item(), rel=1e-5)
    assert make_method(over_classes="sum").disagreement(logits, expected).item() == pytest.approx(3 * mean.item())
    kl = make_method(divergence="kl").disagreement(logits, expected)
    by_torch = torch.nn.functional.kl_div(logits.log_softmax(1), expected, reduction="none").mean()
    assert kl.item() == pytest.approx(by_torch.item(), rel=1e-5)
    share = (expected.amax(1) >= 0.9).float().mean().item()
    assert 0 < share < 1
    sure = make_method(confidence=0.9).disagreement(logits, expected)
    assert sure.item() == pytest.approx(share * mean.item(), rel=1e-5)


def test_prediction_is_the_student_unless_the_teacher_is_asked_for():
    batch = make_batch()
    for evaluated in ("student", "teacher"):
        method = make_method(evaluated=evaluated)
        detach_teacher(method)
        network = method.teacher if evaluated == "teacher" else method.network
        with torch.no_grad():
            expected = network(method.prepare(batch.image, batch.foreground)).logits
            assert torch.equal(method.predict(batch.image, batch.foreground), expected)


def test_example_shows_target_images_with_boxes_of_others():
    method, batch = make_method(), make_batch(count=4)
    shown = method.example(batch, rng(3))
    target = method.prepare(batch.target, batch.target_foreground)
    boxes = draw_boxes(4, (16, 16), (0.25, 0.5), "square", rng(3))
    assert torch.equal(shown, torch.where(boxes, target[[2, 3, 0, 1]], target))
    alone = method.example(replace(batch, target=None, target_foreground=None), rng(3))
    assert alone.shape == batch.image.shape


@pytest.mark.parametrize(
    "settings",
    [{"area": (0.5, 0.25)}, {"area": (0.0, 0.5)}, {"area": (0.5,)}, {"consistency": -1.0}, {"rampup": -1.0},
     {"ema_decay": 1.1}, {"confidence": -0.1}],
)  # fmt: skip
def test_impossible_settings_are_errors_that_name_the_field(settings):
    with pytest.raises(ValueError, match=rf"method\.{next(iter(settings))}"):
        CutMixConfig(**settings)
