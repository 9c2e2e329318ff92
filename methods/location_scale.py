"""Random intensity curves per image and per class region: monotone Bézier curves, then scaling and shifting.

The primitives of SLAug (AAAI 2023), after the authors' code. Every curve is a function of one number, so it becomes a
table that all voxels of its region look up: the cost is a few passes over the voxels, whatever the number of classes,
and nothing is sorted. Order statistics come from a histogram of 16-bit intensities.

Images are maps (M, N): M independent maps of N voxels with values in [0, 1]. Row 0 of the R = classes + 1 rows of a
map is the map as a whole, row c + 1 the region of class c.
"""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

Law: TypeAlias = Literal["clipped", "truncated"]
"""What becomes of a normal variable outside its limits: moved to the limit, or never drawn."""

BINS = 65536
"""Intensities told apart by quantiles: 8- and 16-bit images are exact, others to 8e-6."""

SAMPLES = 2048
"""Points of a curve, joined by straight lines; the worst of 1000 curves was 1.1e-5 off, the median 1e-7."""

KNOTS = 16384
"""Equidistant intensities of a table; only next to near-vertical tangents does it differ by more than 1e-5."""


class Regions(NamedTuple):
    """What the law of a region's curve depends on; values of absent regions are arbitrary but finite."""

    low: Tensor  # (M, R), smallest intensity
    extent: Tensor  # (M, R), largest minus smallest
    around: Tensor  # (M, R, 2, 2), the two order statistics around the lower and the upper quantile
    share: Tensor  # (M, R, 2), weight of the second of the two


class Draws(NamedTuple):
    """Everything random about the curves."""

    control: Tensor  # (4, M, R) in [0, 1]: x and x, y and y of the two inner control points, as shares of the extent
    inverted: Tensor  # (M, R) bool
    scale: Tensor  # (M, R) uniform in [0, 1]: where in its law the scale lies
    location: Tensor  # (M, R), the same of the location


def draw(inversion: Tensor, maps: int, rng: torch.Generator) -> Draws:
    """Return the draws for a number of maps; ``inversion`` (R,) holds each row's probability of a decreasing curve."""
    uniform = torch.rand((7, maps, len(inversion)), generator=rng, device=rng.device, dtype=torch.float64)
    return Draws(uniform[:4], uniform[4] < inversion, uniform[5], uniform[6])


def row_indices(region: Tensor, classes: int) -> Tensor:
    """Return the row (M, N) int32 of every voxel among the M · R rows, for regions (M, N) of class indices."""
    first = torch.arange(len(region), device=region.device, dtype=torch.int32) * (classes + 1) + 1
    return region.int() + first.unsqueeze(1)


def describe(values: Tensor, rows: Tensor, classes: int, quantile: float) -> Regions:
    """Return the statistics of every region and of every map as a whole.

    Args:
        values: (M, N) float32 in [0, 1].
        rows: (M, N) from :func:`row_indices`.
        classes: regions a map, present or not.
        quantile: the lower of the two quantiles; the upper is its mirror image.
    """
    shape = (len(values), classes + 1)
    index = rows.flatten().long()
    # Floats of one sign order as their bits do, and integers have native atomic minima on GPUs; -0.0 would not.
    bits = values.abs().flatten().view(torch.int32)
    one = torch.ones(shape, device=values.device).flatten().view(torch.int32)
    low = one.scatter_reduce(0, index, bits, "amin").view(torch.float32).view(shape)
    high = torch.zeros_like(one).scatter_reduce(0, index, bits, "amax").view(torch.float32).view(shape)
    low[:, 0], high[:, 0] = low[:, 1:].amin(dim=1), high[:, 1:].amax(dim=1)
    code = (values * (BINS - 1)).round_().int().flatten()
    below = _histogram(index.mul_(BINS).add_(code), len(one) * BINS).view(*shape, BINS).cumsum_(dim=2)
    below[:, 0] = below[:, 1:].sum(dim=1, dtype=torch.int32)
    last = (below[..., -1:] - 1).clamp_(min=0)
    at = torch.stack([last * quantile, last * (1 - quantile)], dim=-1).squeeze(2).double()
    first = at.floor()
    ranks = torch.stack([first, torch.minimum(first + 1, last)], dim=-1).int()
    around = torch.searchsorted(below, ranks.flatten(2), right=True).clamp_(max=BINS - 1).float() / (BINS - 1)
    return Regions(low, (high - low).clamp_(min=0), around.view(*shape, 2, 2), at - first)


def _histogram(index: Tensor, length: int) -> Tensor:
    """Return how often each of ``length`` indices occurs, int32; unlike ``bincount`` never waits for the device."""
    counts = torch.zeros(length, dtype=torch.int32, device=index.device)
    return counts.scatter_add_(0, index, torch.ones_like(index, dtype=torch.int32))


