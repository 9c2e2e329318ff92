"""Random intensity curves per image and class region: monotone Bézier curves, scaled and shifted.

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
"""Treatment of a normal variable outside its limits: moved to the limit, or never drawn."""

BINS = 65536
"""Intensities told apart by quantiles: 8- and 16-bit images are exact, others to 8e-6."""

SAMPLES = 2048
"""Points of a curve, joined by straight lines; the worst of 1000 curves was 1.1e-5 off, the median 1e-7."""

PIECE = 65536
"""Voxels of a piece on the CPU; see :func:`pieces`."""

KNOTS = 16384
"""Equidistant intensities of a table; only next to near-vertical tangents does it differ by more than 1e-5."""


class Regions(NamedTuple):
    """Statistics of regions for the law of their curves; arbitrary but finite for absent regions."""

    low: Tensor  # (M, R), smallest intensity
    extent: Tensor  # (M, R), largest minus smallest
    around: Tensor  # (M, R, 2, 2), the two order statistics around the lower and the upper quantile
    share: Tensor  # (M, R, 2), weight of the second of the two


class Draws(NamedTuple):
    """The random numbers of the curves."""

    control: Tensor  # (4, M, R) in [0, 1]: x and x, y and y of the two inner control points, as shares of the extent
    inverted: Tensor  # (M, R) bool
    scale: Tensor  # (M, R) uniform in [0, 1]: where in its law the scale lies
    location: Tensor  # (M, R), the same of the location


def draw_curves(inversion: Tensor, maps: int, rng: torch.Generator) -> Draws:
    """Draw the curves of ``maps`` maps; ``inversion`` (R,): probability of a decreasing curve per row."""
    uniform = torch.rand((7, maps, len(inversion)), generator=rng, device=rng.device, dtype=torch.float64)
    return Draws(uniform[:4], uniform[4] < inversion, uniform[5], uniform[6])


def pieces(values: Tensor) -> list[slice]:
    """Return slices of the voxels of maps (M, N): cache-sized pieces on CPUs, else a single slice."""
    maps, voxels = values.shape
    length = max(PIECE // maps, 1) if values.device.type == "cpu" else max(voxels, 1)
    return [slice(start, start + length) for start in range(0, voxels, length)]


def first_rows(values: Tensor, classes: int) -> Tensor:
    """Return the index (M, 1) int32 of each map's row 0 among the M · R rows."""
    maps = torch.arange(len(values), device=values.device, dtype=torch.int32)
    return maps.mul_(classes + 1).unsqueeze(1)


def describe_regions(values: Tensor, region: Tensor, classes: int, quantile: float) -> Regions:
    """Return the statistics of every region and of every map as a whole.

    Args:
        values: (M, N) float32 in [0, 1].
        region: (M, N) class indices; voxels of -1 count nowhere, not even in the map as a whole.
        classes: regions a map, present or not.
        quantile: the lower of the two quantiles; the upper is its mirror image.
    """
    shape = (len(values), classes + 1)
    first = first_rows(values, classes) + 1
    below = torch.zeros((*shape, BINS), dtype=torch.int32, device=values.device)
    low = torch.ones(shape, device=values.device)
    high = torch.zeros(shape, device=values.device)
    for part in pieces(values):
        rows = (region[:, part].int() + first).flatten()
        piece = values[:, part].flatten()
        # Floats from 0 order as their bits do, and integers have native atomic minima on GPUs.
        index, bits = rows.long(), piece.view(torch.int32)
        low.view(torch.int32).view(-1).scatter_reduce_(0, index, bits, "amin")
        high.view(torch.int32).view(-1).scatter_reduce_(0, index, bits, "amax")
        code = piece.mul(BINS - 1).round_().int().add_(rows.mul_(BINS)).long()
        # Unlike bincount, this never waits for the device.
        below.view(-1).scatter_add_(0, code, torch.ones_like(bits))
    low[:, 0], high[:, 0] = low[:, 1:].amin(dim=1), high[:, 1:].amax(dim=1)
    below[:, 0] = below[:, 1:].sum(dim=1, dtype=torch.int32)
    around, share = _quantiles(below.cumsum_(dim=2), quantile)
    return Regions(low, (high - low).clamp_(min=0), around, share)


