"""A method's settings, and another method's augmentation in front of its own."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.answering import settings_fit
from ssdg.benchmark.spec import NetworkConfig, RunRequest, RunSpec
from ssdg.benchmark.training.build import build_method
from ssdg.benchmark.training.contract_fixture import MethodUnderTest, context, modules_of, take_steps
from ssdg.benchmark.training.method_config import preceded, resolve_config
from ssdg.datasets.base import Task
from ssdg.methods import load_method
from ssdg.methods.base import Method

TASK = Task("toy", 2, 3, ("background", "disc", "cup"), (32, 32), sources={}, targets={})


def spec(method, **settings):
    request = RunRequest(
        task="toy", source="s", method=method, method_settings=settings, network=NetworkConfig(init_filters=8)
    )
    config, changed = resolve_config(load_method(method), method, settings)
    return RunSpec(
        request=request,
        method_version=1,
        method_config=config,
        method_changed=tuple(changed),
        source_manifest="a" * 12,
        split="b" * 12,
    )


def built(method, **settings):
    return build_method(load_method(method), spec(method, **settings), TASK, torch.device("cpu"))


def weights_after_two_steps(method):
    take_steps(method, modules_of(method), MethodUnderTest(Method, 2).batch(), range(2))
    return method.state_dict()


def test_the_plain_method_after_another_augmentation_is_that_method_without_its_module():
    front = weights_after_two_steps(built("erm", before="ras4dg"))
    itself = weights_after_two_steps(built("ras4dg", rsd=False))
    plain = weights_after_two_steps(built("erm"))
    assert front.keys() == itself.keys() == plain.keys()
    assert all(torch.equal(front[name], itself[name]) for name in itself)
    assert not all(torch.equal(front[name], plain[name]) for name in plain)


def test_what_changes_nothing_leaves_a_method_as_it_is():
    settings = {"before": "ras4dg", "before.rass": False, "before.rms": False}
    changed, plain = (weights_after_two_steps(built("randconv", **s)) for s in (settings, {}))
    assert all(torch.equal(changed[name], plain[name]) for name in plain)


class Halved(Method):
    def augment(self, batch, rng):
        return replace(batch, image=batch.image / 2)


class Squared(Method):
    def augment(self, batch, rng):
        return replace(batch, image=batch.image.square())


def test_an_augmentation_goes_before_the_methods_own_once():
    subject = MethodUnderTest(Method, 2)
    network = subject.method().network
    batch = subject.batch()
    shown = preceded(Squared, Halved(network))(network).augment(batch, context(batch).rng)
    assert torch.equal(shown.image, (batch.image / 2).square())


def test_what_goes_before_changes_no_initial_weight():
    plain, preceded_by = built("freesdg").state_dict(), built("freesdg", before="ras4dg").state_dict()
    assert plain.keys() == preceded_by.keys()
    assert all(torch.equal(plain[name], preceded_by[name]) for name in plain)


def test_the_version_of_what_goes_before_is_kept(monkeypatch):
    monkeypatch.setattr(load_method("ras4dg"), "version", 7)
    config, _ = resolve_config(load_method("randconv"), "randconv", {"before": "ras4dg"})
    assert config["before.version"] == 7


def test_what_goes_before_is_part_of_the_identity():
    ids = {spec("randconv", **settings).train_id for settings in ({}, {"before": "none"})}
    assert len(ids) == 1
    ids |= {
        spec("randconv", before="ras4dg").train_id,
        spec("randconv", **{"before": "ras4dg", "before.rms": "no"}).train_id,
    }
    assert len(ids) == 3
    older = spec("randconv", before="ras4dg")
    older = replace(older, method_config={**older.method_config, "before.version": 0})
    assert older.train_id not in ids


def test_a_run_answers_the_settings_it_was_asked_for_with():
    settings = {"before": "ras4dg", "before.rms": "no"}
    run = spec("randconv", **settings)
    assert settings_fit(settings, run)
    assert not settings_fit({"before": "ras4dg"}, run)
    assert not settings_fit({}, run)
    assert not settings_fit({**settings, "before": "template"}, run)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"before": "csdg"}, r"method\.before=csdg: it has no augment\(\)"),
        ({"before": "cutmix"}, "target images"),
        ({"before.rms": "no"}, r"method\.before\.rms: method\.before has to name"),
        ({"before": "ras4dg", "before.alpa": 3}, "setting of method.before 'alpa': did you mean 'alpha'"),
        ({"before": "ras4dg", "before.version": 3}, "setting of method.before 'version'"),
    ],
)
def test_what_cannot_go_before_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        resolve_config(load_method("randconv"), "randconv", settings)


@dataclass(frozen=True)
class Config:
    before: float = field(default=1.0, metadata={"source": "test"})


class OwnBefore(Method):
    Config = Config


def test_a_method_may_have_a_setting_of_that_name():
    assert resolve_config(OwnBefore, "own", {"before": "2"}) == ({"before": 2.0}, ["before"])
