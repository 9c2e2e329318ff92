"""Every method keeps the contract, and every check of the contract can fail."""

import random
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
import torch
from torch import nn

from ssdg.benchmark.training.contract import CHECKS, WINDOW_CHECKS, CheckResult, check_method, run_check
from ssdg.benchmark.training.contract_fixture import MethodUnderTest, differing
from ssdg.benchmark.training.contract_needs import views_follow_labels
from ssdg.methods import METHODS, load_method, registry
from ssdg.methods.base import Method, standardise
from ssdg.methods.freesdg import FreeSDG
from ssdg.methods.losses import soft_dice

SUBJECTS = [(name, ndim) for name, entry in registry().items() for ndim in entry.ndims]
SUBJECTS += [("ssdg.methods.template:Template", 2), ("ssdg.methods.template:Template", 3)]
WINDOWED = [(name, ndim) for name, ndim in SUBJECTS if load_method(name).windows]


# Some checks take seconds in 3D, and what they find is seldom of one dimension: on volumes `erm` alone has them here,
# and every method on a GPU (tests/gpu).
SLOW_IN_3D = {"bfloat16"}
SLOW_IN_3D_WINDOWS = set(WINDOW_CHECKS) - {"finite terms", "prediction", "normalisation"}


def checked(subjects, checks, slow):
    return [
        (name, ndim, check)
        for name, ndim in subjects
        for check in checks
        if ndim == 2 or name == "erm" or check not in slow
    ]


@pytest.mark.parametrize(("name", "ndim", "check"), checked(SUBJECTS, CHECKS, SLOW_IN_3D))
def test_method_keeps_the_contract(name, ndim, check):
    result = run_check(check, MethodUnderTest(load_method(name), ndim))
    assert result.passed, result.message


@pytest.mark.parametrize(("name", "ndim", "check"), checked(WINDOWED, WINDOW_CHECKS, SLOW_IN_3D_WINDOWS))
def test_method_keeps_the_contract_in_windows(name, ndim, check):
    result = run_check(check, MethodUnderTest(load_method(name), ndim, windowed=True))
    assert result.passed, result.message


@pytest.mark.parametrize("name", METHODS)
def test_labels_are_said_to_be_needed_where_training_images_follow_them_and_nowhere_else(name):
    subject = MethodUnderTest(load_method(name), 2)
    assert views_follow_labels(subject) == ("labels" in METHODS[name].needs)


class NotATerm(Method):
    def training_step(self, batch, context):
        return {"segmentation": self.network(self.prepare(batch.image, batch.foreground)).logits}


class NanTerm(Method):
    def training_step(self, batch, context):
        return {name: term * float("nan") for name, term in super().training_step(batch, context).items()}


class TermOfAColumn(Method):
    def training_step(self, batch, context):
        return {"epoch": sum(super().training_step(batch, context).values())}


class Frozen(Method):
    def __init__(self, network, config=None):
        super().__init__(network, config)
        network.convInit.requires_grad_(False)


class WrongShape(Method):
    def predict(self, image, foreground):
        return super().predict(image, foreground).argmax(dim=1)


class RandomPrediction(Method):
    def predict(self, image, foreground):
        return super().predict(image + torch.rand_like(image), foreground)


class BatchStatistics(Method):
    def prepare(self, image, foreground, frame=None):
        return (image - image.mean()) / image.std() + len(image)


class Dimmed(Method):
    """A gain for all values of an image."""

    def augment(self, batch, rng):
        gain = torch.rand((len(batch.image), *[1] * (batch.image.ndim - 1)), generator=rng, device=batch.image.device)
        return replace(batch, image=batch.image * (1 - 0.3 * gain))


class InPlace(Method):
    def augment(self, batch, rng):
        batch.image.mul_(0.5)
        return batch


class InPlacePrediction(Method):
    def predict(self, image, foreground):
        foreground[:] = True
        return super().predict(image, foreground)


class GlobalNoise(Method):
    def augment(self, batch, rng):
        return replace(batch, image=batch.image + 0.1 * torch.randn_like(batch.image))


class PythonNoise(Method):
    def augment(self, batch, rng):
        random.random()
        return batch


