"""w/o SSDG: training on the source alone, the lower bound of every comparison."""

from .base import Method


class Erm(Method):
    """The base class under a name of its own: no augmentation, no extra module, no extra term."""
