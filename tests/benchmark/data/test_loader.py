"""Batches: every case once an epoch, whole batches, and nothing that depends on what was drawn before."""

import torch

from ssdg.benchmark.data.loader import Batches
from ssdg.benchmark.randomness import derived_seed, generator

from ..conftest import make_pool


def drawn(batches, steps):
    """Return the case indices of some steps, recognised by their images."""
    images = batches.source.images(torch.arange(len(batches.source)))
    found = []
    for step in steps:
        batch = batches.at(step)
        found.append([int((images == image).flatten(1).all(1).nonzero()[0]) for image in batch.image])
    return found


def test_an_epoch_visits_every_case_and_fills_the_last_batch():
    batches = Batches(make_pool(5), None, batch_size=2, seed=0)
    assert batches.steps_per_epoch == 3
    epoch = drawn(batches, range(3))
    assert all(len(batch) == 2 for batch in epoch)
    assert sorted([case for batch in epoch for case in batch][:5]) == [0, 1, 2, 3, 4]


def test_a_batch_depends_on_seed_and_step_only():
    batches = Batches(make_pool(5), None, batch_size=2, seed=3)
    forward = drawn(batches, range(9))
    assert drawn(batches, reversed(range(9))) == forward[::-1]
    assert drawn(Batches(make_pool(5), None, 2, seed=4), range(9)) != forward
    assert forward[:3] != forward[3:6], "epochs are shuffled anew"


def test_fewer_cases_than_a_batch():
    batches = Batches(make_pool(1), None, batch_size=4, seed=0)
    assert drawn(batches, [0]) == [[0, 0, 0, 0]]


def test_types_and_ranges():
    batch = Batches(make_pool(4), make_pool(3, seed=1, labelled=False), 2, 0).at(0)
    assert batch.image.dtype == torch.float32
    assert batch.image.min() >= 0
    assert batch.image.max() <= 1
    assert batch.label.dtype == torch.int64
    assert batch.label.shape == (2, 1, 16, 16)
    assert batch.foreground.dtype == torch.bool
    assert batch.target.shape == (2, 3, 16, 16)


def test_target_images_cycle_through_all():
    target = make_pool(3, seed=1, labelled=False)
    batches = Batches(make_pool(8), target, 2, 0)
    images = target.images(torch.arange(3))
    seen = {
        int((images == one).flatten(1).all(1).nonzero()[0]) for step in range(2) for one in batches.at(step).target
    }
    assert seen == {0, 1, 2}


def test_generators_differ_by_purpose_and_step_and_repeat():
    draws = {
        torch.rand(1, generator=generator(*key)).item()
        for key in [(0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0)]
    }
    assert len(draws) == 4
    assert derived_seed(0, "a", 1) == derived_seed(0, "a", 1) < 2**32
