"""DSA: what each term reaches, who is who in the symmetry, and what the critics are shown."""

from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional as F

from ssdg.benchmark.data.loader import Batches, Pool
from ssdg.benchmark.spec import OptimizerConfig
from ssdg.benchmark.training.train import minimise, optimized_modules
from ssdg.methods.base import Batch, StepContext
from ssdg.methods.dsa import DSA, DSAConfig
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet

GRIDS = {2: (3, 16, 16), 3: (1, 16, 16, 16)}
WEIGHTS = ("reconstruction", "adversarial_image", "adversarial_prediction")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2):
    channels, *sides = GRIDS[ndim]
    generator, foreground = rng(), torch.ones((2, 1, *sides), dtype=torch.bool)
    image, target = torch.rand((2, 2, channels, *sides), generator=generator)
    label = torch.randint(3, (2, 1, *sides), generator=generator)
    return Batch(image, label, foreground, target.square(), foreground)


def make_method(ndim=2, **settings):
    torch.manual_seed(0)
    network = SegResNet(ndim, GRIDS[ndim][0], 3, init_filters=8)
    return DSA(network, DSAConfig(**{"critic_filters": 4, **settings}))


def make_context(seed=9):
    return StepContext(rng=rng(seed), step=0, total_steps=10, epoch=0, total_epochs=2)


PARTS = ("network", "to_source", "to_target", "adversary.source", "adversary.target", "adversary.prediction")


def reached(method, term):
    """Return the parts of a method that have a gradient of a term."""
    for weight in method.parameters():
        weight.grad = None
    term.backward(retain_graph=True)
    grown = {}
    for part in PARTS:
        grads = [weight.grad for weight in method.get_submodule(part).parameters()]
        grown[part] = any(grad is not None and bool(grad.abs().max() > 0) for grad in grads)
    return {part for part in PARTS if grown[part]}


def test_each_term_of_the_network_reaches_the_modules_it_is_meant_for():
    method = make_method(cycle=1.0)
    terms = method.training_step(make_batch(), make_context())
    decoders = {"network", "to_source", "to_target"}
    assert reached(method, terms["segmentation"]) == {"network"}
    assert reached(method, terms["translated_segmentation"]) == {"network", "to_target"}
    assert reached(method, terms["reconstruction"]) == decoders
    assert reached(method, terms["cycle"]) == decoders
    assert reached(method, terms["adversarial_image"]) == decoders | {"adversary.source", "adversary.target"}
    expected = {"network", "to_source", "adversary.prediction"}
    assert reached(method, terms["adversarial_prediction"]) == expected


def test_each_critic_has_a_term_of_its_own():
    method = make_method()
    terms = method.adversary_step(make_batch(), make_context())
    assert set(terms) == {"critic_target", "critic_source", "critic_prediction"}
    for name, term in terms.items():
        assert reached(method, term) == {name.replace("critic_", "adversary.")}


def test_the_loop_moves_critics_only_in_their_own_step():
    method, batch = make_method(), make_batch()
    modules = optimized_modules(method, OptimizerConfig(lr=1e-3))
    critics = [weight.detach().clone() for weight in method.adversary.parameters()]
    minimise(method.training_step(batch, make_context()), modules[0], clip=None)
    assert all(map(torch.equal, critics, method.adversary.parameters()))
    assert all(weight.grad is None for weight in method.adversary.parameters())
    others = [weight.detach().clone() for weight in modules[0].parameters]
    minimise(method.adversary_step(batch, make_context()), modules[1], clip=None)
    assert all(map(torch.equal, others, modules[0].parameters))
    assert not any(map(torch.equal, critics, method.adversary.parameters()))


@pytest.mark.parametrize("lr", [1e-4, 1e-3, 3e-3])
def test_critics_learn_at_a_tenth_of_the_rate_or_at_another_share(lr):
    modules = optimized_modules(make_method(), OptimizerConfig(lr=lr))
    assert [module.rate for module in modules] == [lr, pytest.approx(lr / 10)]
    share = optimized_modules(make_method(critic_lr_ratio=0.5), OptimizerConfig(lr=lr))
    assert share[1].rate == pytest.approx(lr / 2)
    assert optimized_modules(make_method(), OptimizerConfig())[1].rate == 1e-5, "the authors' own, exactly"


