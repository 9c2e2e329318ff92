"""Group normalisation with a gradient of its own for few channels on the CPU."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOW_BELOW = 4
"""Channels a group below which torch's gradient is slow in channels-last layout: six times ours with one."""

VOXELS = 16
"""Voxels side by side in one row: rows are then long enough to be computed in vectors, however few the channels."""


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm``, the same output to the bit; on the CPU, channels last, a gradient summed in another order."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, same shape as x (B, C, *S)."""
        if self.num_channels < SLOW_BELOW * self.num_groups and torch.is_grad_enabled() and _channels_last(x):
            normalise: Callable[..., Tensor] = _GroupNormalisation.apply
            return normalise(x, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(x)


def _channels_last(x: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or x.ndim not in formats:
        return False
    return x.is_contiguous(memory_format=formats[x.ndim]) and not x.is_contiguous()


class _GroupNormalisation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, epsilon: float) -> Tensor:
        batch, channels, voxels = len(x), x.shape[1], x[0, 0].numel()
        normalised, mean, scale = torch.native_group_norm(x, weight, bias, batch, channels, voxels, groups, epsilon)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.groups, ctx.epsilon = groups, epsilon
        return normalised

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient will be taken: torch knows it
            normalised = F.group_norm(x, ctx.groups, weight, bias, ctx.epsilon)
            gradients = torch.autograd.grad(normalised, (x, weight, bias), upstream, create_graph=True)
            return *gradients, None, None
        batch, channels, voxels = len(x), x.shape[1], x[0, 0].numel()
        groups: int = ctx.groups
        side_by_side = math.gcd(voxels, VOXELS)

        def rows(maps: Tensor) -> Tensor:
            return maps.movedim(1, -1).contiguous().view(batch, -1, side_by_side * channels)

        def by_group(sums: Tensor) -> Tensor:
            return sums.view(batch, side_by_side, groups, -1).sum(dim=1)

        def of_rows(values: Tensor) -> Tensor:
            """From (B, groups, channels a group or 1)."""
            shape = (batch, side_by_side, groups, channels // groups)
            return values.unsqueeze(1).expand(shape).reshape(batch, 1, -1)

        # dx = a dy + b x + c, each constant within a group but for the weights in a: two sums over the voxels decide.
        gradient, maps = rows(upstream[0]), rows(x)
        product = gradient * maps
        along, total = by_group(product.sum(dim=1)), by_group(gradient.sum(dim=1))
        mean, scale = mean.unsqueeze(2), scale.unsqueeze(2)
        grouped = weight.view(groups, -1)
        weighted, weighted_total = ((sums * grouped).sum(dim=2, keepdim=True) for sums in (along, total))
        size = channels // groups * voxels
        slope = (weighted_total * mean - weighted) * scale.pow(3) / size
        offset = -slope * mean - weighted_total * scale / size
        torch.addcmul(of_rows(offset), maps, of_rows(slope), out=product)
        product.addcmul_(gradient, of_rows(scale * grouped))
        to_weight = ((along - total * mean) * scale).sum(dim=0).flatten()
        to_maps = product.view(batch, *x.shape[2:], channels).movedim(-1, 1)
        return to_maps, to_weight, total.sum(dim=0).flatten(), None, None
