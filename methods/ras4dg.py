"""RAS4DG: random amplitude spectrum synthesis, random mask shuffle, reconstruction design.

Qiao, Wang, Qu, Su, Jiang, Guo: Medical Image Segmentation via Single-Source Domain Generalization with Random
Amplitude Spectrum Synthesis, MICCAI 2024, arXiv 2409.04768. Only the authors' test script is public: what the paper
leaves open is marked in each field's source. The three parts are independent switches; with all of them off this is
bitwise source-only training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Batch, Method, require
from .networks.base import SegmentationNetwork
from .parts.host import host_generator
from .parts.spectrum import randomise_amplitude

SCCONV = "SCConv (CVPR 2023), unofficial code; the RAS4DG paper does not say"


@dataclass(frozen=True, slots=True, kw_only=True)
class RAS4DGConfig:
    """Settings of the three parts."""

    rass: bool = field(default=True, metadata={"source": "paper, Table 2"})
    rms: bool = field(default=True, metadata={"source": "paper, Table 2"})
    rsd: bool = field(default=True, metadata={"source": "paper, Table 2"})
    alpha: float = field(default=3.0, metadata={"source": "paper, RASS", "range": (1, 6)})
    beta: float = field(default=0.25, metadata={"source": "paper, RASS", "range": (0, 0.5)})
    gamma: float = field(default=2.0, metadata={"source": "paper, RASS"})
    probability: float = field(default=1.0, metadata={"source": "PASTA, authors' code; the paper does not say"})
    rms_regions: int = field(default=16, metadata={"source": "choice; the paper does not say"})
    rms_sides_2d: tuple[float, ...] = field(
        default=(1 / 32, 1 / 8),
        metadata={"source": "choice: 16 to 64 pixels of 512, about 9 % of an image; the paper does not say"},
    )
    rms_sides_3d: tuple[float, ...] = field(
        default=(1 / 12, 1 / 4),
        metadata={"source": "choice: 12 to 36 voxels of 144, about 7 % of a volume; the paper does not say"},
    )
    rms_probability: float = field(
        default=0.5, metadata={"source": "Models Genesis; the paper does not say", "range": (0, 1)}
    )
    rsd_ratio: float = field(default=0.5, metadata={"source": SCCONV})
    rsd_squeeze: int = field(default=2, metadata={"source": SCCONV})
    rsd_groups: int = field(default=16, metadata={"source": SCCONV})
    rsd_kernel: int = field(default=3, metadata={"source": SCCONV})
    rsd_gate: float = field(default=0.5, metadata={"source": SCCONV})
    rsd_rich: Literal["depthwise", "group"] = field(
        default="depthwise",
        metadata={"source": "paper, RSD: depth-wise and point-wise; 'group' is the unofficial SCConv"},
    )
    rsd_residual: bool = field(default=True, metadata={"source": "choice: as SCConv sits in a residual block"})

    def __post_init__(self) -> None:
        for name in ("probability", "rms_probability"):
            require(0 <= getattr(self, name) <= 1, f"method.{name} must lie between 0 and 1")
        require(
            self.alpha >= 0 and self.beta >= 0 and self.gamma > 0, "method.alpha, beta, gamma must not be negative"
        )
        require(self.rms_regions >= 1, "method.rms_regions must be at least 1; method.rms=false turns RMS off")
        for name in ("rms_sides_2d", "rms_sides_3d"):
            sides = getattr(self, name)
            require(len(sides) == 2 and 0 < sides[0] <= sides[1] <= 1, f"method.{name}: two fractions, smaller first")
        require(0 < self.rsd_ratio < 1, "method.rsd_ratio must lie between 0 and 1")
        require(self.rsd_kernel % 2 == 1, "method.rsd_kernel must be odd")
        require(
            self.rsd_squeeze >= 1 and self.rsd_groups >= 1, "method.rsd_squeeze and rsd_groups must be at least 1"
        )


class RAS4DG(Method):
    """Three parts on the shared network: two augmentations of the source, one module at the bottleneck.

    Where training sees windows, spectra are those of the windows, and boxes fractions of their sides.
    """

    Config = RAS4DGConfig

    def __init__(self, network: SegmentationNetwork, config: RAS4DGConfig | None = None) -> None:
        super().__init__(network, config)
        if self.config.rsd:
            network.bottleneck = Reconstruction(network.ndim, network.widths[-1], self.config)

    def augment(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return the batch after RASS and RMS, in the paper's order; labels and foreground untouched.

        RMS acts on the RASS output, before normalisation. Statistics over the whole grid do not change under a
        shuffle, so with that normalisation the order makes no difference; with statistics over the foreground, only
        regions across its border move them, a little. Images stay in [0, 1].
        """
        image, config = batch.image, self.config
        if config.rass:
            image = synthesise_spectrum(image, config, rng)
        if config.rms:
            sides = config.rms_sides_2d if image.ndim == 4 else config.rms_sides_3d
            image = shuffle_regions(image, config.rms_regions, sides, config.rms_probability, rng)
        return replace(batch, image=image)


