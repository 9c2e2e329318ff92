"""Settings: conversion, protocols, and errors that offer the nearest name."""

import dataclasses
from typing import Literal

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.settings import build, convert, parse_assignments, resolve_sections


@dataclasses.dataclass(frozen=True)
class Config:
    count: int = 1
    rate: float = 0.5
    on: bool = True
    kind: Literal["a", "b"] = "a"
    sides: tuple[int, ...] | None = None
    clip: float | None = None


def test_texts_become_the_fields_types():
    config = build(
        Config, {"count": "3", "rate": "1e-3", "on": "false", "kind": "b", "sides": "48,48,32", "clip": "none"}, "c"
    )
    assert config == Config(3, 1e-3, False, "b", (48, 48, 32), None)


def test_shapes_may_be_written_with_x():
    assert build(Config, {"sides": "128x128"}, "c").sides == (128, 128)
    assert convert("external,axial", tuple[str, ...]) == ("external", "axial")


def test_json_values_pass_unchanged():
    assert build(Config, {"count": 3, "rate": 1, "on": False, "sides": [8, 16]}, "c") == Config(
        3, 1.0, False, "a", (8, 16)
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cuont": 1}, ["cuont", "'count'", "rate"]),
        ({"count": "many"}, ["c.count", "a whole number", "many"]),
        ({"count": 2.5}, ["a whole number"]),
        ({"count": True}, ["a whole number"]),
        ({"on": "maybe"}, ["true or false"]),
        ({"kind": "c"}, ["a, b"]),
        ({"sides": "48,big"}, ["comma-separated whole numbers", "48,big"]),
        ({"sides": 48}, ["comma-separated whole numbers"]),
    ],
)
def test_bad_values_are_named(values, words):
    with pytest.raises(UsageError) as error:
        build(Config, values, "c")
    assert all(word in str(error.value) for word in words)


def test_assignments():
    assert parse_assignments(["training.epochs=2", "method.name = a=b"]) == {
        "training.epochs": "2",
        "method.name": "a=b",
    }
    for wrong in ("epochs=2", "training.epochs"):
        with pytest.raises(UsageError, match=r"section\.key=value"):
            parse_assignments([wrong])


def test_protocols_differ_and_settings_come_last():
    clean, _ = resolve_sections("clean", {})
    paper, method = resolve_sections("paper", {"training.augmentation": "nnunet", "method.alpha": "2"})
    assert clean["training"].selection == "last"
    assert paper["training"].selection == "source-val"
    assert (paper["training"].patience, paper["training"].earliest_stop) == (100, 0.5)
    assert paper["training"].augmentation == "nnunet"
    assert method == {"alpha": "2"}


@pytest.mark.parametrize(
    ("protocol", "values", "words"),
    [
        ("papr", {}, ["papr", "'paper'"]),
        ("clean", {"trianing.epochs": "1"}, ["trianing", "'training'"]),
        ("clean", {"training.epoch": "1"}, ["'epochs'"]),
    ],
)
def test_unknown_names_offer_the_nearest(protocol, values, words):
    with pytest.raises(UsageError) as error:
        resolve_sections(protocol, values)
    assert all(word in str(error.value) for word in words)
