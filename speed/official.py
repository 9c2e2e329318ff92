"""Our augmentations against the code their authors published, on the same image, one core or the GPU.

None of that code is part of this project: clone what shall be compared into one folder, under GitHub's names, and
pass it as ``--official``. What is not there, or needs a package that is not installed, is a row that says so.
"""

import contextlib
import importlib.util
import random
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from sampling import Action, alternate, ratio_of_means
from sheet import Options, Row, Skipped
from torch import Tensor, nn
from workload import Workload

from ssdg.benchmark.randomness import generator
from ssdg.methods.csdg import CSDGConfig
from ssdg.methods.feddg import FedDGConfig, interpolate_amplitude
from ssdg.methods.freesdg import FreeSDG
from ssdg.methods.parts.filters import choose, random_convolution
from ssdg.methods.parts.gin import mix, random_network
from ssdg.methods.randconv import RandConvConfig
from ssdg.methods.slaug import SLAug

PAIRS = 30  # what some draw decides what they cost
PLANE = Workload((512, 512), cases=2)
GREY_PLANE = Workload((512, 512), channels=1, cases=2)
VOLUME = Workload((144, 144, 144), channels=1, classes=8, cases=1)

SLAUG = "Kaiseem/SLAug"
CSDG = "cheng-01037/Causality-Medical-Image-Domain-Generalization"
RANDCONV = "wildphoton/RandConv"
FEDDG = "liuquande/FedDG-ELCFS"
FREESDG = "liamheng/Non-IID_Medical_Image_Segmentation"


@dataclass(frozen=True, slots=True)
class Example:
    """Images (B, C, *S) in [0, 1] with labels and foregrounds, and where ours draws from."""

    image: Tensor
    label: Tensor
    foreground: Tensor
    rng: torch.Generator
    size: Workload

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.image.device


@dataclass(frozen=True, slots=True)
class Peer:
    """One augmentation as its authors wrote it, and ours."""

    name: str
    repository: str
    size: Workload
    pair: Callable[[Path, Example], tuple[Action, Action]]
    note: str


def compare(options: Options) -> Iterator[Row]:
    """The authors' time over ours, for every augmentation whose repository is there."""
    if options.official is None:
        raise Skipped("clone the authors' repositories into one folder and pass it as --official")
    for device in options.devices():
        for peer in PEERS:
            yield _row(peer, options.official, device, options.samples(PAIRS))


def _row(peer: Peer, folder: Path, device: torch.device, pairs: int) -> Row:
    threads = torch.get_num_threads()
    where = "one core" if device.type == "cpu" else str(device)
    name = f"authors' {peer.name} / ours, {peer.size.name}, {where}"
    clone = folder / peer.repository.partition("/")[2]
    try:
        if not clone.is_dir():
            raise Skipped(f"no {clone.name} in {folder}: git clone https://github.com/{peer.repository}")
        torch.set_num_threads(1)
        with _without_gpu() if device.type == "cpu" else contextlib.nullcontext():
            ours, theirs = peer.pair(clone, _example(peer.size, device))
            ratio = ratio_of_means(*alternate(theirs, ours, pairs, device=device))
    except ImportError as error:
        return Row(name, note=f"skipped: {clone.name} needs {error.name}")
    except Skipped as error:
        return Row(name, note=f"skipped: {error}")
    finally:
        torch.set_num_threads(threads)
    return Row(name, ratio, "x", None, f"{peer.note}; https://github.com/{peer.repository}")


def _example(size: Workload, device: torch.device) -> Example:
    cases = size.pool(device)
    every = torch.arange(len(cases), device=device)
    assert cases.label is not None
    rng = generator(0, "speed", device=device)
    return Example(cases.images(every), cases.label.long(), cases.foreground, rng, size)


def _slaug(clone: Path, example: Example) -> tuple[Action, Action]:
    """Both views of every image; theirs takes NumPy arrays of one channel."""
    authors = _load(clone / "dataloaders/location_scale_augmentation.py").LocationScaleAugmentation()
    images, labels = example.image[:, 0].cpu().numpy(), example.label[:, 0].cpu().numpy()
    random.seed(0)

    def theirs() -> object:
        return [
            (
                authors.Global_Location_Scale_Augmentation(image.copy()),
                authors.Local_Location_Scale_Augmentation(image, label),
            )
            for image, label in zip(images, labels, strict=True)
        ]

    method = example.size.method("slaug", example.device)
    assert isinstance(method, SLAug)
    return partial(method.intensity_views, example.image, example.label, example.rng), theirs


def _gin(clone: Path, example: Example) -> tuple[Action, Action]:
    """One rendering of the batch by a new random network."""
    config, image = CSDGConfig(), example.image
    plane = image.ndim == 4
    module = _load(clone / "models" / ("imagefilter.py" if plane else "imagefilter3d.py"))
    channels = image.shape[1]
    authors = (module.GINGroupConv if plane else module.GINGroupConv3D)(
        out_channel=channels,
        in_channel=channels,
        interm_channel=config.hidden_channels,
        scale_pool=list(config.kernel_sizes),
        n_layer=config.layers,
    )
    weight = torch.full((len(image), *[1] * (image.ndim - 1)), 0.5, device=example.device)

    def ours() -> object:
        sides = [choose(config.kernel_sizes, example.rng) for _ in range(config.layers)]
        return mix(image, random_network(image, sides, config.hidden_channels, example.rng), weight)

    return ours, partial(authors, image)


