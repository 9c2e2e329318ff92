"""Batch partners: for each image of a batch the index of another."""

import torch
from torch import Tensor

from ..base import require_partner


def draw_partners(count: int, rng: torch.Generator, name: str, each_once: bool = False) -> Tensor:
    """Draw for each image of a batch the index of another, uniformly.

    Args:
        count: images in the batch.
        rng: on the device of the result.
        name: of the method, for the error.
        each_once: whether every image is the partner of exactly one, by one random turn of the batch; else partners
            are drawn independently.

    Returns:
        (count,) int64.

    Raises:
        MethodError: the batch is a single image.
    """
    require_partner(count, name)
    turn = torch.randint(1, count, () if each_once else (count,), generator=rng, device=rng.device)
    return (torch.arange(count, device=rng.device) + turn) % count
