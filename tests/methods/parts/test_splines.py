"""Quadratic B-spline fields against SciPy's splines, and the rescaling of samples."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from ssdg.methods.parts.splines import bspline_field, quadratic_bspline, rescale_per_sample


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(side, points, outside):
    """SciPy's uniform quadratic splines, centred on the control points, at the voxel centres: (side, points)."""
    spacing = side / (points - 2 * outside)
    centres = (np.arange(points) + 0.5 - outside) * spacing
    voxels = np.arange(side) + 0.5
    basis = BSpline.basis_element([-1.5, -0.5, 0.5, 1.5], extrapolate=False)
    return np.nan_to_num(basis((voxels[:, None] - centres) / spacing))


@pytest.mark.parametrize("outside", [0, 0.5, 1])
@pytest.mark.parametrize(("points", "shape"), [((6, 6), (24, 31)), ((6, 5, 4), (16, 9, 12))])
def test_field_is_the_tensor_product_of_scipys_splines(points, shape, outside):
    control = torch.randn((2, 3, *points), generator=rng())
    expected = control.double().numpy()
    for axis, (side, count) in enumerate(zip(shape, points, strict=True), start=2):
        matrix = weights(side, count, outside)
        expected = np.moveaxis(np.tensordot(matrix, expected, axes=(1, axis)), 0, axis)
    field = bspline_field(control, shape, outside)
    assert field.shape == (2, 3, *shape)
    assert field.dtype == torch.float32
    np.testing.assert_allclose(field.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("shape", [(24, 30), (16, 10, 12)])
def test_with_points_beyond_the_sides_constants_and_ramps_are_reproduced(shape):
    points = [6] * len(shape)
    assert torch.allclose(bspline_field(torch.ones((1, 1, *points)), shape), torch.ones(1, 1, *shape), atol=1e-6)
    ramp = torch.arange(6.0).view(6, *[1] * (len(shape) - 1)).expand(points)[None, None]
    rows = bspline_field(ramp, shape)[0, 0].flatten(1)
    expected = 0.5 + (torch.arange(shape[0]) + 0.5) * 4 / shape[0]
    assert torch.allclose(rows, expected[:, None].expand_as(rows), atol=1e-5)


def test_axes_keep_their_order():
    control = torch.zeros((1, 1, 3, 4, 5))
    control[0, 0, 0, 3, 2] = 1
    field = bspline_field(control, (12, 16, 20), outside=0)[0, 0]
    assert torch.stack(torch.where(field == field.max())).double().mean(1).tolist() == [1.5, 13.5, 9.5]


def test_field_does_not_depend_on_the_runs_precision():
    control = torch.randn((1, 1, 6, 6), generator=rng())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bspline_field(control, (16, 16)), bspline_field(control.double(), (16, 16)))


def test_too_few_control_points_are_an_error():
    with pytest.raises(ValueError, match="2 control points an axis are too few"):
        bspline_field(torch.zeros((1, 1, 6, 2)), (8, 8))


def test_kernel_has_unit_sum_and_support_of_three_spacings():
    distance = torch.linspace(-3, 3, 601)
    value = quadratic_bspline(distance)
    assert torch.equal(value > 0, distance.abs() < 1.5)
    assert value.sum().item() / 100 == pytest.approx(1, abs=1e-4)
    assert quadratic_bspline(torch.tensor([0.0, 0.5, -1.0])).tolist() == [0.75, 0.5, 0.125]


def test_rescaled_samples_attain_both_ends_and_keep_their_order():
    field = torch.randn((3, 2, 5, 6), generator=rng()) * torch.tensor([1e-6, 1.0, 1e6]).view(3, 1, 1, 1)
    out = rescale_per_sample(field).flatten(1)
    assert torch.equal(out.amin(1), torch.zeros(3))
    assert torch.equal(out.amax(1), torch.ones(3))
    assert torch.equal(out.argsort(1), field.flatten(1).argsort(1))


def test_constant_samples_become_one_half():
    field = torch.stack([torch.full((1, 4, 4), 3.7), torch.arange(16.0).view(1, 4, 4)])
    out = rescale_per_sample(field)
    assert torch.equal(out[0], torch.full((1, 4, 4), 0.5))
    assert out[1].max() == 1