def _randconv(clone: Path, example: Example) -> tuple[Action, Action]:
    """One random convolution of the batch, of a side drawn anew, mixed with the image."""
    image, sizes = example.image, RandConvConfig().kernel_sizes
    # Its file imports torchvision for something else.
    module = _load(clone / "lib/networks/rand_conv.py", unused=("torchvision", "torchvision.transforms"))
    authors = module.MultiScaleRandConv2d(
        in_channels=3,
        out_channels=3,
        kernel_sizes=list(sizes),
        stride=1,
        rand_bias=False,
        distribution="kaiming_normal",
    ).to(example.device)

    def theirs() -> object:
        authors.randomize()
        alpha = random.random()
        return alpha * authors(image) + (1 - alpha) * image

    def ours() -> object:
        alpha = torch.rand((), generator=example.rng, device=example.device)
        return torch.lerp(image, random_convolution(image, choose(sizes, example.rng), example.rng), alpha)

    return ours, lambda: torch.no_grad()(theirs)()


def _feddg(clone: Path, example: Example) -> tuple[Action, Action]:
    """Each image of the batch with the amplitudes of its partner; theirs takes NumPy arrays, spectra among them."""
    # Its file imports h5py for something else.
    module = _load(clone / "dataloaders/fundus_dataloader.py", unused=("h5py",))
    images, window = example.image.permute(0, 2, 3, 1).cpu().numpy(), FedDGConfig().window
    spectra = torch.fft.fft2(example.image.flip(0)).abs().cpu().numpy()

    def theirs() -> object:
        pairs = zip(images, spectra, strict=True)
        return [module.source_to_target_freq(image, spectrum, L=window) for image, spectrum in pairs]

    donor = torch.arange(len(images) - 1, -1, -1, device=example.device)
    weight = torch.ones(len(images), device=example.device)
    return partial(interpolate_amplitude, example.image, donor, window, weight), theirs


def _freesdg(clone: Path, example: Example) -> tuple[Action, Action]:
    """The fixed filter and a mixture of two others, of the batch inside its foreground."""
    # Importing the package of its models as it is would import torchvision, which the filters do not use.
    folders = ("models", "models/guided_filter_pytorch")
    with mock.patch.dict(sys.modules, {name.replace("/", "."): _package(clone / name) for name in folders}):
        module = _load(clone / "utils/gaussian_mixup.py")
    bank = module.GaussianMixUp(mixup_size=-1).to(example.device)
    fixed = module.HFCFilter(27, 9, sub_low_ratio=1, sub_mask=True, is_clamp=True).to(example.device)
    signed, mask = 2 * example.image - 1, example.foreground.float()
    method = example.size.method("freesdg", example.device)
    assert isinstance(method, FreeSDG)

    @torch.no_grad()
    def theirs() -> object:
        return fixed(signed, mask), bank(signed, mask)

    return partial(method.views, example.image, example.foreground, example.rng), theirs


PEERS = (
    Peer("SLAug", SLAUG, GREY_PLANE, _slaug, "both views, regions included; theirs in NumPy"),
    Peer("SLAug", SLAUG, VOLUME, _slaug, "both views, regions included; theirs in NumPy"),
    Peer("GIN", CSDG, PLANE, _gin, "one rendering of the batch by a new random network"),
    Peer("GIN", CSDG, VOLUME, _gin, "one rendering of the batch by a new random network"),
    Peer("RandConv", RANDCONV, PLANE, _randconv, "one random convolution of the batch, mixed with the image"),
    Peer("FedDG", FEDDG, PLANE, _feddg, "amplitudes of two images exchanged; theirs in NumPy"),
    Peer("FreeSDG", FREESDG, PLANE, _freesdg, "the fixed filter and a mixture of two"),
)


def _load(path: Path, unused: tuple[str, ...] = ()) -> Any:
    """Return a file of a clone as a module; ``unused`` are imports of it that the part compared has no use for."""
    found = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    if found is None or found.loader is None or not path.is_file():
        raise Skipped(f"{path} is not there: another version of the repository?")
    module = importlib.util.module_from_spec(found)
    absent = {
        name: types.ModuleType(name) for name in unused if importlib.util.find_spec(name.partition(".")[0]) is None
    }
    with mock.patch.dict(sys.modules, absent):
        found.loader.exec_module(module)
    return module


def _package(folder: Path) -> types.ModuleType:
    """Return a folder as a package whose own ``__init__`` is not run."""
    package = types.ModuleType(folder.name)
    package.__path__ = [str(folder)]
    return package


@contextlib.contextmanager
def _without_gpu() -> Iterator[None]:
    """Let code that moves everything to a GPU run on the CPU."""
    with (
        mock.patch.object(Tensor, "cuda", lambda self, *_, **__: self),
        mock.patch.object(nn.Module, "cuda", lambda self, *_, **__: self),
    ):
        yield
