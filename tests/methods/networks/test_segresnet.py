"""SegResNet is MONAI's, and keeps the weights of every stored run readable."""

import hashlib

import pytest
import torch

from ssdg.methods import METHODS, load_method
from ssdg.methods.networks.segresnet import SegResNet

PLAIN = {2: "708d05597dbb", 3: "ec20f1258d92"}
STORED = {
    "cutmix": {2: "16e646df3ed3", 3: "d65d54411e21"},
    "dsa": {2: "51ec72c2437a", 3: "3e329cd88191"},
    "freesdg": {2: "e54162d3a014", 3: "9cb174adc7d4"},
    "raffesdg": {2: "e54162d3a014", 3: "9cb174adc7d4"},
    "ras4dg": {2: "4650759f4f2b", 3: "6242b0114400"},
    "sansaw": {2: "cfd11655ef52", 3: "e34ae84fd1d0"},
}
"""Digests of names and shapes, in their order, in a file of final weights; PLAIN where not listed."""


@pytest.mark.parametrize(("name", "ndim"), [(name, n) for name, entry in METHODS.items() for n in entry.ndims])
def test_weights_have_the_names_shapes_and_order_of_stored_runs(name, ndim):
    method = load_method(name)(SegResNet(ndim, 3, 3, 8))
    layers = "\n".join(f"{layer} {tuple(value.shape)}" for layer, value in method.state_dict().items())
    assert hashlib.sha256(layers.encode()).hexdigest()[:12] == STORED.get(name, PLAIN)[ndim]


@pytest.mark.parametrize(("ndim", "channels", "classes", "millions"), [(2, 3, 2, 6.30), (3, 1, 8, 18.80)])
def test_size_is_that_of_the_papers_backbone(ndim, channels, classes, millions):
    with torch.device("meta"):
        network = SegResNet(ndim, channels, classes)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_filters_must_fill_the_normalisation_groups():
    with pytest.raises(ValueError, match="multiple of 8"):
        SegResNet(2, 3, 2, init_filters=12)