def _quantiles(below: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """Return order statistics around two mirrored quantiles and the second's weight, from (M, R, BINS)."""
    last = (below[..., -1] - 1).clamp_(min=0)
    at = torch.stack([last.double() * quantile, last.double() * (1 - quantile)], dim=-1)
    first = at.floor()
    ranks = torch.stack([first, torch.minimum(first + 1, last.unsqueeze(-1))], dim=-1).int()
    codes = torch.searchsorted(below, ranks.flatten(2), right=True).clamp_(max=BINS - 1)
    return codes.view(ranks.shape).float() / (BINS - 1), at - first


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
    """Return the ordinates (M, N) of tables (M, R, KNOTS) at positions (M, N) among knots, overwritten.

    Positions beyond take the nearest. ``rows`` (M, N) or (M, 1), int32, says which of the M · R tables a voxel uses.
    """
    flat = tables.flatten()
    position.clamp_(0, KNOTS - 1)
    knot = position.int().clamp_(max=KNOTS - 2)
    position.sub_(knot)
    knot.add_(rows * KNOTS)
    lower = _take(flat, knot)
    return lower.lerp_(_take(flat, knot.add_(1)), position)


def curve_tables(
    regions: Regions, draws: Draws, scale: tuple[float, float, float], deviation: float, law: Law
) -> Tensor:
    """Return each row's transform without its last clip, as tables (M, R, KNOTS) over its own range.

    s · T(v) + ℓ with T the Bézier curve on the region's range, s ~ N(1, σ²) within limits, ℓ ~ N(0, σ²) within what
    keeps the inner quantiles of T(v) inside [0, 1]. Source: SLAug, authors' code.

    Args:
        regions: from :func:`describe_regions`.
        draws: from :func:`draw_curves`.
        scale: σ of s, its smallest and largest value.
        deviation: σ of ℓ.
        law: what the limits do.
    """
    shape = regions.low.shape
    unit = bezier_tables(draws.control, draws.inverted)
    low, extent = regions.low.unsqueeze(-1), regions.extent.unsqueeze(-1)
    rows = torch.arange(shape.numel(), device=low.device, dtype=torch.int32).view(-1, 1)
    position = (regions.around.flatten(2) - low).mul_(_density(extent)).view(-1, 4)
    around = low.unsqueeze(-1) + extent.unsqueeze(-1) * look_up(unit, rows, position).view(*shape, 2, 2)
    # A monotone map takes order statistics to order statistics; a decreasing one exchanges the two quantiles.
    quantiles = torch.lerp(around[..., 0].double(), around[..., 1].double(), regions.share)
    spread, least, most = scale
    factor = bounded_normal(draws.scale, spread, least - 1, most - 1, law) + 1
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
    normal: Tensor = deviation * torch.special.ndtri(uniform)
    return normal.clamp(low, high)


def apply_curves(values: Tensor, rows: Tensor, regions: Regions, tables: Tensor) -> Tensor:
    """Return each voxel under its row's curve, clipped to [0, 1].

    Args:
        values: (M, N) float32 in [0, 1].
        rows: (M, N) or (M, 1) int32: which of the M · R rows a voxel belongs to.
        regions: the ranges that the tables cover.
        tables: (M, R, KNOTS) from :func:`curve_tables`.
    """
    low, density = (_take(parameter.flatten(), rows) for parameter in (regions.low, _density(regions.extent)))
    return look_up(tables, rows, (values - low).mul_(density)).clamp_(0, 1)


def _density(extent: Tensor) -> Tensor:
    """Return the knots per unit of intensity; finite for a region of one intensity, which lies at knot 0."""
    return (KNOTS - 1) / extent.clamp(min=1e-30)


def _take(values: Tensor, index: Tensor) -> Tensor:
    # index_select with int32 is three times as fast on CPUs as take, gather or indexing.
    return values.index_select(0, index.flatten()).view(index.shape)
