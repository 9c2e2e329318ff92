"""BigAug: nine random transforms of image quality, appearance and geometry, stacked.

Zhang et al.: Generalizing Deep Learning for Medical Image Segmentation to Unseen Domains via Deep Stacked
Transformation, IEEE TMI 39(7), 2020; an earlier version is arXiv 1906.03347. The authors published no code: ranges
are those on which unofficial ports and the defaults of MONAI, which comes from the same company, agree. What these do
not settle is marked in each field's source.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from .base import Batch, Frame, Method, StepContext, Terms, require, standardise, standardise_within
from .losses import soft_dice
from .parts.elastic import displacement_deviation, smooth_noise
from .transforms.affine import rotation
from .transforms.blur import blur_by_shifts, sharpen
from .transforms.contrast import extremes, gamma_curve, per_image
from .transforms.resampling import resample, resample_label, sampling_grid

Transform: TypeAlias = Literal[
    "sharpness",
    "blur",
    "noise",
    "brightness",
    "contrast",
    "perturbation",
    "rotation",
    "scaling",
    "elastic",
]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)
"""The transforms, in the order of their application."""

SMALLEST_SPAN = torch.finfo(torch.float32).tiny
"""Smallest range of intensities that a gamma curve stretches: a constant image stays constant."""

SPATIAL: tuple[Transform, ...] = ("rotation", "scaling", "elastic")

REFERENCE_SIDE = 144
"""Side of a volume, in voxels, to which the elastic deformation of the paper's table belongs."""

PORTS = "paper's table as unofficial ports and MONAI's defaults give it; the authors' code is not public"


