"""Stateless randomness: generators are functions of (seed, purpose, step), so that a resumed run draws the same."""

import hashlib

import torch


def derived_seed(seed: int, purpose: str, step: int = 0) -> int:
    """Return the first 32 bits of SHA-256("seed|purpose|step"); torch's CPU generator takes no more than 32."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{purpose}|{step}".encode()).digest()[:4], "big")


def generator(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on a device, seeded by the run's seed, its purpose and the step."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, purpose, step))
