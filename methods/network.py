"""Names of version 0.1, for plugins: the network was always SegResNet."""

from .networks.base import Features
from .networks.segresnet import SegResNet as SegmentationNetwork

__all__ = ["Features", "SegmentationNetwork"]
