"""SRC: one random network per class, put together by smooth masks that add up to 1."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from ssdg.methods.parts import gin
from ssdg.methods.src import SRC, SRCConfig, smooth_masks

SIDES = [(12, 9), (7, 6, 8)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Stub(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return SimpleNamespace(logits=x)


def make_method(classes=3, **settings):
    return SRC(Stub(classes), SRCConfig(**settings))


def subject(sides):
    image = torch.randn((2, 2, *sides), generator=rng())
    return image, torch.randint(3, (2, 1, *sides), generator=rng(1))


@pytest.fixture
def draws(monkeypatch):
    """Record (kernels and biases of all layers, share) of every random network."""
    seen, convolve, mix = [], gin._convolve_each, gin.mix
    layers = []

    def convolution(x, kernel, bias):
        layers.append((kernel, bias))
        return convolve(x, kernel, bias)

    def mixture(image, output, weight, match):
        seen.append((layers.copy(), weight))
        layers.clear()
        return mix(image, output, weight, match)

    monkeypatch.setattr(gin, "_convolve_each", convolution)
    monkeypatch.setattr(gin, "mix", mixture)
    return seen


def authors_rendering(image, layers, share):
    """The authors' network on one image (C, *S), after their code: zero biases, a rectifier of 0.1 everywhere."""
    x = image
    for kernel, bias in layers:
        assert not bias.any()
        x = np.stack(
            [sum(ndimage.correlate(c, k, mode="constant") for c, k in zip(x, row, strict=True)) for row in kernel]
        )
        x = np.where(x < 0, 0.1 * x, x)
    x = share * x + (1 - share) * image
    return x / np.linalg.norm(x) * np.linalg.norm(image)


@pytest.mark.parametrize("sides", SIDES)
def test_it_is_the_sum_of_the_authors_networks_under_the_authors_masks(sides, draws):
    image, label = subject(sides)
    result = make_method().render(image, label, rng(3))
    assert len(draws) == 3
    offset = np.arange(-2, 3)
    gaussian = np.exp(-(offset**2) / 2)
    for sample in range(2):
        expected = np.zeros((2, *sides))
        for cls, (layers, share) in enumerate(draws):
            mask = (label[sample, 0] == cls).double().numpy()
            for axis in range(len(sides)):
                mask = ndimage.correlate1d(mask, gaussian / gaussian.sum(), axis, mode="constant")
            drawn = [(kernel[sample].double().numpy(), bias[sample].numpy()) for kernel, bias in layers]
            expected += mask * authors_rendering(image[sample].double().numpy(), drawn, share[sample].item())
        inside = (slice(None), *[slice(2, -2)] * len(sides))  # the authors pad masks with zeros
        assert np.allclose(result[sample].numpy()[inside], expected[inside], atol=1e-4)


@pytest.mark.parametrize("sides", SIDES)
def test_classes_have_kernel_sizes_shares_and_weights_of_their_own(sides, draws):
    image, label = subject(sides)
    make_method().render(image, label, rng(3))
    sizes = [tuple(kernel.shape[-1] for kernel, _ in layers) for layers, _ in draws]
    assert len(set(sizes)) > 1
    assert len({share.flatten()[0].item() for _, share in draws}) == 3
    assert len({layers[0][0].flatten()[0].item() for layers, _ in draws}) == 3


@pytest.mark.parametrize("sides", SIDES)
def test_a_label_of_one_class_is_rendered_by_its_network_alone(sides):
    image, label = subject(sides)
    alone = make_method(classes=1).render(image, torch.zeros_like(label), rng(3))
    assert torch.allclose(alone.flatten(1).norm(dim=1), image.flatten(1).norm(dim=1), rtol=1e-4)
    several = make_method(classes=1)
    [sizes] = gin.draw_sizes(several.config, 1, replay := rng(3))
    single = gin.random_rendering(image, sizes, several.config, replay, slope=0.1, bias=False, last_activation=True)
    assert torch.allclose(alone, single, atol=1e-5)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("sigma", [0.0, 1.0, 2.5])
def test_masks_add_up_to_one_everywhere(sides, sigma):
    masks = smooth_masks(subject(sides)[1], 4, sigma)
    assert torch.allclose(masks.sum(dim=1), torch.ones((2, *sides)), atol=1e-5)
    assert masks.min() >= 0
    assert not masks[:, 3].any()


def test_far_from_other_classes_only_the_own_network_counts_and_classes_differ():
    label = torch.zeros((1, 1, 12, 12), dtype=torch.long)
    label[..., 6:] = 1
    image = torch.randn((1, 1, 12, 12), generator=rng())
    mixed = make_method(classes=2).render(image, label, rng(3))
    left, right = (make_method(classes=2).render(image, torch.full_like(label, c), rng(3)) for c in (0, 1))
    assert torch.allclose(mixed[..., :4], left[..., :4], atol=1e-5)
    assert torch.allclose(mixed[..., 8:], right[..., 8:], atol=1e-5)
    assert not torch.allclose(left, right, atol=0.1)


@pytest.mark.parametrize(("name", "value"), [("slope", -0.1), ("smoothing", -1.0), ("layers", 0)])
def test_impossible_settings_are_errors_that_name_the_field(name, value):
    with pytest.raises(ValueError, match=f"method.{name}"):
        SRCConfig(**{name: value})