@pytest.mark.parametrize("ndim", [2, 3])
def test_terms_follow_their_definitions(ndim):
    method, batch = make_method(ndim).eval(), make_batch(ndim)  # without dropout
    terms = method.training_step(batch, make_context())
    s, t = (method.prepare(image, batch.foreground) for image in (batch.image, batch.target))
    at_s, at_t = method.network(s), method.network(t)
    st, ts = method.to_target(at_s.bottleneck), method.to_source(at_t.bottleneck)
    at_st, at_ts = method.network(st), method.network(ts)
    critics = method.adversary

    def fools(critic, x):
        return -F.logsigmoid(critic(x, rng())).mean()

    redrawn = F.mse_loss(method.to_source(at_s.bottleneck), s) + F.mse_loss(method.to_target(at_t.bottleneck), t)
    predictions = [at.logits.softmax(1) for at in (at_t, at_ts)]
    expected = {
        "segmentation": soft_dice(at_s.logits, batch.label),
        "translated_segmentation": soft_dice(at_st.logits, batch.label),
        "reconstruction": 0.01 * redrawn,
        "adversarial_image": 0.01 * (fools(critics.target, st) + fools(critics.source, ts)),
        "adversarial_prediction": 0.01 * sum(fools(critics.prediction, p) for p in predictions),
    }
    assert list(terms) == list(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_critics_see_real_before_fake_and_what_the_updated_weights_make():
    method, batch = make_method().eval(), make_batch()
    stale = method.adversary_step(batch, make_context())
    own = optimized_modules(method, OptimizerConfig(lr=1e-2))[0]
    minimise(method.training_step(batch, make_context()), own, None)
    terms = method.adversary_step(batch, make_context())
    assert all(terms[name] != stale[name] for name in terms)
    with torch.no_grad():
        styles = method.styles(batch)
        critics = method.adversary

        def apart(critic, real, fake):
            """Binary cross-entropy with real images as 1 and the others as 0, over both halves."""
            return -(F.logsigmoid(critic(real, rng())) + F.logsigmoid(-critic(fake, rng()))).mean() / 2

        source, target, source_to_target, target_to_source = styles
        assert terms["critic_target"].item() == pytest.approx(
            apart(critics.target, target.images, source_to_target.images).item(), rel=1e-5
        )
        assert terms["critic_source"].item() == pytest.approx(
            apart(critics.source, source.images, target_to_source.images).item(), rel=1e-5
        )
        both = apart(critics.prediction, source.probabilities, target.probabilities)
        both = both + apart(critics.prediction, source_to_target.probabilities, target_to_source.probabilities)
        assert terms["critic_prediction"].item() == pytest.approx(both.item(), rel=1e-5)


def test_exchanging_the_domains_exchanges_decoders_and_critics():
    method, batch = make_method(cycle=1.0).eval(), make_batch()
    network = (method.training_step(batch, make_context()), method.adversary_step(batch, make_context()))
    mirror = make_method(cycle=1.0).eval()
    mirror.to_source, mirror.to_target = mirror.to_target, mirror.to_source
    critics = mirror.adversary
    critics.source, critics.target = critics.target, critics.source
    exchanged = replace(batch, image=batch.target, target=batch.image)
    mirrored = (mirror.training_step(exchanged, make_context()), mirror.adversary_step(exchanged, make_context()))
    for name in ("reconstruction", "adversarial_image", "cycle"):
        assert mirrored[0][name].item() == pytest.approx(network[0][name].item(), rel=1e-5), name
    for one, other in (("critic_target", "critic_source"), ("critic_source", "critic_target")):
        assert mirrored[1][one].item() == pytest.approx(network[1][other].item(), rel=1e-5)
    assert network[1]["critic_target"].item() != pytest.approx(network[1]["critic_source"].item(), rel=1e-5)


def test_with_all_weights_zero_only_the_two_supervised_terms_are_left():
    method, batch = make_method(**dict.fromkeys(WEIGHTS, 0.0)), make_batch()
    total = sum(method.training_step(batch, make_context()).values())
    styles = method.styles(batch)
    expected = sum(soft_dice(at.logits, batch.label) for at in (styles.source, styles.source_to_target))
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_cycle_is_a_translation_there_and_back():
    method, batch = make_method(cycle=2.0), make_batch()
    term = method.training_step(batch, make_context())["cycle"]
    s, t = (method.prepare(image, batch.foreground) for image in (batch.image, batch.target))
    st, ts = method.to_target(method.network(s).bottleneck), method.to_source(method.network(t).bottleneck)
    back = F.l1_loss(method.to_source(method.network(st).bottleneck), s)
    back = back + F.l1_loss(method.to_target(method.network(ts).bottleneck), t)
    assert term.item() == pytest.approx(2 * back.item(), rel=1e-4)
    assert "cycle" not in make_method().training_step(batch, make_context())


@pytest.mark.parametrize("ndim", [2, 3])
def test_checkpointing_changes_memory_and_nothing_else(ndim):
    found = []
    for checkpointing in (False, True):
        method, kept = make_method(ndim, checkpointing=checkpointing, cycle=1.0), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x):
            terms = method.training_step(make_batch(ndim), make_context())
            used = sum(kept)
        minimise(terms, optimized_modules(method, OptimizerConfig(lr=1e-3))[0], clip=None)
        grads = [weight.grad for name, weight in method.named_parameters() if not name.startswith("adversary.")]
        found.append((used, terms, grads))
    (plain, terms, grads), (less, same_terms, same_grads) = found
    assert less < 0.7 * plain
    assert all(torch.equal(term, same_terms[name]) for name, term in terms.items())
    assert all(map(torch.equal, grads, same_grads))


