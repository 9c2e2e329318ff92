"""What the phantom shows: vessel trees seen by cameras, nested tissues seen by scanners. Arrays only, no files.

Anatomy is drawn from one distribution for every domain; what differs is the device, so that any loss of overlap on
a target is a shift of appearance. Vessels are darker than their surroundings on every camera: an inverted contrast
would defeat every method and measure nothing.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bytes: TypeAlias = NDArray[np.uint8]
Volume: TypeAlias = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Camera:
    """How one camera renders a fundus; colours are red, green, blue in [0, 1]."""

    colour: tuple[float, float, float]  # of the background
    absorption: tuple[float, float, float]  # fraction of light a vessel takes away, in [0, 1]
    gamma: float  # > 1 darkens the mid-tones
    noise: float  # standard deviation of the sensor's noise, full scale 1
    tilt: float  # relative fall of the illumination from one rim to the other
    texture: float  # relative amplitude of blotches in the background


@dataclass(frozen=True, slots=True)
class Scanner:
    """How one scanner renders a head of nested tissues."""

    means: tuple[float, float, float]  # intensity of fluid, cortex and core, full scale 1
    gamma: float
    noise: float
    bias: float  # relative amplitude of the smooth intensity field


# The vessels' contrast moves from one colour to another between cameras, which is what a network without
# augmentation trips over; exposure, noise and illumination follow.
CAMERAS = {
    "a": Camera((0.75, 0.50, 0.38), (0.45, 0.75, 0.55), gamma=1.0, noise=0.02, tilt=0.2, texture=0.03),
    "b": Camera((0.50, 0.55, 0.60), (0.45, 0.20, 0.50), gamma=1.2, noise=0.06, tilt=0.7, texture=0.08),
    "c": Camera((0.65, 0.45, 0.25), (0.50, 0.35, 0.20), gamma=1.3, noise=0.10, tilt=0.6, texture=0.06),
}
SCANNERS = {
    "a": Scanner((0.90, 0.40, 0.65), gamma=1.0, noise=0.02, bias=0.05),
    "b": Scanner((0.75, 0.45, 0.60), gamma=1.8, noise=0.06, bias=0.25),
}


def fundus(camera: Camera, size: int, rng: np.random.Generator) -> tuple[Bytes, Bytes, Bytes]:
    """Return image (size, size, 3) in 0..255, label and field of view (size, size) in {0, 255}."""
    rows, columns = np.mgrid[0:size, 0:size].astype(float)
    radius = np.hypot(rows - (size - 1) / 2, columns - (size - 1) / 2)
    view = radius <= 0.47 * size
    depth = _vessel_depth(size, rng)
    light = _illumination(camera, size, rng)
    disc = 0.35 * np.exp(-((np.hypot(rows - 0.5 * size, columns - 0.14 * size) / (0.08 * size)) ** 2))
    shade = (light + disc)[..., None] * np.asarray(camera.colour)
    shade = shade * (1 - np.clip(depth, 0, 1)[..., None] * np.asarray(camera.absorption))
    image = np.clip(shade, 0, 1) ** camera.gamma + rng.normal(0, camera.noise, (size, size, 3))
    image[~view] = 0
    label = (depth > 0.5) & view
    return _bytes(image), _bytes(label), _bytes(view)


def _vessel_depth(size: int, rng: np.random.Generator) -> Floats:
    """Return how much vessel each pixel holds (size, size): 1 inside, 0 outside, a soft rim of one pixel between."""
    rows, columns = np.mgrid[0:size, 0:size].astype(float)
    depth = np.zeros((size, size))
    for start, end, width in _tree(size, rng):
        along = end - start
        down, right = rows - start[0], columns - start[1]
        position = np.clip((down * along[0] + right * along[1]) / float(along @ along), 0, 1)
        distance = np.hypot(down - position * along[0], right - position * along[1])
        depth = np.maximum(depth, np.clip(width / 2 - distance + 0.5, 0, 1))
    return depth


def _tree(size: int, rng: np.random.Generator) -> list[tuple[Floats, Floats, float]]:
    """Return the segments (start, end, width in pixels) of trees that grow from the optic disc and branch."""
    disc = np.array([0.5 * size, 0.14 * size])
    tips = [(disc, angle + rng.normal(0, 0.12), 0.045 * size) for angle in (-1.15, -0.5, 0.5, 1.15)]
    segments: list[tuple[Floats, Floats, float]] = []
    while tips:
        start, angle, width = tips.pop()
        for _ in range(int(rng.integers(4, 7))):
            angle += rng.normal(0, 0.2)
            end = start + 0.06 * size * np.array([np.sin(angle), np.cos(angle)])
            segments.append((start, end, width))
            start = end
        inside = np.hypot(*(start - (size - 1) / 2)) < 0.45 * size
        if inside and width > 0.028 * size:
            spread = rng.uniform(0.4, 0.8)
            tips.append((start, angle + spread, width * rng.uniform(0.6, 0.8)))
            tips.append((start, angle - spread, width * rng.uniform(0.6, 0.8)))
    return segments


def _illumination(camera: Camera, size: int, rng: np.random.Generator) -> Floats:
    """Return the light that reaches each pixel (size, size), about 1: a tilt in a random direction, and blotches."""
    rows, columns = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    tilt: Floats = camera.tilt * (np.sin(angle) * rows + np.cos(angle) * columns)
    return 1 + tilt + camera.texture * blurred_noise((size, size), size / 12, rng)


def head(scanner: Scanner, size: int, rng: np.random.Generator) -> tuple[Volume, Bytes, Bytes]:
    """Return image (size, size, size) int16 in 0..1000, label in 0..3 and head mask in {0, 1}.

    Fluid (1) encloses a folded cortex (2) around a core (3); outside the head the image is 0.
    """
    shape = (size, size, size)
    axes = size * rng.uniform(0.36, 0.44, 3)
    grid = np.moveaxis(np.mgrid[0:size, 0:size, 0:size], 0, -1) - (size - 1) / 2
    depth = np.linalg.norm(grid / axes, axis=-1) + 0.03 * blurred_noise(shape, size / 10, rng)
    folds = 0.06 * blurred_noise(shape, size / 16, rng)
    label = (depth < 1).astype(np.uint8) + (depth + folds < 0.82) + (depth + 2 * folds < 0.5)
    label = np.where(depth < 1, label, 0).astype(np.uint8)
    field = 1 + scanner.bias * blurred_noise(shape, size / 5, rng)
    means = np.asarray((0.0, *scanner.means))[label]
    image = np.clip(means * field, 0, 1) ** scanner.gamma + rng.normal(0, scanner.noise, shape)
    image = np.where(label > 0, np.clip(image, 0.001, 1), 0)
    return np.rint(image * 1000).astype(np.int16), label, (label > 0).astype(np.uint8)


def blurred_noise(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> Floats:
    """Return periodic Gaussian noise of standard deviation 1, smoothed with a Gaussian of ``width`` pixels."""
    frequencies = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    square = np.sum(np.square(frequencies), axis=0)
    spectrum = np.fft.fftn(rng.normal(size=shape)) * np.exp(-2 * (np.pi * width) ** 2 * square)
    field = np.real(np.fft.ifftn(spectrum))
    return np.asarray((field - field.mean()) / field.std())


def _bytes(values: NDArray[np.float64] | NDArray[np.bool_]) -> Bytes:
    return np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)
