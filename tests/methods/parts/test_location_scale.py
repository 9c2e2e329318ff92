"""Intensity curves: statistics against NumPy, monotone tables, the laws of scale and shift."""

import math

import numpy as np
import pytest
import torch

from ssdg.methods.parts import location_scale
from ssdg.methods.parts.location_scale import (
    KNOTS,
    Draws,
    apply_curves,
    bezier_tables,
    bounded_normal,
    curve_tables,
    describe_regions,
    draw_curves,
    first_rows,
    look_up,
    pieces,
)

SCALE = (0.1, 0.9, 1.1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(number=3, voxels=4000, classes=4):
    values = torch.rand((number, voxels), generator=rng()).square()
    values[:, :300] = 0
    return values, torch.randint(classes, (number, voxels), generator=rng(1))


def control(*shape):
    return torch.rand((4, *shape), generator=rng(2), dtype=torch.float64)


def rows_of(values, region, classes):
    return region.int() + first_rows(values, classes) + 1


def test_statistics_are_those_of_numpy():
    values, region = maps()
    regions = describe_regions(values, region, 4, 0.2)
    quantiles = torch.lerp(regions.around[..., 0].double(), regions.around[..., 1].double(), regions.share)
    for index in range(3):
        for row in range(5):
            inside = values[index] if row == 0 else values[index][region[index] == row - 1]
            expected = np.percentile(inside.double().numpy(), [20, 80])
            assert np.abs(quantiles[index, row].numpy() - expected).max() < 1e-5
            assert regions.low[index, row] == inside.min()
            assert regions.extent[index, row] == inside.max() - inside.min()


def test_pieces_do_not_change_the_statistics(monkeypatch):
    values, region = maps()
    whole = describe_regions(values, region, 4, 0.2)
    monkeypatch.setattr(location_scale, "PIECE", 700)
    assert len(pieces(values)) == 18
    for one, other in zip(whole, describe_regions(values, region, 4, 0.2), strict=True):
        assert torch.equal(one, other)


def test_increasing_curves_keep_the_ends_and_decreasing_ones_swap_them():
    inverted = torch.arange(200).reshape(1, 200) % 2 == 1
    tables = bezier_tables(control(1, 200), inverted)[0]
    up, down = tables[0::2], tables[1::2]
    assert torch.allclose(up[:, 0], torch.zeros(100), atol=1e-6)
    assert torch.allclose(up[:, -1], torch.ones(100), atol=1e-6)
    assert torch.allclose(down[:, 0], torch.ones(100), atol=1e-6)
    assert torch.allclose(down[:, -1], torch.zeros(100), atol=1e-6)
    assert (up.diff() >= 0).all()
    assert (down.diff() <= 0).all()


def test_tables_lie_on_the_bezier_curve():
    points = control(1, 50)
    t = np.linspace(0, 1, 100_000)
    up = bezier_tables(points, torch.zeros((1, 50), dtype=torch.bool))[0]
    down = bezier_tables(points, torch.ones((1, 50), dtype=torch.bool))[0]
    for index, (x1, x2, y1, y2) in enumerate(points[:, 0].T.numpy()):
        x, y = (3 * t * (1 - t) ** 2 * a + 3 * t**2 * (1 - t) * b + t**3 for a, b in ((x1, x2), (y1, y2)))
        knots = np.linspace(0, 1, KNOTS)
        assert np.abs(up[index].numpy() - np.interp(knots, x, y)).max() < 1e-5
        assert np.abs(down[index].numpy() - np.interp(knots, x, y[::-1])).max() < 1e-5


def test_mean_distance_of_a_curve_from_the_identity():
    points = torch.rand((4, 1, 500), generator=rng(), dtype=torch.float64)
    tables = bezier_tables(points, torch.zeros((1, 500), dtype=torch.bool))[0]
    assert (tables - torch.linspace(0, 1, KNOTS)).abs().amax(dim=1).mean() == pytest.approx(0.22, abs=0.02)


def test_look_up_joins_the_knots_by_straight_lines():
    tables = torch.rand((2, 3, KNOTS), generator=rng())
    rows = torch.tensor([[0, 1, 2, 2], [5, 5, 4, 3]], dtype=torch.int32)
    position = torch.tensor([[0.0, 7.25, KNOTS + 5.0, -3.0], [KNOTS - 1.0, 100.5, 3.0, 9.75]])
    found = look_up(tables, rows, position.clone())
    for voxel in np.ndindex(2, 4):
        table = tables.flatten(0, 1)[rows[voxel]].numpy()
        assert found[voxel].item() == pytest.approx(
            np.interp(position[voxel].item(), np.arange(KNOTS), table), abs=1e-6
        )


@pytest.mark.parametrize("law", ["clipped", "truncated"])
def test_every_region_is_its_own_curve_scale_and_shift(law):
    """One region after another in plain NumPy, given the same draws."""
    values, region = maps()
    draws = draw_curves(torch.full((5,), 0.5), 3, rng(3))
    regions = describe_regions(values, region, 4, 0.2)
    tables = curve_tables(regions, draws, SCALE, 0.5, law)
    local = apply_curves(values, rows_of(values, region, 4), regions, tables)
    overall = apply_curves(values, first_rows(values, 4), regions, tables)
    t = np.linspace(0, 1, 100_000)
    for index in range(3):
        for row in range(5):
            inside = torch.ones_like(region[index], dtype=torch.bool) if row == 0 else region[index] == row - 1
            before = values[index][inside].double().numpy()
            low, high = before.min(), before.max()
            x1, x2, y1, y2 = draws.control[:, index, row].numpy()
            x, y = (3 * t * (1 - t) ** 2 * a + 3 * t**2 * (1 - t) * b + t**3 for a, b in ((x1, x2), (y1, y2)))
            y = y[::-1] if draws.inverted[index, row] else y
            bent = low + (high - low) * np.interp((before - low) / (high - low), x, y)
            limits = -np.percentile(bent, 20), 1 - np.percentile(bent, 80)
            shift = replayed_normal(draws.location[index, row], 0.5, *limits, law)
            factor = 1 + replayed_normal(draws.scale[index, row], 0.1, -0.1, 0.1, law)
            after = (overall if row == 0 else local)[index][inside].numpy()
            assert np.abs(after - np.clip(bent * factor + shift, 0, 1)).max() < 5e-5


def replayed_normal(uniform, deviation, low, high, law):
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), deviation)
    if law == "truncated":
        first, last = (normal.cdf(torch.tensor(limit, dtype=torch.float64)) for limit in (low, high))
        uniform = first + (last - first) * uniform
    return float(np.clip(normal.icdf(uniform).item(), low, high))