class HiddenState(Method):
    steps = 0

    def training_step(self, batch, context):
        self.steps += 1
        return {name: term * self.steps for name, term in super().training_step(batch, context).items()}


class LateParameter(Method):
    """Its bank is drawn while training and not part of the state."""

    def training_step(self, batch, context):
        if not hasattr(self, "centre"):
            self.centre = self.network(standardise(batch.image, None)).logits.detach()
        logits = self.network(standardise(batch.image, None)).logits
        return {"segmentation": soft_dice(logits, batch.label), "pull": (logits - self.centre).square().mean()}


class LostStatistics(Method):
    """Its predictions depend on a running mean that a checkpoint lacks."""

    def __init__(self, network, config=None):
        super().__init__(network, config)
        self.register_buffer("centre", torch.zeros(()), persistent=False)

    def training_step(self, batch, context):
        self.centre.lerp_(batch.image.mean(), 0.1)
        return super().training_step(batch, context)

    def predict(self, image, foreground):
        return super().predict(image - self.centre, foreground)


class IgnoredAugment(Method):
    def training_step(self, batch, context):
        logits = self.network(self.prepare(batch.image, batch.foreground)).logits
        return {"segmentation": soft_dice(logits, batch.label)}


class RepeatedAugment(Method):
    def training_step(self, batch, context):
        return super().training_step(self.augment(batch, context.rng), context)


class AugmentedTwoViews(Method):
    """Draws one augmentation per view instead of two views of one augmented batch."""

    def training_step(self, batch, context):
        first, second = super().training_step(batch, context), super().training_step(batch, context)
        return {"first": first["segmentation"], "second": second["segmentation"]}


class PlainLabel(Method):
    def training_step(self, batch, context):
        image = self.augment(batch, context.rng).image
        return {"segmentation": soft_dice(self.network(standardise(image, None)).logits, batch.label)}


class PlainExample(Method):
    def example(self, batch, rng):
        return self.prepare(batch.image, batch.foreground)


class SecretTarget(Method):
    def training_step(self, batch, context):
        terms = super().training_step(batch, context)
        if batch.target is None:
            return terms
        logits = self.network(self.prepare(batch.target, batch.target_foreground)).logits
        return {**terms, "entropy": logits.softmax(1).square().mean()}


class SecretLabels(Method):
    def augment(self, batch, rng):
        return replace(batch, image=torch.where(batch.label > 1, batch.image.square(), batch.image))


class UnknownSetting(Method):
    access = "dg"


class WithAdversary(Method):
    """A correct one: an (absurd) critic of the decoder map."""

    def __init__(self, network, config=None):
        super().__init__(network, config)
        self.adversary = nn.Linear(8, 1)

    def adversary_step(self, batch, context):
        batch = self.augment(batch, context.rng)
        features = self.network(self.prepare(batch.image, batch.foreground)).decoder
        return {"critic": self.adversary(features.mean(tuple(range(2, features.ndim)))).square().mean()}


class PlainAdversary(WithAdversary):
    def adversary_step(self, batch, context):
        features = self.network(self.prepare(batch.image, batch.foreground)).decoder
        return {"critic": self.adversary(features.mean(tuple(range(2, features.ndim)))).square().mean()}


class SharedAdversary(WithAdversary):
    def __init__(self, network, config=None):
        super().__init__(network, config)
        self.adversary = network.conv_final


class MeddlingAdversary(WithAdversary):
    def adversary_step(self, batch, context):
        with torch.no_grad():
            self.network.convInit.conv.weight.mul_(0.9)
        return super().adversary_step(batch, context)


class SelfBackwardAdversary(WithAdversary):
    def adversary_step(self, batch, context):
        terms = super().adversary_step(batch, context)
        terms["critic"].backward(retain_graph=True)
        return terms


class CountingAdversary(WithAdversary):
    """Moves a buffer that predictions may depend on, as batch normalisation does."""

    def __init__(self, network, config=None):
        super().__init__(network, config)
        self.register_buffer("passes", torch.zeros(()))

    def adversary_step(self, batch, context):
        self.passes += 1
        return super().adversary_step(batch, context)


