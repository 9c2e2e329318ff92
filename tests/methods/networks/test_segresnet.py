"""The shared network is MONAI's SegResNet with one slot."""

import pytest
import torch
from monai.networks.nets import SegResNet as MonaiSegResNet
from torch import nn

from ssdg.methods.networks.segresnet import SegResNet


def make(ndim, channels=2, classes=3):
    torch.manual_seed(0)
    return SegResNet(ndim, channels, classes, init_filters=8).eval()


@pytest.mark.parametrize(("ndim", "sides"), [(2, (24, 40)), (2, (16, 32)), (3, (8, 24, 16))])
def test_output_is_segresnets_with_the_same_weights(ndim, sides):
    network = make(ndim)
    theirs = MonaiSegResNet(
        spatial_dims=ndim,
        init_filters=8,
        in_channels=2,
        out_channels=3,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
    ).eval()
    theirs.load_state_dict(network.state_dict())
    image = torch.rand((2, 2, *sides), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(network(image).logits, theirs(image))


@pytest.mark.parametrize(("ndim", "sides"), [(2, (24, 40)), (3, (8, 24, 16))])
def test_features_have_the_documented_shapes(ndim, sides):
    features = make(ndim)(torch.rand((1, 2, *sides)))
    assert features.logits.shape == (1, 3, *sides)
    assert features.decoder.shape == (1, 8, *sides)
    assert features.bottleneck.shape == (1, 64, *[side // 8 for side in sides])


def test_bottleneck_slot_changes_the_deepest_map_and_leaves_the_skips():
    network, image = make(2), torch.rand((1, 2, 32, 32))
    plain = network(image)

    class Zero(nn.Module):
        def forward(self, x):
            return 0 * x

    network.bottleneck = Zero()
    cut = network(image)
    assert torch.count_nonzero(cut.bottleneck) == 0
    assert not torch.allclose(cut.logits, plain.logits)
    assert cut.decoder.std() > 0  # the skip connections still carry the image


@pytest.mark.parametrize(("ndim", "channels", "classes", "millions"), [(2, 3, 2, 6.30), (3, 1, 8, 18.80)])
def test_size_is_that_of_the_papers_backbone(ndim, channels, classes, millions):
    with torch.device("meta"):
        network = SegResNet(ndim, channels, classes)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_filters_must_fill_the_normalisation_groups():
    with pytest.raises(ValueError, match="multiple of 8"):
        SegResNet(2, 3, 2, init_filters=12)
