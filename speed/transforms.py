"""The methods' augmentations against the plain operations they consist of, on one core and on the GPU.

At the sizes of the two tasks, one image at a time, everything drawn anew each time.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from monai.networks.layers import GaussianFilter
from sampling import Action, alternate, median, median_ratio, repeat
from sheet import Options, Row
from torch import Tensor
from torch.nn import functional as F
from workload import Workload

from ssdg.benchmark.randomness import generator
from ssdg.methods.bigaug import REFERENCE_SIDE, BigAugConfig
from ssdg.methods.csdg import CSDGConfig, blend, blending_mask
from ssdg.methods.parts.elastic import smooth_noise
from ssdg.methods.parts.filters import random_convolution
from ssdg.methods.parts.gin import mix, random_network
from ssdg.methods.parts.semantic import whitening_loss
from ssdg.methods.randconv import RandConvConfig
from ssdg.methods.slaug import SLAug

PAIRS = 15
SIZES = (Workload((512, 512), cases=1), Workload((144, 144, 144), channels=1, classes=8, cases=1))

AUTHORS_SLAUG = 4.0
"""Seconds a volume of 144³ that the authors' NumPy path of SLAug took where it was measured: 1.7 + 2.3."""


def slaug(options: Options) -> Iterator[Row]:
    """Both views of SLAug, the regions of all classes included."""
    for device, size in _places(options):
        cases = size.pool(device)
        image, label = cases.images(torch.zeros(1, dtype=torch.long, device=device)), _label(cases.label)
        method = size.method("slaug", device)
        assert isinstance(method, SLAug)
        rng = generator(0, "speed", device=device)
        action = partial(method.intensity_views, image, label, rng)
        times = median(repeat(action, options.samples(PAIRS), warmup=2, device=device))
        budget = AUTHORS_SLAUG / 15 if len(size.shape) == 3 else None
        note = f"seconds an image; the budget is a fifteenth of the {AUTHORS_SLAUG:g} s of the authors' NumPy path"
        yield Row(f"SLAug, both views, {_where(size, device)}", times, "s", budget, note)


def convolutions(options: Options) -> Iterator[Row]:
    """RandConv and GIN against the convolutions they consist of, summed over their kernel sizes."""
    note = (
        "times summed over the kernel sizes, each as likely as another; plain: the same convolutions, kernels given"
    )
    for device, size in _places(options):
        image = _image(size, device)
        rng = generator(0, "speed", device=device)
        for name, pair_of, sizes in (
            ("RandConv", _randconv, RandConvConfig().kernel_sizes),
            ("GIN", _gin, CSDGConfig().kernel_sizes),
        ):
            pairs = [alternate(*pair_of(image, side, rng), options.samples(PAIRS), device=device) for side in sizes]
            ours, plain = ([sum(times) for times in zip(*every, strict=True)] for every in zip(*pairs, strict=True))
            where = _where(size, device)
            yield Row(f"{name} / plain convolutions, {where}", median_ratio(ours, plain), "x", 1.5, note)
            alone = median_ratio(*pairs[sizes.index(1)])
            yield Row(f"{name} / plain convolutions, kernels of one, {where}", alone, "x", 3.0, note)


def blending(options: Options) -> Iterator[Row]:
    """IPA: the mask and both blends, against one convolution with kernels of three."""
    config = CSDGConfig()
    note = "mask and both blends of two views; the convolution has kernels of side 3 and the image's channels"
    for device, size in _places(options):
        first, second = _image(size, device), _image(size, device)
        rng = generator(0, "speed", device=device)

        def ours(first: Tensor = first, second: Tensor = second, rng: torch.Generator = rng) -> object:
            return blend(first, second, blending_mask(first, config.blend_cells, rng))

        kernel = torch.randn((first.shape[1], first.shape[1], *[3] * len(size.shape)), device=device)
        plain = partial(_convolution(first), first, kernel, padding=1)
        ratio = median_ratio(*alternate(ours, plain, options.samples(PAIRS), device=device))
        budget = 1.0 if len(size.shape) == 3 else None
        yield Row(f"IPA / one 3-convolution, {_where(size, device)}", ratio, "x", budget, note)


