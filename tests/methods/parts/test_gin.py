"""Random networks of intensities: their law, one sample after another, and the mixture with the image."""

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.parts import gin
from ssdg.methods.parts.gin import mix, random_network

SHAPES = [(3, 3, 18, 14), (3, 1, 10, 9, 12)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(shape, seed: int = 0):
    return torch.randn(shape, generator=rng(seed))


def lengths(x):
    return x.flatten(1).double().norm(dim=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_sample_has_a_network_of_its_own(shape):
    image = normal((1, *shape[1:])).expand(shape)
    out = random_network(image, (1, 3, 3, 1), 2, rng(3))
    assert not torch.allclose(out[0], out[1])
    assert not torch.allclose(out[1], out[2])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_batch_equals_plain_convolutions_of_one_sample_after_another(shape, convolutions):
    image = normal(shape)
    out = random_network(image, (3, 1, 3, 3), 2, rng(3))
    convolution = {2: F.conv2d, 3: F.conv3d}[len(shape) - 2]
    for sample in range(len(image)):
        x = image[sample : sample + 1]
        for layer, (kernel, bias) in enumerate(convolutions):
            x = convolution(x, kernel[sample], bias[sample], padding=kernel.shape[-1] // 2)
            x = torch.where(x < 0, 0.01 * x, x) if layer < 3 else x
        assert torch.allclose(x[0], out[sample], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("hidden", [2, 8])
def test_weights_and_biases_are_standard_normal_whatever_the_fan_in(size, hidden, convolutions):
    image, generator = normal((64, 3, 4, 4)), rng()
    for _ in range(20):
        random_network(image, (size,) * 4, hidden, generator)
    for layer in range(4):
        kernels = torch.cat([kernel.flatten() for kernel, _ in convolutions[layer::4]])
        biases = torch.cat([bias.flatten() for _, bias in convolutions[layer::4]])
        for values in (kernels, biases):
            assert values.std().item() == pytest.approx(1, abs=4 / len(values) ** 0.5)
            assert abs(values.mean().item()) < 4 / len(values) ** 0.5


def test_mixing_weight_zero_is_the_image_and_one_the_network():
    image, output = normal(SHAPES[0]), 7 * normal(SHAPES[0], 1)
    weight = torch.tensor([0.0, 1.0, 0.3]).view(3, 1, 1, 1)
    mixed = mix(image, output.clone(), weight)
    assert torch.allclose(mixed[0], image[0], atol=1e-5)
    assert torch.allclose(mixed[1], output[1] * lengths(image)[1] / lengths(output)[1], atol=1e-5)
    raw = mix(image, output.clone(), weight, match_norm=False)
    assert torch.allclose(raw[2], 0.3 * output[2] + 0.7 * image[2], atol=1e-5)
    assert torch.allclose(mixed[2] / raw[2], lengths(image)[2].float() / lengths(raw)[2].float(), rtol=1e-4)


def test_with_kernels_of_one_voxel_a_grey_view_is_a_function_of_intensity():
    image = torch.randint(6, (2, 1, 8, 8, 8), generator=rng()).float() - 2.5
    view = mix(image, random_network(image, (1,) * 4, 2, rng(1)), torch.ones((2, 1, 1, 1, 1)))
    for sample, source in zip(view, image, strict=True):
        spreads = [sample[source == value].std() for value in source.unique()]
        assert max(spreads) < 1e-5
    assert view[0].std() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_without_biases_a_network_is_homogeneous_and_with_them_it_is_not(shape):
    image = normal(shape)
    plain, scaled = (random_network(x, (3, 1, 3), 2, rng(1), bias=False) for x in (image, 4 * image))
    assert torch.allclose(scaled, 4 * plain, rtol=1e-4, atol=1e-4)
    plain, scaled = (random_network(x, (3, 1, 3), 2, rng(1)) for x in (image, 4 * image))
    assert not torch.allclose(scaled, 4 * plain, rtol=1e-2, atol=1e-2)


def test_slope_and_last_activation_are_those_asked_for():
    image = normal(SHAPES[0])
    linear, rectified = (
        random_network(image, (3,), 2, rng(1), slope=0.1, last_activation=last) for last in (False, True)
    )
    assert torch.equal(rectified, F.leaky_relu(linear, 0.1))
    assert (linear < 0).any()


def test_networks_and_layers_have_sizes_of_their_own():
    sizes = gin.draw_sizes(gin.GINConfig(layers=5, kernel_sizes=(1, 3, 7)), 40, rng())
    assert [len(row) for row in sizes] == [5] * 40
    assert {size for row in sizes for size in row} == {1, 3, 7}
    assert len({tuple(row) for row in sizes}) > 20
