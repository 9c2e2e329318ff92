"""Registry of networks as plain data: reading it imports neither torch nor any network.

Built-in networks are the table :data:`NETWORKS`. Installed packages add theirs through the entry-point group
``ssdg.networks`` (``my-network = "my_package.module:MyNetwork"``).
"""

import importlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from .. import MethodError, unknown

if TYPE_CHECKING:
    from .base import SegmentationNetwork

__all__ = ["DEFAULT", "NETWORKS", "NetworkEntry", "load_network", "network_entry", "network_registry"]

DEFAULT = "segresnet"


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """Location of a network's class, and its entries in tables and lists, without importing it."""

    module: str
    cls: str
    label: str  # the name in captions
    init_filters: str  # what `network.init_filters` is the width of
    ndims: tuple[int, ...] = (2, 3)


NETWORKS: dict[str, NetworkEntry] = {
    "segresnet": NetworkEntry("ssdg.methods.networks.segresnet", "SegResNet", "SegResNet", "first stage"),
    "dynunet": NetworkEntry("ssdg.methods.networks.dynunet", "DynUNet", "DynUNet (nnU-Net)", "first stage"),
    "flexibleunet": NetworkEntry(
        "ssdg.methods.networks.flexibleunet", "FlexibleUNet", "FlexibleUNet (EfficientNet-B0)", "decoder at half size"
    ),
}


@cache
def network_registry() -> dict[str, NetworkEntry]:
    """Return id -> entry of all networks: built-in and installed (entry points); built-in ids cannot be replaced."""
    installed = {
        point.name: NetworkEntry(point.module, point.attr, point.name, "see its documentation")
        for point in entry_points(group="ssdg.networks")
    }
    return {**installed, **NETWORKS}


def network_entry(name: str) -> NetworkEntry:
    """Return the entry of a network.

    Raises:
        MethodError: no such id; offers the nearest.
    """
    entry = NETWORKS.get(name) or network_registry().get(name)
    if entry is None:
        raise unknown("network", name, network_registry())
    return entry


def load_network(name: str) -> "type[SegmentationNetwork]":
    """Return the class of a network.

    Raises:
        MethodError: no such id, module or class, or the class is not a network.
    """
    entry = network_entry(name)
    try:
        item = getattr(importlib.import_module(entry.module), entry.cls, None)
    except (Exception, SystemExit) as error:  # a third party's module may fail in any way
        raise MethodError(f"cannot import {entry.module!r}: {type(error).__name__}: {error}") from error
    base = importlib.import_module(f"{__name__}.base").SegmentationNetwork
    if not (isinstance(item, type) and issubclass(item, base)):
        raise MethodError(f"network {name!r}: {entry.module}:{entry.cls} is no class derived from {base.__module__}")
    return item
