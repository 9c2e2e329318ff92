"""Draws that steer the program: the host looks at them, so they are made on the host and wait for no device."""

import hashlib

import torch


def host_generator(rng: torch.Generator) -> torch.Generator:
    """Return a generator on the host for draws whose values decide what is computed, such as a kernel's side.

    To read what a GPU has drawn is to wait until it has done everything it was asked before.

    Args:
        rng: the step's generator, on any device. On the CPU it is what is returned; elsewhere its state seeds
            another one, and it moves on, so that the next call returns a different one.
    """
    return rng if rng.device.type == "cpu" else offspring(rng)


def offspring(rng: torch.Generator) -> torch.Generator:
    """Return a generator on the host that is a function of the state of ``rng``, and move ``rng`` on by one draw."""
    state = bytes(rng.get_state().tolist())  # kept on the host, wherever it draws
    torch.rand((), generator=rng, device=rng.device)
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(state).digest()[:4], "big"))