def elastic(options: Options) -> Iterator[Row]:
    """BigAug's elastic field against noise at every voxel under MONAI's Gaussian filter."""
    narrowest, widest = BigAugConfig().elastic_sigma
    note = "a displacement an axis at the widest filter; plain: noise at every voxel under MONAI's GaussianFilter"
    for device, size in _places(options):
        scale = size.shape[0] / REFERENCE_SIDE
        sigma = torch.full((1,), scale * widest, device=device)
        rng = generator(0, "speed", device=device)
        ours = partial(smooth_noise, size.shape, sigma, max(1.0, scale * narrowest), 3 * scale * widest, rng)
        filtered = GaussianFilter(len(size.shape), scale * widest, truncated=3.0).to(device)

        def plain(shape: tuple[int, ...] = size.shape, rng: torch.Generator = rng, smooth: Any = filtered) -> object:
            return smooth(torch.rand((1, len(shape), *shape), generator=rng, device=rng.device))

        pairs = max(2, options.samples(PAIRS) // 3)  # seconds each
        ratio = median_ratio(*alternate(ours, plain, pairs, warmup=1, device=device))
        yield Row(f"elastic field / filter at full resolution, {_where(size, device)}", ratio, "x", None, note)


def whitening(options: Options) -> Iterator[Row]:
    """SAW against the same sum taken group by group, forward and backward."""
    note = "forward and backward, 32 channels; plain: the channels of each group gathered and multiplied in turn"
    for device, size in _places(options):
        features = torch.randn((1, 32, *size.shape), device=device, requires_grad=True)
        weight = torch.randn((size.classes, 32), device=device)
        ours = partial(_backward, partial(whitening_loss, features, weight, 0), features)
        plain = partial(_backward, partial(_group_by_group, features, weight), features)
        ratio = median_ratio(*alternate(ours, plain, options.samples(PAIRS), device=device))
        yield Row(f"SAW / group by group, {_where(size, device)}", ratio, "x", 1.0, note)


def _places(options: Options) -> Iterator[tuple[torch.device, Workload]]:
    """Return the devices with the sizes; the CPU with one core, whatever was asked for, until the next place."""
    for device in options.devices():
        for size in SIZES:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                yield device, size
            finally:
                torch.set_num_threads(threads)


def _where(size: Workload, device: torch.device) -> str:
    return f"{size.name}, {'one core' if device.type == 'cpu' else device}"


def _image(size: Workload, device: torch.device) -> Tensor:
    """Return a batch of one image (1, C, *S)."""
    return torch.rand((1, size.channels, *size.shape), generator=torch.Generator().manual_seed(0)).to(device)


def _label(label: Tensor | None) -> Tensor:
    assert label is not None
    return label.long()


def _convolution(image: Tensor) -> Callable[..., Tensor]:
    operation: Callable[..., Tensor] = {4: F.conv2d, 5: F.conv3d}[image.ndim]
    return operation


def _randconv(image: Tensor, side: int, rng: torch.Generator) -> tuple[Action, Action]:
    """Return RandConv with kernels of a side, mixed with the image, and the plain convolution."""
    channels = image.shape[1]
    kernel = torch.randn((channels, channels, *[side] * (image.ndim - 2)), device=image.device)

    def ours() -> object:
        return torch.lerp(
            image, random_convolution(image, side, rng), torch.rand((), generator=rng, device=rng.device)
        )

    return ours, partial(_convolution(image), image, kernel, padding=side // 2)


def _gin(image: Tensor, side: int, rng: torch.Generator) -> tuple[Action, Action]:
    """Return GIN with all its kernels of a side, norm and mixture included, and the plain convolutions in turn."""
    config, channels = CSDGConfig(), image.shape[1]
    path = [channels, *[config.hidden_channels] * (config.layers - 1), channels]
    grid = [side] * (image.ndim - 2)
    kernels = [torch.randn((after, before, *grid), device=image.device) for before, after in pairwise(path)]
    weight = torch.full((1, *[1] * (image.ndim - 1)), 0.5, device=image.device)

    def ours() -> object:
        return mix(image, random_network(image, [side] * config.layers, config.hidden_channels, rng), weight)

    def plain() -> object:
        x = image
        for kernel in kernels:
            x = _convolution(image)(x, kernel, padding=side // 2)
        return x

    return ours, plain


def _backward(loss: Callable[[], Tensor], features: Tensor) -> object:
    return torch.autograd.grad(loss(), features)


def _group_by_group(x: Tensor, weight: Tensor) -> Tensor:
    """Return the whitening loss with a margin of none, each group's channels gathered and multiplied in turn."""
    classes, channels = weight.shape
    size, order = weight.abs().sort(dim=1, descending=True)
    total = x.new_zeros(())
    above = torch.ones((classes, classes), dtype=torch.bool, device=x.device).triu(1)
    for group in range(channels // classes):
        chosen = x[:, order[:, group]] * size[:, group].sigmoid().view(1, -1, *[1] * (x.ndim - 2))
        flat = chosen.flatten(2)
        correlation = flat @ flat.mT / (flat.shape[2] - 1)
        total = total + correlation[:, above].abs().sum(dim=1).mean() / above.sum()
    return total