def test_a_clipped_normal_piles_up_at_its_limits_and_a_truncated_one_does_not():
    uniform = torch.rand(20_000, generator=rng(), dtype=torch.float64)
    clipped = bounded_normal(uniform, 0.1, -0.1, 0.1, "clipped")
    truncated = bounded_normal(uniform, 0.1, -0.1, 0.1, "truncated")
    share = 0.5 * math.erfc(1 / math.sqrt(2))  # 15.9 %
    for limit in (-0.1, 0.1):
        assert (clipped == limit).double().mean().item() == pytest.approx(share, abs=0.01)
        assert (truncated == limit).double().mean() < 1e-3
    inside = clipped[clipped.abs() < 0.1]
    assert truncated.std().item() == pytest.approx(inside.std().item(), rel=0.02)
    assert torch.equal(bounded_normal(uniform, 0.0, -0.1, 0.1, "clipped"), torch.zeros_like(uniform))


def test_shifts_stop_where_an_inner_quantile_reaches_the_end_of_the_range():
    """With a huge deviation nearly all shifts stop there; 501 voxels have order statistics at both quantiles."""
    values, region = maps(number=40, voxels=501)
    draws = draw_curves(torch.full((5,), 0.5), 40, rng(4))
    regions = describe_regions(values, region, 4, 0.2)
    tables = curve_tables(regions, draws, (0.0, 1.0, 1.0), 100.0, "clipped")
    overall = apply_curves(values, first_rows(values, 4), regions, tables)
    lower, upper = overall.quantile(0.2, dim=1), overall.quantile(0.8, dim=1)
    stopped = torch.where(draws.location[:, 0] < 0.5, lower, 1 - upper) < 1e-3
    assert stopped.float().mean() > 0.95


def test_absent_and_flat_regions_are_harmless():
    values = torch.full((2, 100), 0.4)
    values[1] = torch.linspace(0, 1, 100)
    region = torch.full((2, 100), 2)
    regions = describe_regions(values, region, 4, 0.2)
    draws = Draws(control(2, 5), torch.ones((2, 5), dtype=torch.bool), *torch.full((2, 2, 5), 0.5).double())
    out = apply_curves(
        values, rows_of(values, region, 4), regions, curve_tables(regions, draws, SCALE, 0.5, "clipped")
    )
    assert torch.isfinite(out).all()
    assert torch.allclose(out[0], torch.full((100,), 0.4), atol=1e-6)
    assert (out[1].diff() <= 1e-6).all()
