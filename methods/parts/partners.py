"""Batch partners: for each image of a batch the index of another."""

import torch
from torch import Tensor

from ..base import require_partner


def draw_partners(count: int, rng: torch.Generator, name: str, exchange: bool = False) -> Tensor:
    """Draw for each image of a batch the index of another, uniformly.

    Args:
        count: images in the batch.
        rng: on the device of the result.
        name: of the method, for the error.
        exchange: whether each image is a partner exactly once, by one random turn of the batch; else each index is
            drawn independently.

    Returns:
        (count,) int64.

    Raises:
        MethodError: the batch is a single image.
    """
    require_partner(count, name)
    turn = torch.randint(1, count, () if exchange else (count,), generator=rng, device=rng.device)
    return (torch.arange(count, device=rng.device) + turn) % count
