"""The contract's checks that a method declares what it sees and needs, and that what it does arrives."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ssdg.methods.base import Batch, Method
from ssdg.methods.networks.base import Features

from .contract_fixture import CheckFailed, MethodUnderTest, changed, context, copies, differing, modules_of, require
from .train import minimise, require_terms

LEAST_CHANGE = 0.01
"""Of any voxel, in standard deviations of its image, that counts as an augmentation."""


def check_access(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where the terms of a method for the source alone depend on target images."""
    require(subject.cls.access in ("ssdg", "uda"), f"access must be 'ssdg' or 'uda', not {subject.cls.access!r}")
    if subject.cls.access == "uda":
        return
    batches = subject.batch(), subject.batch(targets=True)
    terms, shown = (subject.method().training_step(batch, context(batch)) for batch in batches)
    seen = differing(terms, shown)
    require(not seen, "access is 'ssdg', but the terms depend on target images: declare access = 'uda'")


def check_domains_apart(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where the network's output for a source image depends on the targets of the same pass."""
    if subject.cls.access != "uda":
        return
    batch = subject.batch()
    assert batch.target is not None
    passes = [_passes(subject.method(), each) for each in (batch, replace(batch, target=batch.target.square()))]
    for (images, logits), (others, other_logits) in zip(*passes, strict=True):
        same = [torch.equal(*pair) for pair in zip(images, others, strict=True)]
        close = torch.allclose(logits[same], other_logits[same], rtol=1e-3, atol=1e-3)
        require(
            close,
            "the network's output for a source image depends on the target images of the same pass, through batch "
            "statistics: give each domain a pass of its own, or name the networks without any in `networks`",
        )


def _passes(method: Method, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Return input and logits of each pass of a training step through the network."""
    passes: list[tuple[Tensor, Tensor]] = []

    def record(_network: nn.Module, inputs: tuple[Tensor], features: Features) -> None:
        passes.append((inputs[0].detach(), features.logits.detach()))

    method.network.register_forward_hook(record)
    method.training_step(batch, context(batch))
    return passes


def check_labels(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where images follow their labels and the class does not say so."""
    require(
        "labels" in subject.cls.needs or not views_follow_labels(subject),
        "training images depend on labels: declare needs = frozenset({'labels'})",
    )


def check_effect(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where ``augment`` is overridden, and ``prepare`` undoes whatever it did in eight steps."""
    if subject.cls.augment is Method.augment:
        return
    method, batch = subject.method(), subject.batch()
    plain = method.prepare(batch.image, batch.foreground, batch.frame)
    for step in range(8):
        view = method.augment(batch, context(batch, step).rng)
        shown = method.prepare(view.image, view.foreground, view.frame)
        if not torch.equal(view.label, batch.label) or not torch.allclose(shown, plain, rtol=0, atol=LEAST_CHANGE):
            return
    raise CheckFailed(
        "augment changes nothing that the network sees: prepare z-scores each image afterwards, which undoes a gain "
        "or offset for all values; change contrast, colours or shape, or override prepare"
    )


def views_follow_labels(subject: MethodUnderTest) -> bool:
    """Return whether other labels give the network other images in any of three steps."""
    batch = subject.batch()
    relabelled = replace(batch, label=batch.label.flip(-1))
    views = (
        [{"image": subject.method().example(each, context(each, step).rng)} for each in (batch, relabelled)]
        for step in range(3)
    )
    return any(differing(*pair) for pair in views)


def check_adversary(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where a method and its adversary share weights, gradients or names of terms."""
    method, batch = subject.method(), subject.batch()
    if method.adversary is None:
        return
    modules = modules_of(method)
    named = dict(method.named_parameters())
    critics = {name: p for name, p in named.items() if name.startswith("adversary.")}
    others = {name: p for name, p in named.items() if name not in critics}
    buffers = {name: b for name, b in method.named_buffers() if not name.startswith("adversary.")}
    shared = {id(p) for p in others.values()} & {id(p) for p in method.get_submodule("adversary").parameters()}
    require(len(modules) == 2 and not shared, "the adversary must have parameters of its own, none shared")
    terms = method.training_step(batch, context(batch))
    minimise(terms, modules[0], clip=None)
    require(all(p.grad is None for p in critics.values()), "training_step leaves gradients on the adversary")
    weights, start = copies({**others, **buffers}), copies(critics)
    gradients = copies({name: p.grad for name, p in others.items()})
    adversary_terms = method.adversary_step(batch, context(batch))
    require_terms(adversary_terms, terms)
    minimise(adversary_terms, modules[1], clip=None)
    after = {name: p.grad for name, p in others.items()}
    for name in [*changed(weights, {**others, **buffers}), *changed(gradients, after)]:
        raise CheckFailed(f"adversary_step changes {name} or its gradient")
    moved = changed(start, critics)
    still = [name for name in critics if name not in moved]
    require(not still, f"adversary weights that do not move: {', '.join(still[:5])}")
