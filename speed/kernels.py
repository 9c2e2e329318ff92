"""RASS against plain transforms, and the shared augmentations, at the sizes of the two tasks."""

from collections.abc import Iterator
from functools import partial

import torch
from sampling import alternate, mean, median, median_ratio, repeat
from sheet import Options, Row

from ssdg.benchmark.randomness import generator
from ssdg.benchmark.training.augmentation import AUGMENTATIONS
from ssdg.methods.base import Batch
from ssdg.methods.parts.spectrum import randomise_amplitude
from ssdg.methods.ras4dg import RAS4DGConfig

PAIRS = 30
REPEATS = 40
SIZES = {"144³": (1, 144, 144, 144), "3x512²": (3, 512, 512)}
BATCHES = {"2x3x512²": (2, 3, 512, 512), "2x1x144³": (2, 1, 144, 144, 144)}


def rass(options: Options) -> Iterator[Row]:
    """RASS on one image against a complex transform and its inverse of the same image, taken in turn."""
    config = RAS4DGConfig()
    for device in options.devices():
        for size, shape in SIZES.items():
            image = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0)).to(device)
            rng = generator(0, "rass", device=device)
            ours = partial(randomise_amplitude, image, config.alpha, config.beta, config.gamma, rng)
            plain = partial(there_and_back, image.to(torch.complex64))
            taken, reference = alternate(ours, plain, options.samples(PAIRS), device=device)
            times = " and ".join(f"{1000 * median(one).value:.1f} ms" for one in (taken, reference))
            fastest = " and ".join(f"{1000 * min(one):.1f} ms" for one in (taken, reference))
            note = (
                "noise drawn for every bin, deviations known from the first call; plain is ifftn(fftn(complex64)); "
                f"{size} on {device}: {times}, at best {fastest}"
            )
            yield Row(f"RASS / plain transforms, {size}, {device}", median_ratio(taken, reference), "x", 2.0, note)


def there_and_back(image: torch.Tensor) -> torch.Tensor:
    """Return the inverse transform of the transform of a complex image (B, C, *S) over its grid."""
    axes = tuple(range(2, image.ndim))
    back: torch.Tensor = torch.fft.ifftn(torch.fft.fftn(image, dim=axes), dim=axes)
    return back


def augmentation(options: Options) -> Iterator[Row]:
    """The shared augmentations of a batch, label and foreground included."""
    note = "milliseconds a batch; mean over draws, because what is drawn decides what it costs; for information"
    for device in options.devices():
        for size, shape in BATCHES.items():
            batch = _batch(shape, device)
            for name, augment in AUGMENTATIONS.items():
                if name == "none":
                    continue
                rng = generator(0, "augmentation", device=device)
                action = partial(augment, batch, rng)
                times = repeat(action, options.samples(REPEATS), warmup=2, device=device)
                yield Row(f"{name}, {size}, {device}", mean([1000 * seconds for seconds in times]), "ms", None, note)


def _batch(shape: tuple[int, ...], device: torch.device) -> Batch:
    """Return a random batch with two classes, all of it foreground but a rim."""
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(shape, generator=rng).to(device)
    foreground = torch.ones((shape[0], 1, *shape[2:]), dtype=torch.bool, device=device)
    foreground[..., :4] = False
    return Batch(image, (image[:, :1] > 0.9).long(), foreground)