def synthesise_spectrum(image: Tensor, config: RAS4DGConfig, rng: torch.Generator) -> Tensor:
    """Apply RASS to images (B, C, *S) in [0, 1], to each with ``config.probability``."""
    # Departure: clipped, as PASTA clips the same images; the paper does not mention values outside [0, 1].
    noisy = randomise_amplitude(image, config.alpha, config.beta, config.gamma, rng).clamp(0, 1)
    coin = torch.rand((len(image), *[1] * (image.ndim - 1)), generator=rng, device=image.device)
    return torch.where(coin < config.probability, noisy, image)


def shuffle_regions(
    image: Tensor, regions: int, sides: Sequence[float], probability: float, rng: torch.Generator
) -> Tensor:
    """Permute the voxels inside random boxes in turn; a voxel's channels stay together.

    Source: paper, RMS (random positions and sizes; pixels are shuffled and put back into their region).

    Args:
        image: (B, C, *S).
        regions: boxes an image; they may overlap.
        sides: smallest and largest side of a box, as fractions of the grid's side along the same axis.
        probability: of an image being changed at all.
        rng: on the image's device.

    Returns:
        (B, C, *S), a new tensor.
    """
    # Boxes of different sizes are different programs: where they lie is drawn on the host.
    host, grid = host_generator(rng), torch.tensor(image.shape[2:])
    smallest, largest = ((grid * side).round().clamp(min=1) for side in sides)
    draws = torch.rand((2, len(image), regions, len(grid)), generator=host)
    size = smallest + (draws[0] * (largest - smallest + 1)).floor()
    start = (draws[1] * (grid - size + 1)).floor()
    gates = torch.rand(len(image), generator=host) < probability
    boxes = torch.stack([start, start + size], dim=-1).long().tolist()
    shuffled = image.clone()
    for sample, change in enumerate(gates.tolist()):
        for box in boxes[sample] if change else ():
            region = shuffled[sample]
            for axis, (first, end) in enumerate(box, start=1):
                region = region.narrow(axis, first, end - first)
            voxels = region.flatten(1)
            order = torch.randperm(voxels.shape[1], generator=rng, device=image.device)
            region.copy_(voxels[:, order].view(region.shape))
    return shuffled


