"""Interface of the shared network: everything that a method may rely on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import ClassVar, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor, nn

from .pointwise import as_products

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Memory format of maps and of convolutions' weights, by their number of axes."""

Join: TypeAlias = Callable[[int, Tensor, Tensor], Tensor]
"""(level, upsampled, skip) -> the map (B, joined, *S) that the layers of a decoder's level take."""


class Features(NamedTuple):
    """Outputs of the network."""

    logits: Tensor  # (B, classes, *S)
    decoder: Tensor  # (B, levels[-1].output, *S), the last decoder map, before the head
    bottleneck: Tensor  # (B, widths[-1], *S / stride, rounded up), after the bottleneck slot


class Level(NamedTuple):
    """Channels of one level of a decoder."""

    upsampled: int  # of the map from the level below, after the doubling of its grid
    joined: int  # of that map joined with the skip, at the input of the level's layers
    output: int


class SegmentationNetwork(nn.Module):
    """A U-shaped network for 2D or 3D images whose sides are multiples of 8, at least 16.

    A method uses these members and nothing else, so that it runs on every network:

    * ``encode(x) -> (deepest, skips)`` and ``decode(deepest, skips, join=None) -> maps``, one map a level, deepest
      level first; ``head(map) -> logits`` of the last of them. Skips are handed on as they are. ``join`` takes the
      place of the network's own way of joining the upsampled map with the skip of each level.
    * ``bottleneck``: an identity until a method fills it; ``forward`` puts the deepest map through it on its way to
      the decoder, and never the skips.
    * ``after(stage, module)``: a module that takes and returns a map (B, widths[stage], ...) behind an encoder stage;
      its output feeds the next stage and the skip.
    * ``new_decoder(channels)``: a second decoder of the same kind, with weights and a head of its own.
    * ``widths``: channels of the encoder's stages, the deepest last. ``levels``: channels of the decoder's levels,
      the deepest first. ``stride``: sides of the image over those of the deepest map.

    Args:
        ndim: 2 or 3.
        channels: image channels.
        classes: output classes, background included.
        init_filters: width of the network; the class says of which stage.
    """

    ndims: ClassVar[frozenset[int]] = frozenset({2, 3})
    encoder_parts: ClassVar[tuple[str, ...]]
    """Names of the submodules that ``network.weights`` fills."""

    widths: tuple[int, ...]
    levels: tuple[Level, ...]
    stride: int
    down_layers: nn.ModuleList
    up_samples: nn.ModuleList
    up_layers: nn.ModuleList
    conv_final: nn.Module

    def __init__(self, ndim: int, channels: int, classes: int, init_filters: int = 32) -> None:
        super().__init__()
        self.ndim, self.channels, self.classes, self.init_filters = ndim, channels, classes, init_filters
        self.build()
        as_products(self.conv_final)
        # Last: the order of a run's parameters, which its optimiser relies on, is that of their registration.
        self.bottleneck: nn.Module = nn.Identity()

    def build(self) -> None:
        """Assign the layers (``down_layers``, ``up_samples``, ``up_layers``, ``conv_final``) and their sizes."""
        raise NotImplementedError(f"{type(self).__name__} has no build")

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the deepest map and the skips, shallowest first, of x (B, channels, *S)."""
        maps = []
        for stage in self.down_layers:
            x = stage(x)
            maps.append(x)
        return x, maps[:-1]

    def after(self, stage: int, module: nn.Module) -> None:
        """Append a module to an encoder stage, whose own layers keep their names."""
        layers: nn.Module = self.down_layers[stage]
        layers.add_module(str(len(list(layers.children()))), module)

    @staticmethod
    def join(upsampled: Tensor, skip: Tensor) -> Tensor:
        """Return (B, joined, ...) of the upsampled map and the skip: side by side, the upsampled map first."""
        return torch.cat([upsampled, skip], dim=1)

    def decode(self, deepest: Tensor, skips: Sequence[Tensor], join: Join | None = None) -> list[Tensor]:
        """Return the decoder's maps, deepest level first; the last is (B, levels[-1].output, *S)."""
        return list(_climb(self, deepest, skips, join))

    def head(self, decoder: Tensor) -> Tensor:
        """Return logits (B, classes, *S) of the last decoder map, in float32 at least."""
        # In bfloat16, logits 0.4 % apart are one number, and the lower class wins.
        device = decoder.device.type
        known = torch.amp.is_autocast_available(device)  # not of "meta", on which operations are counted
        with torch.autocast(device, enabled=False) if known else nullcontext():
            logits: Tensor = self.conv_final(decoder.to(torch.promote_types(decoder.dtype, torch.float32)))
        return logits

    def forward(self, x: Tensor) -> Features:
        """Return logits, last decoder map and bottleneck for x (B, channels, *S)."""
        deepest, skips = self.encode(x)
        bottleneck = self.bottleneck(deepest)
        decoder = self.decode(bottleneck, skips)[-1]
        return Features(self.head(decoder), decoder, bottleneck)

    def new_decoder(self, channels: int) -> "Decoder":
        """Return a decoder like the network's own, with a head of the given number of channels."""
        # A whole twin for the sake of its decoder: same layers, same initialisation.
        return Decoder(self._twin(channels))

    def _twin(self, classes: int) -> Self:
        return type(self)(self.ndim, self.channels, classes, self.init_filters)

    @staticmethod
    def published_name(name: str) -> str:
        """Return an encoder layer's name in files of published weights, without the encoder's own name."""
        return name


class Decoder(nn.Module):
    """A decoder apart from its network: levels and head."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.up_samples, self.up_layers = network.up_samples, network.up_layers
        self.head = network.conv_final
        self.join = network.join

    def forward(self, deepest: Tensor, skips: Sequence[Tensor], join: Join | None = None) -> list[Tensor]:
        """Return the maps of the levels, deepest first; see :meth:`SegmentationNetwork.decode`."""
        return list(_climb(self, deepest, skips, join))


def _climb(
    layers: SegmentationNetwork | Decoder, deepest: Tensor, skips: Sequence[Tensor], join: Join | None
) -> Iterator[Tensor]:
    current = deepest
    levels = zip(layers.up_samples, layers.up_layers, reversed(skips), strict=True)
    for level, (upsample, block, skip) in enumerate(levels):
        upsampled = cropped(upsample(current), skip.shape[2:])
        current = block(layers.join(upsampled, skip) if join is None else join(level, upsampled, skip))
        yield current


def cropped(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a map (B, C, *S) cropped to a grid of the given shape."""
    for axis, side in enumerate(shape, start=2):
        x = x.narrow(axis, 0, side) if x.shape[axis] > side else x
    return x
