"""The loop: it learns, resumes bitwise from any step, selects, stops, and names what diverged."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import Adam

from ssdg.benchmark.data.loader import Batches
from ssdg.benchmark.errors import Diverged, Interrupted, UsageError
from ssdg.benchmark.training import train as loop
from ssdg.benchmark.training.checkpoint import Checkpoints
from ssdg.benchmark.training.inference import Inference
from ssdg.benchmark.training.train import fit
from ssdg.benchmark.training.validation import grid_dsc
from ssdg.methods import MethodError
from ssdg.methods.base import Method
from ssdg.methods.networks.segresnet import SegResNet

from ..conftest import make_pool


class Silent:
    """Notes what it is told."""

    def __init__(self):
        self.steps = []
        self.rows = []
        self.began = None

    def log(self, text):
        self.logged = text

    def start(self, step, total_steps):
        self.began = (step, total_steps)

    def step(self, step):
        self.steps.append(step)

    def epoch(self, row, history):
        self.rows.append(dict(row))


class Noisy(Method):
    """Draws from its generator, so that a resumed run shows whether randomness is a function of the step."""

    def augment(self, batch, rng):
        noise = torch.randn(batch.image.shape, generator=rng, device=batch.image.device)
        return dataclasses.replace(batch, image=(batch.image + 0.1 * noise).clamp(0, 1))


class Adversarial(Method):
    """A second player with a loss of its own."""

    def __init__(self, network, config=None):
        super().__init__(network, config)
        self.adversary = nn.Linear(2, 1)

    def adversary_step(self, batch, context):
        return {"critic": self.adversary(batch.image.mean(dim=(2, 3))[:, :2]).square().mean()}


class Exploding(Method):
    """Has finite terms and, of its last step, a gradient that is not."""

    def training_step(self, batch, context):
        terms = dict(super().training_step(batch, context))
        if context.step == context.total_steps - 1:
            terms["root"] = sum((0 * p.sum()).sqrt() for p in self.parameters())  # 0, whose slope is infinite
        return terms


class Namesake(Method):
    def training_step(self, batch, context):
        return {"held_out_dsc": sum(super().training_step(batch, context).values())}


class Poisoned(Method):
    """Returns NaN in one term from some step on."""

    bad_step = 5

    def training_step(self, batch, context):
        terms = dict(super().training_step(batch, context))
        terms["poison"] = terms["segmentation"] * (float("nan") if context.step >= self.bad_step else 0.0)
        return terms


def start(cls=Method, seed=0):
    torch.manual_seed(seed)
    return cls(SegResNet(2, 3, 2, 8))


def train(request, folder, method=None, stop_after=None, interval=1e9, target=None, side=16):
    """Train on the toy pool; ``stop_after`` interrupts after that many steps of this call."""
    method = method or start()
    display = Silent()
    checkpoints = Checkpoints(folder, {"train_id": "x", "threads": 1}, interval=interval, warn=lambda text: None)
    stop = (lambda: len(display.steps) >= stop_after) if stop_after else (lambda: False)
    validation = {"held_out_dsc": make_pool(2, side, seed=9), **({} if target is None else {"oracle_dsc": target})}
    progress = fit(
        method, Batches(make_pool(5, side), None, 2, request.seed), validation, request, checkpoints, display, stop
    )
    return method, progress, display


def equal(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("cls", [Noisy, Adversarial])
@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_run_continues_bitwise_wherever_it_was_cut(tmp_path, toy_request, cls, cut):
    whole, progress, _ = train(toy_request, tmp_path / "whole", start(cls))
    with pytest.raises(Interrupted, match="same command continues"):
        train(toy_request, tmp_path / "cut", start(cls), stop_after=cut)
    torch.manual_seed(123)
    torch.rand(7)  # whatever happened in between must not matter
    resumed, again, display = train(toy_request, tmp_path / "cut", start(cls, seed=77))
    assert display.began == (cut, 12)
    assert equal(whole, resumed)
    drop = [{k: v for k, v in row.items() if k != "seconds"} for row in progress.history]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in again.history] == drop


def test_the_seconds_of_an_epoch_are_those_before_and_after_a_cut(tmp_path, toy_request, monkeypatch):
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: seconds))

    def step(display, number):
        nonlocal seconds
        seconds = next(clock)
        display.steps.append(number)

    monkeypatch.setattr(Silent, "step", step)
    seconds = next(clock)
    with pytest.raises(Interrupted):
        train(toy_request, tmp_path, stop_after=5)  # two steps into the second epoch
    seconds += 10_000  # in the queue
    clock = iter(range(seconds + 10, 10**6, 10))
    _, progress, _ = train(toy_request, tmp_path)
    assert [row["seconds"] for row in progress.history] == [30.0] * 4


def test_a_run_on_windows_continues_bitwise(tmp_path, toy_request):
    training = dataclasses.replace(toy_request.training, window=(16, 16), windows_per_image=2, labelled_windows=0.5)
    request = dataclasses.replace(toy_request, training=training)
    whole, progress, _ = train(request, tmp_path / "whole", start(Noisy), side=24)
    with pytest.raises(Interrupted):
        train(request, tmp_path / "cut", start(Noisy), stop_after=5, side=24)
    resumed, again, _ = train(request, tmp_path / "cut", start(Noisy, seed=7), side=24)
    assert equal(whole, resumed)
    assert again.history[-1]["held_out_dsc"] == progress.history[-1]["held_out_dsc"]
    assert not equal(whole, train(toy_request, tmp_path / "plain", start(Noisy), side=24)[0])


def test_each_step_draws_windows_of_its_own(toy_request):
    training = dataclasses.replace(toy_request.training, window=(16, 16), augmentation="none")
    request = dataclasses.replace(toy_request, training=training)
    method, batches = start(), Batches(make_pool(1, 32), None, 1, 0)
    step = loop.Step(method, [], batches, request, 9, loop.window_batches(method, batches, training))
    seen = [step.batch(index).image for index in (0, 1, 2, 1)]
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert torch.equal(seen[1], seen[3])


def test_a_module_gets_the_loss_of_its_purpose(toy_request):
    method, batches = start(Adversarial), Batches(make_pool(2, 16), None, 2, 0)
    whole = loop.Step.of(method, batches, toy_request)
    for module, term in zip(whole.modules, ("segmentation", "critic"), strict=True):
        assert set(dataclasses.replace(whole, modules=[module])(0)) == {term}


def test_a_term_with_the_name_of_a_column_of_the_history_ends_the_run(tmp_path, toy_request):
    with pytest.raises(MethodError, match="the term 'held_out_dsc' has the name of another column"):
        train(toy_request, tmp_path, start(Namesake))


def test_the_loop_learns(tmp_path, toy_request):
    request = dataclasses.replace(
        toy_request,
        training=dataclasses.replace(toy_request.training, epochs=40),
        optimizer=dataclasses.replace(toy_request.optimizer, lr=1e-2),
    )
    _, progress, display = train(request, tmp_path)
    assert progress.history[-1]["segmentation"] < 0.7 * progress.history[0]["segmentation"]
    assert progress.history[-1]["held_out_dsc"] > 0.8
    assert display.steps == list(range(1, 121))


def test_validation_is_due_at_its_interval_and_at_the_end(tmp_path, toy_request):
    request = dataclasses.replace(
        toy_request, training=dataclasses.replace(toy_request.training, epochs=5, validation_interval=2)
    )
    _, progress, _ = train(request, tmp_path)
    assert ["held_out_dsc" in row for row in progress.history] == [False, True, False, True, True]


@pytest.mark.parametrize(("earliest_stop", "epochs"), [(0.0, 4), (0.2, 4), (0.5, 6), (0.45, 6), (1.0, 12)])
def test_source_selection_restores_the_best_weights_and_stops_early(tmp_path, toy_request, earliest_stop, epochs):
    training = dataclasses.replace(
        toy_request.training, epochs=12, selection="source-val", validation_interval=1, patience=3, min_delta=2.0
    )
    training = dataclasses.replace(training, earliest_stop=earliest_stop)
    method, progress, _ = train(dataclasses.replace(toy_request, training=training), tmp_path)
    # No score can exceed the first by min_delta 2, so the first epoch is the best and patience ends the run, but not
    # before the share of the epochs.
    assert progress.best_epoch == 0
    assert len(progress.history) == epochs
    assert all(torch.equal(value, progress.best_weights[key]) for key, value in method.state_dict().items())


@pytest.mark.parametrize("selection", ["source-val", "oracle"])
def test_selection_survives_a_cut(tmp_path, toy_request, selection):
    training = dataclasses.replace(
        toy_request.training, epochs=6, selection=selection, validation_interval=1, patience=3
    )
    request = dataclasses.replace(toy_request, target="other", training=training)
    whole, progress, _ = train(request, tmp_path / "whole", target=upside_down())
    with pytest.raises(Interrupted):
        train(request, tmp_path / "cut", stop_after=10, target=upside_down())
    resumed, again, _ = train(request, tmp_path / "cut", start(seed=5), target=upside_down())
    assert again.best_epoch == progress.best_epoch
    assert again.best_score == progress.best_score
    assert equal(whole, resumed)


def upside_down():
    """Return a target whose labels are those of the source inverted: what is learned there fits it ever worse."""
    pool = make_pool(3, seed=4)
    return dataclasses.replace(pool, label=1 - pool.label)


def test_oracle_selection_restores_the_epoch_that_is_best_on_the_target(tmp_path, toy_request):
    training = dataclasses.replace(
        toy_request.training, epochs=12, selection="oracle", validation_interval=1, patience=1
    )
    request = dataclasses.replace(
        toy_request,
        target="other",
        training=training,
        optimizer=dataclasses.replace(toy_request.optimizer, lr=1e-2),
    )
    target = upside_down()
    method, progress, _ = train(request, tmp_path / "oracle", target=target)
    scores = [row["oracle_dsc"] for row in progress.history]
    assert len(scores) == 12, "nothing stops it early"
    assert scores[progress.best_epoch] == pytest.approx(max(scores), abs=training.min_delta)
    assert max(scores) > scores[-1] + 0.1
    assert grid_dsc(method, target, 2, Inference("fp32")) == scores[progress.best_epoch]
    # It is the ordinary run's checkpoint of that epoch: the looks change nothing, and nothing of the target trains.
    ordinary = dataclasses.replace(request, target=None, training=dataclasses.replace(training, selection="last"))
    with pytest.raises(Interrupted):
        train(ordinary, tmp_path / "last", until := start(), stop_after=3 * (progress.best_epoch + 1))
    assert equal(method, until)
    assert "oracle_dsc" not in train(ordinary, tmp_path / "last")[1].history[-1]


def test_source_selection_does_not_look_at_the_target(tmp_path, toy_request):
    training = dataclasses.replace(toy_request.training, selection="source-val", validation_interval=1)
    request = dataclasses.replace(toy_request, training=training)
    without, _, _ = train(request, tmp_path / "without")
    beside, progress, _ = train(request, tmp_path / "beside", target=upside_down())
    assert equal(without, beside)
    assert progress.best_score == max(row["held_out_dsc"] for row in progress.history)


@pytest.mark.parametrize("interval", [0, 1e9])
def test_divergence_names_method_seed_step_and_term(tmp_path, toy_request, interval):
    with pytest.raises(Diverged, match=r"erm, seed 0, step 5: term 'poison' is nan"):
        train(toy_request, tmp_path, start(Poisoned), interval=interval)


def test_weights_that_the_last_step_spoils_are_no_result(tmp_path, toy_request):
    with pytest.raises(Diverged, match=r"erm, seed 0: after the last step '.*' is not finite"):
        train(toy_request, tmp_path, start(Exploding))


def test_adversary_and_network_do_not_touch_each_other(tmp_path, toy_request):
    alone, _, _ = train(toy_request, tmp_path / "alone", start(Method))
    contested, _, _ = train(toy_request, tmp_path / "contested", start(Adversarial))
    assert equal(alone.network, contested.network)
    fresh = start(Adversarial)
    assert not torch.equal(fresh.adversary.weight, contested.adversary.weight)


def test_an_adversary_learns_at_a_share_of_the_rate_or_at_its_own(toy_request):
    optimizer = dataclasses.replace(toy_request.optimizer, lr=2e-2)
    for own, expected in ((None, 2e-3), (1e-5, 1e-5)):
        method = start(Adversarial)
        method.adversary_learning_rate = own
        rates = [module.rate for module in loop.optimized_modules(method, optimizer)]
        assert rates == [2e-2, pytest.approx(expected)]


def test_frozen_parameters_stay(tmp_path, toy_request):
    method = start()
    method.teacher = nn.Linear(2, 2).requires_grad_(False)
    before = method.teacher.weight.clone()
    train(toy_request, tmp_path, method)
    assert torch.equal(before, method.teacher.weight)


def test_clipping_limits_the_step(tmp_path, toy_request):
    tight = dataclasses.replace(toy_request, optimizer=dataclasses.replace(toy_request.optimizer, clip=1e-12))
    free, _, _ = train(toy_request, tmp_path / "free")
    clipped, _, _ = train(tight, tmp_path / "clipped")
    assert not equal(free, clipped)


def test_the_rate_falls_polynomially(tmp_path, toy_request, monkeypatch):
    made = []
    monkeypatch.setattr(loop, "make_adam", lambda *given: made.append(Adam(given[0], lr=given[1])) or made[-1])
    rates = []

    class Watched(Method):
        def training_step(self, batch, context):
            rates.append(made[0].param_groups[0]["lr"])
            return super().training_step(batch, context)

    train(toy_request, tmp_path, start(Watched))
    # The rate is set after the terms of a step, so a step sees the rate of the one before.
    assert rates[1:] == pytest.approx([1e-3 * (1 - step / 12) ** 0.9 for step in range(11)])
    assert made[0].param_groups[0]["lr"] == pytest.approx(1e-3 * (1 - 11 / 12) ** 0.9)


def test_bf16_on_the_cpu_is_refused(tmp_path, toy_request):
    request = dataclasses.replace(toy_request, training=dataclasses.replace(toy_request.training, precision="bf16"))
    with pytest.raises(UsageError, match="needs a GPU"):
        train(request, tmp_path)


def test_every_checkpoint_but_that_of_step_0_is_progress(tmp_path):
    calls = []
    checkpoints = Checkpoints(tmp_path, {"train_id": "x"}, progressed=lambda: calls.append(len(calls)))
    for step in (0, 3, 4):
        checkpoints.save({"step": step})
    assert calls == [0, 1]