class Reconstruction(nn.Module):
    """RSD: spatial, then channel reconstruction of the bottleneck (B, channels, *S), residual.

    Source: paper, RSD, whose two parts are those of SCConv; where the paper is silent, SCConv's unofficial code.
    """

    def __init__(self, ndim: int, channels: int, config: RAS4DGConfig) -> None:
        super().__init__()
        require(
            channels % config.rsd_groups == 0 and channels % 2 == 0,
            f"method.rsd_groups must divide the bottleneck's {channels} channels, {config.rsd_groups} does not",
        )
        self.spatial = SpatialReconstruction(channels, config.rsd_groups, config.rsd_gate)
        self.channel = ChannelReconstruction(ndim, channels, config)
        self.residual = config.rsd_residual

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructed map, same shape as x."""
        reconstructed: Tensor = self.channel(self.spatial(x))
        return x + reconstructed if self.residual else reconstructed


class SpatialReconstruction(nn.Module):
    """Separate informative from redundant voxels by group-normalisation scales, and cross-fuse them."""

    def __init__(self, channels: int, groups: int, gate: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.gate = gate

    def importance(self, x: Tensor) -> Tensor:
        """Return each voxel's importance in (0, 1): σ(w_c · GN(x)_c) with w the normalised scales."""
        scale = self.norm.weight
        total = scale.sum()
        # The scales may change sign while training and cancel: the floor keeps w finite there, and keeps its sign.
        floor = 1e-3 * len(scale)
        total = torch.where(total.abs() < floor, torch.where(total < 0, -floor, floor), total)
        weight = (scale / total).view(-1, *[1] * (x.ndim - 2))
        normalised: Tensor = self.norm(x)
        return (weight * normalised).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return the cross-fused map, same shape as x."""
        # At the start w = 1 / channels and all importances lie within 0.004 of ½, less than bfloat16 can tell apart.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            importance = self.importance(x)
            above = importance > self.gate
            informative = torch.where(above, 1.0, importance) * x
            redundant = torch.where(above, 0.0, importance) * x
            (first, second), (third, fourth) = informative.chunk(2, dim=1), redundant.chunk(2, dim=1)
            return torch.cat([first + fourth, second + third], dim=1)


class ChannelReconstruction(nn.Module):
    """Split the channels, enrich one part, supplement the other, merge them by channel attention."""

    def __init__(self, ndim: int, channels: int, config: RAS4DGConfig) -> None:
        super().__init__()
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        upper = round(config.rsd_ratio * channels)
        lower = channels - upper
        wide, narrow = upper // config.rsd_squeeze, lower // config.rsd_squeeze
        require(min(wide, narrow) >= 1, f"method.rsd_squeeze is too large for {channels} channels")
        self.split = [upper, lower]
        self.squeeze_upper = convolution(upper, wide, 1, bias=False)
        self.squeeze_lower = convolution(lower, narrow, 1, bias=False)
        size, padding = config.rsd_kernel, config.rsd_kernel // 2
        if config.rsd_rich == "depthwise":
            depthwise = convolution(wide, wide, size, padding=padding, groups=wide, bias=False)
            self.rich: nn.Module = nn.Sequential(depthwise, convolution(wide, channels, 1))
        else:
            self.rich = convolution(wide, channels, size, padding=padding, groups=2)
        self.plain = convolution(wide, channels, 1, bias=False)
        self.supplement = convolution(narrow, channels - narrow, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the merged map, same shape as x."""
        upper, lower = torch.split(x, self.split, dim=1)
        upper, lower = self.squeeze_upper(upper), self.squeeze_lower(lower)
        enriched: Tensor = self.rich(upper) + self.plain(upper)
        supplemented = torch.cat([self.supplement(lower), lower], dim=1)
        share = channel_shares(enriched, supplemented)
        return share[0] * enriched + share[1] * supplemented


def channel_shares(first: Tensor, second: Tensor) -> Tensor:
    """Return the shares (2, B, C, *ones) of two maps (B, C, *S) in their merger; they add up to 1."""
    axes = tuple(range(2, first.ndim))
    # Departure: the unofficial SCConv takes one softmax over all 2C means, which shrinks 256 channels a thousandfold;
    # this is the pair-wise softmax of SKNet, which the paper names.
    means = torch.stack([first.float().mean(axes, keepdim=True), second.float().mean(axes, keepdim=True)])
    return F.softmax(means, dim=0)
