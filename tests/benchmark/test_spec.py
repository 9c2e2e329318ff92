"""Identity: what changes it, what must not, and that it survives JSON."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdg.benchmark.digests import digest, to_json
from ssdg.benchmark.settings import request_from_json, spec_from_json
from ssdg.benchmark.spec import (
    EvaluationConfig,
    EvaluationSpec,
    Fold,
    NetworkConfig,
    OptimizerConfig,
    PreprocessConfig,
    RunRequest,
    RunSpec,
    TrainingConfig,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def make_spec(**changes):
    request = RunRequest(task="t", source="s", method="m", **changes.pop("request", {}))
    values = {
        "request": request,
        "method_version": 1,
        "method_config": {"alpha": 3.0},
        "method_changed": (),
        "source_manifest": "a" * 12,
        "split": "b" * 12,
    }
    return RunSpec(**{**values, **changes})


@given(plain)
def test_digest_survives_json(value):
    assert digest(value) == digest(json.loads(json.dumps(value)))


@given(st.dictionaries(st.text(), st.integers()))
def test_digest_ignores_key_order(value):
    assert digest(value) == digest(dict(reversed(value.items())))


def test_digest_treats_equal_numbers_alike():
    assert digest({"lr": 1e-3}) == digest({"lr": 0.001})
    assert digest({"x": 1}) == digest({"x": 1.0})
    assert digest({"x": 1}) != digest({"x": True})


def test_digest_refuses_nan():
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


@pytest.mark.parametrize(
    "request_change",
    [
        {"seed": 1},
        {"source": "other"},
        {"training": TrainingConfig(epochs=299)},
        {"training": TrainingConfig(precision="fp32")},
        {"optimizer": OptimizerConfig(lr=3e-4)},
        {"preprocess": PreprocessConfig(grid="stretch")},
        {"preprocess": PreprocessConfig(normalisation="grid")},
        {"fold": Fold(0, 5)},
        {"target": "x"},
        {"training": TrainingConfig(window=(32, 32))},
        {"training": TrainingConfig(scaling=(0.5, 1.5))},
        {"training": TrainingConfig(earliest_stop=0.5)},
        {"network": NetworkConfig(name="dynunet")},
        {"preprocess": PreprocessConfig(scale="fov")},
    ],
    ids=lambda change: str(next(iter(change))),
)
def test_what_changes_weights_changes_the_identity(request_change):
    base = make_spec()
    changed = dataclasses.replace(base, request=dataclasses.replace(base.request, **request_change))
    assert changed.train_id != base.train_id


@pytest.mark.parametrize(
    "change",
    [
        {"method_version": 2},
        {"method_config": {"alpha": 2.0}},
        {"source_manifest": "c" * 12},
        {"split": "c" * 12},
        {"degrees": (30.0,)},
        {"pipeline": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_data_and_method_are_part_of_the_identity(change):
    assert make_spec(**change).train_id != make_spec().train_id


def test_scoring_and_names_are_not_part_of_the_training_identity():
    base = make_spec()
    for change in (
        {"evaluation": EvaluationConfig(resample="nearest", region="image")},
        {"protocol": "paper"},
        {"method_settings": {"alpha": 3.0}},
    ):
        assert make_spec(request=change).train_id == base.train_id


@pytest.mark.parametrize("seed", [0, 7, -1, 10**20])
def test_the_identity_as_a_function_of_the_seed(seed):
    spec = make_spec(method_config={"seed": 3, "text": '"seed":0,', "gain": 1.0})
    other = dataclasses.replace(spec, request=dataclasses.replace(spec.request, seed=seed))
    assert spec.train_id_of_seed()(seed) == other.train_id


def test_scoring_is_part_of_the_evaluation_identity():
    def spec(**changes):
        values = {
            "train_id": "x",
            "domain": "d",
            "manifest": "m",
            "cases": "c",
            "selection": "last",
            "preprocess": PreprocessConfig(),
            "resample": "nearest",
        }
        return EvaluationSpec(**{**values, **changes})

    assert spec(resample="probabilities").eval_id != spec().eval_id
    assert spec(overlap=0.25).eval_id != spec().eval_id
    assert spec(regions="r").eval_id != spec().eval_id
    assert spec(domain="e").eval_id != spec().eval_id
    assert spec().eval_id == "215c653635e4"  # of version 0.2, whose results have to be found again


def test_fields_of_later_versions_do_not_change_the_identity_of_earlier_runs():
    assert make_spec().train_id == "23cf2486c34a"
    assert make_spec(request={"training": TrainingConfig(epochs=3)}).train_id == "6e4e74ccad2f"
    stopped = {"selection": "source-val", "validation_interval": 1, "augmentation": "none", "patience": 20}
    assert make_spec(request={"training": TrainingConfig(**stopped)}).train_id == "813eb3966dce"  # of protocol paper
    windows = TrainingConfig(window=(32, 32), windows_per_image=1)
    assert make_spec(request={"training": windows}).train_id != make_spec().train_id
    overlapping = {"training": windows, "evaluation": EvaluationConfig(overlap=0.25)}
    assert make_spec(request=overlapping).train_id == make_spec(request={"training": windows}).train_id


def test_spec_round_trip():
    spec = make_spec(request={"fold": Fold(1, 5), "preprocess": PreprocessConfig(shape=(48, 48))})
    again = spec_from_json(json.loads(json.dumps(to_json(spec))))
    assert again == dataclasses.replace(spec, request=again.request)
    assert again.request == request_from_json(to_json(spec.request))
    assert again.train_id == spec.train_id
    assert again.request.preprocess.shape == (48, 48)


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (TrainingConfig, {"epochs": 0}, "epochs"),
        (OptimizerConfig, {"lr": 0.0}, "lr"),
        (PreprocessConfig, {"shape": (50, 48)}, "multiples of 8"),
        (PreprocessConfig, {"shape": (48, 48), "spacing": (1.0, 1.0)}, "leave one"),
        (TrainingConfig, {"window": (20, 32)}, "multiples of 8"),
        (TrainingConfig, {"windows_per_image": 2}, "training.window"),
        (TrainingConfig, {"scaling": (1.5, 0.5)}, "smaller first"),
        (TrainingConfig, {"earliest_stop": 1.5}, "earliest_stop"),
        (Fold, {"index": 5, "count": 5}, "fold"),
    ],
)
def test_impossible_values_are_refused(config, values, message):
    with pytest.raises(ValueError, match=message):
        config(**values)
