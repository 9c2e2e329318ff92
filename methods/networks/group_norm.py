"""Group normalisation of its own where torch's is slow: for few channels on the CPU, and for large maps on CUDA."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import CHANNELS_LAST

SLOW_BELOW = 4
"""Channels a group below which torch's gradient on the CPU, channels last, is slow: six times ours with one."""

LARGE = 2**20
"""Values a group from which ours on CUDA is as fast by the clock, on less of the GPU: torch's has a block a group."""

VOXELS = 16
"""Voxels side by side in one row: rows are then long enough to be computed in vectors, however few the channels."""

Normalised: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Map, means of the groups, and their inverse deviations."""

Kernel: TypeAlias = Callable[[Tensor, Tensor, Tensor, int, float], Normalised]


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm``; on the CPU the same output to the bit, for few channels a gradient summed in another order.

    On CUDA large maps keep their own type, of which statistics are taken in float32. Under autocast torch's would be
    float32, which the convolution behind it casts back.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, same shape as x (B, C, *S)."""
        kernel = group_norm if self._slow_on_cuda(x) else _torchs if self._slow_on_cpu(x) else None
        if kernel is None:
            return super().forward(x)
        normalise: Callable[..., Tensor] = _GroupNormalisation.apply
        return normalise(x, self.weight, self.bias, self.num_groups, self.eps, kernel)

    def _slow_on_cuda(self, x: Tensor) -> bool:
        if x.device.type != "cuda" or x.ndim not in CHANNELS_LAST:
            return False
        return x.numel() >= LARGE * self.num_groups * len(x) > 0

    def _slow_on_cpu(self, x: Tensor) -> bool:
        if self.num_channels >= SLOW_BELOW * self.num_groups or not torch.is_grad_enabled():
            return False
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or x.ndim not in CHANNELS_LAST:
            return False
        return x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim]) and not x.is_contiguous()


class _GroupNormalisation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, epsilon: float, kernel: Kernel
    ) -> Tensor:
        normalised, mean, scale = kernel(x, weight, bias, groups, epsilon)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.groups, ctx.epsilon = groups, epsilon
        return normalised

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient will be taken: torch knows it
            normalised = F.group_norm(x.to(weight.dtype), ctx.groups, weight, bias, ctx.epsilon).to(x.dtype)
            wanted = [value for value, needed in zip((x, weight, bias), ctx.needs_input_grad, strict=False) if needed]
            gradients = iter(torch.autograd.grad(normalised, wanted, upstream, create_graph=True))
            return *(next(gradients) if needed else None for needed in ctx.needs_input_grad[:3]), None, None, None
        rows = _Rows(x, ctx.groups)
        # dx = a dy + b x + c, each constant within a group but for the weights in a: two sums over the voxels decide.
        gradient, maps = rows.of(upstream[0]), rows.of(x)
        # Added to zero of that type: a product is rounded to its factors', whatever it is written to.
        product = torch.empty_like(maps, dtype=scale.dtype)
        torch.addcmul(scale.new_zeros(1), gradient, maps, out=product)  # into it: autocast would copy the maps
        along, total = (rows.by_group(values.sum(dim=1, dtype=scale.dtype)) for values in (product, gradient))
        mean, scale = mean.unsqueeze(2), scale.unsqueeze(2)
        grouped = weight.view(ctx.groups, -1)
        weighted, weighted_total = ((sums * grouped).sum(dim=2, keepdim=True) for sums in (along, total))
        size = x[0].numel() // ctx.groups
        slope = (weighted_total * mean - weighted) * scale.pow(3) / size
        offset = -slope * mean - weighted_total * scale / size
        torch.addcmul(rows.spread(offset), maps, rows.spread(slope), out=product)
        to_maps = product if product.dtype == maps.dtype else torch.empty_like(maps)
        torch.addcmul(product, gradient, rows.spread(scale * grouped), out=to_maps)
        to_weight = ((along - total * mean) * scale).sum(dim=0).flatten()
        return rows.back(to_maps), to_weight, total.sum(dim=0).flatten(), None, None, None


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, epsilon: float) -> Normalised:
    """Return x (B, C, *S) normalised within groups of channels, channels last, in its own type; and its statistics.

    These are means and 1 / sqrt(variance + epsilon), both (B, groups), in float32 at least.
    """
    rows, exact = _Rows(x, groups), torch.promote_types(x.dtype, torch.float32)
    maps = rows.of(x)
    if x.dtype == exact:
        variance, mean = torch.var_mean(maps, dim=1, correction=0)
    else:
        # One pass without a copy. What squares of large means lose in float32 is less than bfloat16's own rounding.
        mean = maps.mean(dim=1, dtype=exact)
        squares = torch.linalg.vector_norm(maps, dim=1, dtype=exact).square() / maps.shape[1]
        variance = (squares - mean.square()).clamp_min(0)
    mean, variance = (values.view(len(x), rows.side_by_side, groups, -1) for values in (mean, variance))
    within, between = variance.mean(dim=(1, 3)), mean.var(dim=(1, 3), correction=0)
    mean, scale = mean.mean(dim=(1, 3)), (within + between + epsilon).rsqrt()
    slope = scale.unsqueeze(2) * weight.view(groups, -1)
    offset = bias.view(groups, -1) - mean.unsqueeze(2) * slope
    normalised = torch.empty_like(x, memory_format=CHANNELS_LAST[x.ndim])  # no view: a rectifier may work in place
    torch.addcmul(rows.spread(offset), maps, rows.spread(slope), out=rows.of(normalised))
    return normalised, mean, scale


def _torchs(x: Tensor, weight: Tensor, bias: Tensor, groups: int, epsilon: float) -> Normalised:
    batch, channels, voxels = len(x), x.shape[1], x[0, 0].numel()
    return torch.native_group_norm(x, weight, bias, batch, channels, voxels, groups, epsilon)


class _Rows:
    """Maps (B, C, *S) as rows (B, V, voxels side by side * C), and numbers of their channels in that order."""

    def __init__(self, x: Tensor, groups: int) -> None:
        self.shape, self.groups = x.shape, groups
        self.side_by_side = math.gcd(x[0, 0].numel(), VOXELS)

    def of(self, maps: Tensor) -> Tensor:
        return maps.movedim(1, -1).contiguous().view(len(maps), -1, self.side_by_side * self.shape[1])

    def back(self, rows: Tensor) -> Tensor:
        return rows.view(self.shape[0], *self.shape[2:], self.shape[1]).movedim(-1, 1)

    def by_group(self, sums: Tensor) -> Tensor:
        """Add up sums of rows: (B, groups, channels a group)."""
        return sums.view(len(sums), self.side_by_side, self.groups, -1).sum(dim=1)

    def spread(self, values: Tensor) -> Tensor:
        """Repeat values (B, groups, channels a group or 1) along a row."""
        batch, channels = self.shape[:2]
        shape = (batch, self.side_by_side, self.groups, channels // self.groups)
        return values.unsqueeze(1).expand(shape).reshape(batch, 1, -1)
