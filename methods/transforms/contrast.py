"""Gamma curves of images between their extremes."""

import torch
from torch import Tensor


def per_image(values: Tensor, image: Tensor) -> Tensor:
    """Reshape one value per image, (B,) or (B, 1), to broadcast over images (B, C, *S)."""
    return values.view(-1, *[1] * (image.ndim - 1))


def extremes(image: Tensor, region: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return minimum and maximum (B, 1, *ones) of each image (B, C, *S), channels jointly.

    Args:
        image: (B, C, *S).
        region: (B, 1, *S) bool, not empty; None takes the whole grid.
    """
    if region is None:
        low, high = image.flatten(1).aminmax(dim=1)
    else:
        low = torch.where(region, image, torch.inf).flatten(1).amin(dim=1)
        high = torch.where(region, image, -torch.inf).flatten(1).amax(dim=1)
    return per_image(low, image), per_image(high, image)


def gamma_curve(values: Tensor, exponent: Tensor, bounds: tuple[Tensor, Tensor], smallest_span: float) -> Tensor:
    """Raise intensities, scaled to [0, 1] between two bounds, to a power; the bounds stay where they are.

    Args:
        values: (B, C, *S); outside the bounds they take the nearer one.
        exponent: (B,) or (B, 1).
        bounds: of each image, from :func:`extremes`.
        smallest_span: floor of the bounds' distance, for constant images.
    """
    low, high = bounds
    span = (high - low).clamp(min=smallest_span)
    # The clamp is for values outside the bounds: a negative base has no real power.
    return ((values - low) / span).clamp(0, 1).pow(per_image(exponent, values)) * span + low