class MixedDomains(Method):
    """Source and target in one pass of a network with batch normalisation."""

    access = "uda"

    def __init__(self, network, config=None):
        super().__init__(network, config)
        network.after(0, nn.BatchNorm2d(network.widths[0]))

    def training_step(self, batch, context):
        batch = self.augment(batch, context.rng)
        pairs = (batch.image, batch.foreground), (batch.target, batch.target_foreground)
        logits = self.network(torch.cat([self.prepare(*pair) for pair in pairs])).logits
        return {"segmentation": soft_dice(logits[: len(batch.image)], batch.label)}


class NamesakeAdversary(WithAdversary):
    def adversary_step(self, batch, context):
        return {"segmentation": super().adversary_step(batch, context)["critic"]}


class IdleAdversary(WithAdversary):
    def adversary_step(self, batch, context):
        return {"critic": 0 * super().adversary_step(batch, context)["critic"]}


class PlainConfig(Method):
    class Config:
        pass


@dataclass(frozen=True)
class Unsourced:
    strength: float = 1.0


class UnsourcedConfig(Method):
    Config = Unsourced


@dataclass(frozen=True)
class Lossy:
    sizes: tuple = field(default=((1, 2), (3, 4)), metadata={"source": "choice"})


class LossyConfig(Method):
    Config = Lossy


class Overflow(Method):
    """Finite in float32; log of a probability rounded to 0 elsewhere."""

    def training_step(self, batch, context):
        terms = dict(super().training_step(batch, context))
        decoder = self.network(self.prepare(batch.image, batch.foreground)).decoder
        if decoder.dtype == torch.bfloat16:
            terms["entropy"] = (decoder * 0).log().mean()
        return terms


class ForegroundMean(Method):
    def prepare(self, image, foreground, frame=None):
        inside = (image * foreground).sum() / foreground.sum()
        return image - inside


BROKEN = [
    (NotATerm, "finite terms", "0-d"),
    (NanTerm, "finite terms", "segmentation"),
    (TermOfAColumn, "finite terms", "'epoch' has the name of another column"),
    (Frozen, "every network weight moves", "convInit"),
    (WrongShape, "predict", "shape"),
    (RandomPrediction, "predict", "deterministic"),
    (BatchStatistics, "predict on a single image", "depends on the others"),
    (InPlace, "inputs unchanged", "batch.image"),
    (InPlacePrediction, "inputs unchanged", "batch.foreground"),
    (GlobalNoise, "reproducible", "context.rng"),
    (PythonNoise, "reproducible", "context.rng"),
    (HiddenState, "resume", "parameters and buffers"),
    (LateParameter, "resume", "parameters and buffers"),
    (LostStatistics, "resume", "buffers that are saved"),
    (IgnoredAugment, "augment", "training_step never calls"),
    (RepeatedAugment, "augment", "training_step calls self.augment 2 times"),
    (AugmentedTwoViews, "augment", "training_step calls self.augment 2 times"),
    (PlainLabel, "augment", "training_step takes images, labels"),
    (PlainExample, "augment", "example never calls"),
    (PlainAdversary, "augment", "adversary_step never calls"),
    (Dimmed, "effect", "prepare z-scores each image afterwards"),
    (SecretTarget, "access", "uda"),
    (UnknownSetting, "access", "'dg'"),
    (SecretLabels, "labels", "frozenset({'labels'})"),
    (SharedAdversary, "adversary apart", "none shared"),
    (MeddlingAdversary, "adversary apart", "convInit"),
    (SelfBackwardAdversary, "adversary apart", "gradient"),
    (CountingAdversary, "adversary apart", "passes"),
    (MixedDomains, "domains apart", "a pass of its own"),
    (IdleAdversary, "adversary apart", "do not move"),
    (NamesakeAdversary, "adversary apart", "'segmentation' has the name of another column"),
    (PlainConfig, "configuration", "frozen dataclass"),
    (UnsourcedConfig, "configuration", "strength"),
    (LossyConfig, "configuration", "JSON"),
    (Overflow, "bfloat16", "entropy"),
    (ForegroundMean, "empty and full foreground", "all False"),
]


