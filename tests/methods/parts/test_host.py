"""Draws on the host."""

import torch

from ssdg.methods.parts.host import host_generator, offspring


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(rng):
    return torch.rand(4, generator=rng).tolist()


def test_on_the_cpu_it_is_the_generator_itself():
    rng = generator()
    assert host_generator(rng) is rng
    assert drawn(rng) == drawn(generator())


def test_offspring_are_a_function_of_the_state_and_differ_from_call_to_call():
    rng, same = generator(), generator()
    first, second = drawn(offspring(rng)), drawn(offspring(rng))
    assert first != second
    assert [first, second] == [drawn(offspring(same)), drawn(offspring(same))]
    assert drawn(offspring(generator(1))) != first


def test_offspring_draw_apart_from_the_generator():
    rng, other = generator(), generator()
    drawn(offspring(rng))
    offspring(other)
    assert drawn(rng) == drawn(other)
