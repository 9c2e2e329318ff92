"""Finding networks: the built-in table, installed packages, and the names of version 0.1."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import ssdg.methods.networks as networks
from ssdg.methods import MethodError
from ssdg.methods.networks import DEFAULT, NETWORKS, load_network, network_registry
from ssdg.methods.networks.base import SegmentationNetwork
from ssdg.methods.networks.segresnet import SegResNet


@pytest.fixture
def installed(monkeypatch):
    """Call it with entry points: they count as declared by installed packages."""

    def declare(**points):
        declared = [EntryPoint(name, value, "ssdg.networks") for name, value in points.items()]
        monkeypatch.setattr(networks, "entry_points", lambda group: declared if group == "ssdg.networks" else [])
        network_registry.cache_clear()

    yield declare
    network_registry.cache_clear()


@pytest.mark.parametrize("name", NETWORKS)
def test_entries_are_those_of_the_classes(name):
    cls = load_network(name)
    assert issubclass(cls, SegmentationNetwork)
    assert set(NETWORKS[name].ndims) == cls.ndims
    assert set(cls(2, 1, 2, 8)._modules) >= set(cls.encoder_parts)


def test_the_default_is_segresnet():
    assert load_network(DEFAULT) is SegResNet


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(MethodError, match=r"unknown network 'dynnet': did you mean 'dynunet'\? known are dynunet"):
        load_network("dynnet")


def test_installed_networks_are_found_and_cannot_replace_built_in_ones(installed):
    installed(
        mine="ssdg.methods.networks.dynunet:DynUNet",
        segresnet="ssdg.methods.networks.dynunet:DynUNet",
        broken="no_such_module:X",
        other="ssdg.methods.erm:Erm",
    )
    assert set(network_registry()) == {*NETWORKS, "mine", "broken", "other"}
    assert load_network("mine").__name__ == "DynUNet"
    assert load_network("segresnet") is SegResNet
    with pytest.raises(MethodError, match="cannot import 'no_such_module'"):
        load_network("broken")
    with pytest.raises(MethodError, match="no class derived from"):
        load_network("other")


def test_reading_the_registry_does_not_import_torch():
    code = "import sys, ssdg.methods.networks as n; n.network_registry(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plugins_still_find_the_names_of_version_0_1():
    from ssdg.methods.network import Features, SegmentationNetwork

    assert isinstance(SegmentationNetwork(2, 3, 2, init_filters=8), networks.load_network(DEFAULT))
    assert Features._fields == ("logits", "decoder", "bottleneck")