@pytest.mark.parametrize(("cls", "check", "named"), BROKEN, ids=[cls.__name__ for cls, *_ in BROKEN])
def test_check_catches_a_method_that_breaks_it(cls, check, named):
    result = run_check(check, MethodUnderTest(cls, 2))
    assert not result.passed
    assert named in result.message


class OwnStatistics(Method):
    """Normalises a window by itself."""

    def prepare(self, image, foreground, frame=None):
        return standardise(image, foreground)


class NoMargin(FreeSDG):
    """Filters windows without what lies around them."""

    def margin(self):
        return 0


class OwnPrediction(Method):
    """Puts what it does to a prediction where windows do not come by."""

    def predict(self, image, foreground):
        return 2 * super().predict(image, foreground)


class MarginForgotten(FreeSDG):
    """Trains on its margin."""

    def views(self, batch, rng):
        return super().views(replace(batch, margin=0), rng)


BROKEN_IN_WINDOWS = [
    (OwnStatistics, "normalisation", "differently from its whole image"),
    (NoMargin, "normalisation", "differently from its whole image"),
    (OwnPrediction, "prediction", "override logits"),
    (MarginForgotten, "finite terms", "size"),
]


@pytest.mark.parametrize(
    ("cls", "check", "named"), BROKEN_IN_WINDOWS, ids=[c.__name__ for c, *_ in BROKEN_IN_WINDOWS]
)
def test_check_catches_a_method_that_breaks_it_in_windows(cls, check, named):
    result = run_check(check, MethodUnderTest(cls, 2, windowed=True))
    assert not result.passed
    assert named in result.message


def test_windows_of_a_method_that_needs_whole_images_are_not_checked():
    class Whole(OwnStatistics):
        windows = False

    assert not any("windows" in result.name for result in results_of(Whole))


def test_every_check_is_shown_to_fail():
    assert {check for _, check, _ in BROKEN} == set(CHECKS)
    assert {check for _, check, _ in BROKEN_IN_WINDOWS} | set(CHECKS) == {*CHECKS, *WINDOW_CHECKS}


def test_on_a_gpu_what_two_computations_give_may_differ_by_rounding():
    class OnGpu(torch.Tensor):
        device = torch.device("cuda")

    for kind, rounding in ((torch.Tensor, {"x"}), (OnGpu, set())):
        value = torch.ones(3).as_subclass(kind)
        assert set(differing({"x": value}, {"x": value * (1 + 1e-6)})) == rounding
        assert differing({"x": value}, {"x": value * 1.01}) == ["x"]
        assert differing({"x": value}, {"x": value[:1]}) == differing({"x": value}, {}) == ["x"]
        assert set(differing({"x": value}, {"x": value + 3e-3}, steps=2)) == rounding


@cache
def results_of(cls):
    return check_method(cls, ndims=[2])


def test_a_correct_adversary_passes_every_check():
    assert [result.message for result in results_of(WithAdversary) if not result.passed] == []


class AdaptsToTheImage(Method):
    """Test-time gradients, which predictions are made without."""

    def logits(self, prepared, foreground):
        with torch.enable_grad():
            shift = torch.zeros((), requires_grad=True)
            entropy = super().logits(prepared + shift, foreground).softmax(dim=1).square().mean()
            [gradient] = torch.autograd.grad(entropy, shift)
        return super().logits(prepared + gradient, foreground)


def test_a_method_may_use_gradients_in_prediction():
    for check, windowed in (("predict", False), ("prediction", True)):
        result = run_check(check, MethodUnderTest(AdaptsToTheImage, 2, windowed=windowed))
        assert result.passed, result.message


def test_results_name_dimension_and_check_and_an_exception_is_a_failure():
    class Crash(Method):
        ndims = frozenset({2})

        def training_step(self, batch, context):
            raise ZeroDivisionError("in the method")

    results = check_method(Crash)
    names = [*[f"2D: {name}" for name in CHECKS], *[f"2D, windows: {name}" for name in WINDOW_CHECKS]]
    assert [result.name for result in results] == names
    line = Crash.training_step.__code__.co_firstlineno + 1
    message = f"ZeroDivisionError: in the method (test_contract.py, line {line})"
    assert results[0] == CheckResult("2D: finite terms", False, message)
    assert any(result.passed for result in results)