@dataclass(frozen=True, slots=True, kw_only=True)
class BigAugConfig:
    """Settings. Magnitudes are uniform over their ranges, in units of the normalised image and in voxels."""

    transforms: tuple[Transform, ...] = field(default=TRANSFORMS, metadata={"source": "paper: all nine"})
    probability: float = field(default=0.5, metadata={"source": f"of each transform; {PORTS}", "range": (0.1, 0.9)})
    sharpness: tuple[float, ...] = field(default=(10.0, 30.0), metadata={"source": PORTS})
    sharpness_sigma: tuple[float, ...] = field(
        default=(0.5, 1.0), metadata={"source": "MONAI's default; an unofficial port: 0.25 to 1.5, independent"}
    )
    sharpness_rule: Literal["nested", "independent"] = field(
        default="nested",
        metadata={
            "source": "MONAI's default: the second width is at most the first; an unofficial port: independent"
        },
    )
    blur: tuple[float, ...] = field(default=(0.25, 1.5), metadata={"source": PORTS})
    noise: tuple[float, ...] = field(default=(0.1, 1.0), metadata={"source": PORTS})
    brightness: float = field(default=0.1, metadata={"source": PORTS})
    gamma: tuple[float, ...] = field(default=(0.5, 4.5), metadata={"source": PORTS})
    gamma_law: Literal["uniform", "log-uniform"] = field(
        default="uniform", metadata={"source": "MONAI; an unofficial port: log-uniform"}
    )
    perturbation: float = field(default=0.1, metadata={"source": PORTS})
    rotation: float = field(default=20.0, metadata={"source": f"degrees; {PORTS}"})
    scaling: tuple[float, ...] = field(default=(0.4, 1.6), metadata={"source": PORTS})
    scaling_axes: Literal["shared", "independent"] = field(
        default="shared", metadata={"source": "choice, keeps proportions; unofficial ports in 3D: independent"}
    )
    elastic_sigma: tuple[float, ...] = field(default=(10.0, 13.0), metadata={"source": "unofficial ports"})
    elastic_amplitude: tuple[float, ...] = field(default=(0.0, 1000.0), metadata={"source": "unofficial ports"})
    elastic_units: Literal["relative", "voxels"] = field(
        default="relative",
        metadata={
            "source": "choice: as on a volume of 144 voxels a side; voxels: unofficial ports, whatever the grid"
        },
    )
    padding: Literal["minimum", "border"] = field(
        default="minimum", metadata={"source": "choice; MONAI: border, TorchIO: minimum"}
    )
    renormalise: bool = field(
        default=False, metadata={"source": "choice; a port of the earlier version (1906.03347): true"}
    )

    def __post_init__(self) -> None:
        unknown = set(self.transforms) - set(TRANSFORMS)
        require(not unknown, f"method.transforms: {', '.join(sorted(unknown))} not among {', '.join(TRANSFORMS)}")
        require(0 <= self.probability <= 1, "method.probability must lie between 0 and 1")
        smallest = {"sharpness_sigma": 0.1, "blur": 0.1, "gamma": 0.01, "scaling": 0.1, "elastic_sigma": 1.0}
        for name in (*smallest, "sharpness", "noise", "elastic_amplitude"):
            values, low = getattr(self, name), smallest.get(name, 0.0)
            require(
                len(values) == 2 and low <= values[0] <= values[1],
                f"method.{name}: two numbers, smaller first, at least {low:g}",
            )
        for name in ("brightness", "perturbation", "rotation"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")


@dataclass(frozen=True, slots=True)
class Draw:
    """Gates and magnitudes of each image of a batch; magnitudes are drawn for inactive transforms too."""

    active: dict[str, Tensor]  # transform -> (B,) bool
    sharpness: Tensor  # (B,), as all others but the last two
    sigmas: tuple[Tensor, Tensor]  # of the two blurs of sharpening
    blur: Tensor
    noise: Tensor
    brightness: Tensor
    gamma: Tensor
    gain: Tensor  # of the perturbation, around 1
    offset: Tensor
    elastic_sigma: Tensor  # voxels, not yet rescaled to the grid
    elastic_amplitude: Tensor
    angles: Tensor  # (B, 1) in 2D, (B, 3) in 3D; radians
    zoom: Tensor  # (B, n); above 1 objects grow


def draw_transforms(config: BigAugConfig, count: int, ndim: int, rng: torch.Generator) -> Draw:
    """Draw gates and magnitudes for ``count`` images in one call to the generator, on its device."""
    planes = ndim * (ndim - 1) // 2
    uniform = torch.rand((count, len(TRANSFORMS) + 11 + planes + ndim), generator=rng, device=rng.device)
    gates, scalars, angles, zooms = torch.split(uniform, [len(TRANSFORMS), 11, planes, ndim], dim=1)
    chances = {name: config.probability if name in config.transforms else 0.0 for name in TRANSFORMS}
    u = scalars.unbind(1)
    first, low = _between(u[1], config.sharpness_sigma), config.sharpness_sigma[0]
    nested = config.sharpness_rule == "nested"
    shortest, longest = config.gamma
    return Draw(
        active={name: gate < chances[name] for name, gate in zip(TRANSFORMS, gates.unbind(1), strict=True)},
        sharpness=_between(u[0], config.sharpness),
        sigmas=(first, low + (first - low) * u[2] if nested else _between(u[2], config.sharpness_sigma)),
        blur=_between(u[3], config.blur),
        noise=_between(u[4], config.noise),
        brightness=_between(u[5], (-config.brightness, config.brightness)),
        gamma=_between(u[6], config.gamma)
        if config.gamma_law == "uniform"
        else shortest * (longest / shortest) ** u[6],
        gain=1 + _between(u[7], (-config.perturbation, config.perturbation)),
        offset=_between(u[8], (-config.perturbation, config.perturbation)),
        elastic_sigma=_between(u[9], config.elastic_sigma),
        elastic_amplitude=_between(u[10], config.elastic_amplitude),
        angles=_between(angles, (-1, 1)) * math.radians(config.rotation),
        zoom=_between(
            zooms if config.scaling_axes == "independent" else zooms[:, :1].expand(-1, ndim), config.scaling
        ),
    )


class BigAug(Method):
    """Supervise the stacked transforms of the normalised batch: one forward pass, one term.

    Elastic deformations are to scale with the task's grid, whatever part of it an image is: under
    ``preprocess.spacing`` they have one size in voxels, which is one in millimetres (pixels of a picture), in all
    images.
    """

    # Departure: comes on top of the protocol's shared augmentation, where that is on ("clean"), as for every method;
    # its rotations and scalings then add to these.

    Config = BigAugConfig

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the segmentation term of the transformed batch."""
        image, label = self.transform(self.augment(batch, context.rng), context.rng)
        return {"segmentation": soft_dice(self.network(image).logits, label)}

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the transformed, normalised images."""
        return self.transform(self.augment(batch, rng), rng)[0]

    def transform(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return normalised images (B, C, *S) and labels (B, 1, *S) after the nine transforms.

        They act on normalised images, which noise of deviation 1 is meant for: it would leave nothing of an image in
        [0, 1]. Nothing is clamped, and by default nothing is normalised again.
        """
        # Departure: the paper's units of intensity are unknown here; normalised images alone survive its noise.
        with torch.no_grad(), torch.autocast(batch.image.device.type, enabled=False):
            image = normalised = self.prepare(batch.image, batch.foreground, batch.frame)
            drawn = draw_transforms(self.config, len(image), image.ndim - 2, rng)
            # Black before any change: noise and sharpening would make an outlier of it, and of the margins.
            darkest = image.amin(dim=tuple(range(2, image.ndim)), keepdim=True)
            image, darkest = self.degrade(image, darkest, drawn, rng)
            image, label, foreground = self.move(image, batch, darkest, drawn, rng)
            if self.config.renormalise:
                image = self.renormalise(image, foreground, normalised, batch)
            return image, label

    def renormalise(self, image: Tensor, foreground: Tensor, before: Tensor, batch: Batch) -> Tensor:
        """Return transformed images (B, C, *S) normalised again; windows as in their whole image, of deviation 1."""
        region = foreground if self.normalisation == "foreground" else None
        if batch.frame is None:
            return standardise(image, region)
        window = self.statistics(before, batch.foreground)
        whole = torch.arange(2, device=window.device, dtype=window.dtype).expand_as(window)  # mean 0, deviation 1
        return standardise_within(image, region, Frame(whole, window))

    def degrade(self, image: Tensor, darkest: Tensor, drawn: Draw, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change quality and appearance of normalised images, and of their darkest values alike."""
        config, widest = self.config, self.config.sharpness_sigma[1]

        def choose(name: Transform, before: Tensor, after: Tensor) -> Tensor:
            return torch.where(per_image(drawn.active[name], before), after, before)

        image = choose("sharpness", image, sharpen(image, drawn.sharpness, *drawn.sigmas, widest))
        image = choose("blur", image, blur_by_shifts(image, drawn.blur, config.blur[1]))
        noise = torch.randn(image.shape, generator=rng, device=image.device)
        image = choose("noise", image, noise.mul_(per_image(drawn.noise, image)).add_(image))
        values = [image, darkest]
        values = [choose("brightness", v, v + per_image(drawn.brightness, v)) for v in values]
        bounds = extremes(values[0])
        values = [choose("contrast", v, gamma_curve(v, drawn.gamma, bounds, SMALLEST_SPAN)) for v in values]
        gain, offset = per_image(drawn.gain, image), per_image(drawn.offset, image)
        image, darkest = (choose("perturbation", v, v * gain + offset) for v in values)
        return image, darkest

    def move(
        self, image: Tensor, batch: Batch, darkest: Tensor, drawn: Draw, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate, scale and deform image, label and foreground by one resampling."""
        grid = self.draw_grid(tuple(image.shape[2:]), drawn, rng)
        # Departure: one interpolation instead of three, at the positions that the three in turn would have read.
        moved = resample(image, grid, "bilinear", darkest if self.config.padding == "minimum" else "border")
        label, foreground = resample_label(batch.label, batch.foreground, grid)
        # An image that no spatial transform was drawn for keeps its bits: interpolation would round them.
        still = per_image(~torch.stack([drawn.active[name] for name in SPATIAL]).any(dim=0), image)
        return (
            torch.where(still, image, moved),
            torch.where(still, batch.label, label),
            torch.where(still, batch.foreground, foreground),
        )

    def draw_grid(self, shape: tuple[int, ...], drawn: Draw, rng: torch.Generator) -> Tensor:
        """Return the sampling grid (B, *S, n) of the active spatial transforms."""
        config, ndim = self.config, len(shape)
        # Departure: the table is one for volumes and would bend a plane six times as far, and small grids out of
        # shape. An image is bent as far, for its size, as the table bends a volume of 144 voxels a side.
        relative = config.elastic_units == "relative"
        # Of windows, for the size of their whole images.
        scale = math.prod(self.grid or shape) ** (1 / ndim) / REFERENCE_SIDE if relative else 1.0
        amplitude = torch.where(drawn.active["elastic"], drawn.elastic_amplitude, 0.0)
        deviation = scale * displacement_deviation(amplitude, drawn.elastic_sigma, 3 if relative else ndim)
        narrowest, widest = (scale * sigma for sigma in config.elastic_sigma)
        fields = smooth_noise(shape, scale * drawn.elastic_sigma, max(1.0, narrowest), 3 * widest, rng)
        angles = torch.where(drawn.active["rotation"].unsqueeze(1), drawn.angles, 0.0)
        zoom = torch.where(drawn.active["scaling"].unsqueeze(1), drawn.zoom, 1.0)
        # Rotation first, then scaling: the last transform of the images is the first of the positions. The planes'
        # rotations in turn are the transpose of the product of their inverses.
        matrix = rotation(-angles, ndim).mT / zoom.unsqueeze(1)
        return sampling_grid(matrix, fields * deviation.view(-1, *[1] * (ndim + 1)))


def _between(uniform: Tensor, bounds: tuple[float, ...]) -> Tensor:
    low, high = bounds
    return low + (high - low) * uniform