def test_target_labels_cannot_reach_it():
    assert not any("target" in field.name and "label" in field.name for field in fields(Batch))
    foreground = torch.ones((4, 1, 16, 16), dtype=torch.bool)
    images = (torch.rand((4, 3, 16, 16), generator=rng()) * 255).byte()
    label = torch.randint(3, (4, 1, 16, 16), generator=rng(1), dtype=torch.uint8)
    source, found = Pool(images, label, foreground, torch.arange(4)), []
    for garbage in (None, torch.full_like(label, 2)):
        target = Pool(images.flip(0), garbage, foreground, torch.arange(4))
        batch, method = Batches(source, target, batch_size=2, seed=0).at(0), make_method()
        found.append({**method.training_step(batch, make_context()), **method.adversary_step(batch, make_context())})
    assert all(torch.equal(term, found[1][name]) for name, term in found[0].items())


def test_prediction_needs_neither_decoders_nor_critics():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
    method.to_source = method.to_target = method.adversary = None
    with torch.no_grad():
        assert torch.equal(method.predict(batch.image, batch.foreground), expected)


def test_decoders_follow_the_network_and_are_the_authors_at_32_filters():
    method = DSA(SegResNet(3, 1, 8, init_filters=32))
    widths = [layer.out_channels for layer in method.to_target.layers if hasattr(layer, "out_channels")]
    assert widths == [128, 64, 32, 1]
    first = {name: critic.convolutions[0] for name, critic in method.adversary.named_children()}
    assert {name: (c.in_channels, c.out_channels) for name, c in first.items()} == {
        "target": (1, 32), "source": (1, 32), "prediction": (8, 32),
    }  # fmt: skip


def test_a_batch_without_targets_is_an_error():
    with pytest.raises(ValueError, match="target"):
        make_method().training_step(replace(make_batch(), target=None), make_context())


@pytest.mark.parametrize("name", [*WEIGHTS, "cycle", "critic_lr_ratio", "critic_filters", "critic_dropout"])
def test_impossible_settings_are_errors_that_name_the_field(name):
    with pytest.raises(ValueError, match=rf"method\.{name} must"):
        DSAConfig(**{name: -1})
