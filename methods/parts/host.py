"""Random draws for control flow (kernel side, box position), made on the CPU, so that nothing waits for a GPU."""

import hashlib

import torch


def host_generator(rng: torch.Generator) -> torch.Generator:
    """Return a CPU generator for draws behind control flow, such as a kernel's side.

    Reading a value drawn on a GPU waits for all work queued there before.

    Args:
        rng: the step's generator, on any device. On the CPU it is returned itself; elsewhere its state seeds the
            result and then advances, so that the next call returns another.
    """
    return rng if rng.device.type == "cpu" else offspring(rng)


def offspring(rng: torch.Generator) -> torch.Generator:
    """Return a CPU generator seeded by the state of ``rng``, and advance ``rng`` by one draw."""
    state = bytes(rng.get_state().tolist())  # kept on the host, wherever it draws
    torch.rand((), generator=rng, device=rng.device)
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(state).digest()[:4], "big"))