def bezier_tables(control: Tensor, inverted: Tensor) -> Tensor:
    """Return monotone curves of the unit square as tables over equidistant abscissae.

    Cubic Bézier curves from (0, 0) to (1, 1) with inner control points anywhere in the square: both coordinates
    increase along them. A decreasing curve pairs x(t) with y(1 - t). Source: SLAug, authors' code.

    Args:
        control: (4, M, R): x₁, x₂, y₁, y₂.
        inverted: (M, R) bool.

    Returns:
        (M, R, KNOTS) float32: ordinates from abscissa 0 to 1.
    """
    t = torch.linspace(0, 1, SAMPLES, device=control.device, dtype=torch.float64)
    basis = torch.stack([3 * t * (1 - t).square(), 3 * t.square() * (1 - t)])
    x, y = (control[pair : pair + 2].movedim(0, -1) @ basis + t**3 for pair in (0, 2))
    y = torch.where(inverted.unsqueeze(-1), y.flip(-1), y)
    knots = torch.linspace(0, 1, KNOTS, device=control.device, dtype=torch.float64)
    after = torch.searchsorted(x, knots.expand(*x.shape[:-1], -1).contiguous()).clamp_(1, SAMPLES - 1)
    left, right = x.gather(-1, after - 1), x.gather(-1, after)
    share = ((knots - left) / (right - left).clamp_(min=1e-12)).clamp_(0, 1)
    return torch.lerp(y.gather(-1, after - 1), y.gather(-1, after), share).float()


def look_up(tables: Tensor, rows: Tensor, position: Tensor) -> Tensor:
    """Return the ordinates (M, N) of tables (M, R, KNOTS) at positions (M, N) in [0, KNOTS - 1], overwritten.

    ``rows`` (M, N) or (M, 1), int32, says which of the M · R tables a voxel uses.
    """
    flat = tables.flatten()
    knot = position.int().clamp_(max=KNOTS - 2)
    position.sub_(knot)
    knot.add_(rows * KNOTS)
    lower = _take(flat, knot)
    return lower.lerp_(_take(flat, knot.add_(1)), position)


def curves(regions: Regions, draws: Draws, scale: tuple[float, float, float], deviation: float, law: Law) -> Tensor:
    """Return each row's whole transform but its last clip, as tables (M, R, KNOTS) over the region's own range.

    s · T(v) + ℓ with T the Bézier curve on the region's range, s ~ N(1, σ²) within limits, ℓ ~ N(0, σ²) within what
    keeps the inner quantiles of T(v) inside [0, 1]. Source: SLAug, authors' code.

    Args:
        regions: from :func:`describe`.
        draws: from :func:`draw`.
        scale: σ of s, its smallest and largest value.
        deviation: σ of ℓ.
        law: what the limits do.
    """
    shape = regions.low.shape
    unit = bezier_tables(draws.control, draws.inverted)
    low, extent = regions.low.unsqueeze(-1), regions.extent.unsqueeze(-1)
    rows = torch.arange(shape.numel(), device=low.device, dtype=torch.int32).view(-1, 1)
    position = _position(regions.around.flatten(2), low, extent).view(-1, 4)
    around = low.unsqueeze(-1) + extent.unsqueeze(-1) * look_up(unit, rows, position).view(*shape, 2, 2)
    # A monotone map takes order statistics to order statistics; a decreasing one exchanges the two quantiles.
    quantiles = torch.lerp(around[..., 0].double(), around[..., 1].double(), regions.share)
    spread, least, most = scale
    factor = bounded_normal(draws.scale, spread, (1 - least) * -1, most - 1, law) + 1
    shift = bounded_normal(draws.location, deviation, -quantiles.amin(dim=-1), 1 - quantiles.amax(dim=-1), law)
    factor, shift = factor.float().unsqueeze(-1), shift.float().unsqueeze(-1)
    return unit.mul_(extent * factor).add_(low * factor + shift)


def bounded_normal(uniform: Tensor, deviation: float, low: Tensor | float, high: Tensor | float, law: Law) -> Tensor:
    """Return a normal variable of mean 0 kept between limits, from a uniform one (float64)."""
    low, high = (torch.zeros_like(uniform) + limit for limit in (low, high))
    uniform = uniform.clamp(min=1e-12)  # 0 has no finite quantile
    if law == "truncated":
        bounds = [torch.special.ndtr(limit / max(deviation, 1e-12)) for limit in (low, high)]
        uniform = torch.lerp(bounds[0], bounds[1], uniform)
    return (deviation * torch.special.ndtri(uniform)).clamp(low, high)


def transform(values: Tensor, rows: Tensor, regions: Regions, tables: Tensor) -> Tensor:
    """Return each voxel under its row's curve, clipped to [0, 1].

    Args:
        values: (M, N) float32 in [0, 1].
        rows: (M, N) or (M, 1) int32: which of the M · R tables a voxel uses.
        regions: the ranges that the tables cover.
        tables: (M, R, KNOTS) from :func:`curves`.
    """
    low, extent = (_take(limit.flatten(), rows) for limit in (regions.low, regions.extent))
    return look_up(tables, rows, _position(values, low, extent)).clamp_(0, 1)


def _position(values: Tensor, low: Tensor, extent: Tensor) -> Tensor:
    """Return where values lie among the knots of the range [low, low + extent]; a range of one value has them at 0."""
    return (values - low).mul_((KNOTS - 1) / extent.clamp(min=1e-30)).clamp_(0, KNOTS - 1)


def _take(values: Tensor, index: Tensor) -> Tensor:
    # index_select with int32 is three times as fast on CPUs as take, gather or indexing.
    return values.index_select(0, index.flatten()).view(index.shape)
