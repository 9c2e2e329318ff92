"""Amplitude spectra of 2D and 3D images: the frequency grid, proportional amplitude noise, and mixing.

Images are real, so half of the spectrum says everything: bins k and -k hold conjugate values. The last axis therefore
keeps its non-negative frequencies only, as ``torch.fft.rfftn`` orders them.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor


def radius(shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Return each half-spectrum bin's distance from the zero frequency: 0 there, 1 at the corner.

    sqrt(Σ m_i²) / (½ sqrt(Σ N_i²)) with m_i the signed frequency index along axis i of N_i voxels. An odd side has no
    bin at its Nyquist frequency and stays a little below 1.

    Args:
        shape: the image's grid, (H, W) or (D, H, W).
        device: where the result lives.

    Returns:
        (*shape[:-1], shape[-1] // 2 + 1) float32.
    """
    squared = torch.zeros((), dtype=torch.float64, device=device)
    for axis, side in enumerate(shape):
        last = axis == len(shape) - 1
        frequency = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(side, dtype=torch.float64, device=device)
        index = (frequency * side).square()
        squared = squared + index.view(-1, *[1] * (len(shape) - 1 - axis))
    return (2 * (squared / sum(side**2 for side in shape)).sqrt()).float()


def amplitude_deviation(
    shape: tuple[int, ...], alpha: float, beta: float, gamma: float, device: torch.device | str = "cpu"
) -> Tensor:
    """Return σ = (α · radius)^γ + β of every half-spectrum bin: β at zero, α^γ + β at the corner.

    Source: RAS4DG, the equation of RASS (m, n, p are centred frequency indices); the bracket is raised as a whole, as
    in the code of PASTA (ICCV 2023), whose published values α = 3, β = 0.25, γ = 2 the paper takes over.
    """
    return (alpha * radius(shape, device)).pow(gamma) + beta


def randomise_amplitude(image: Tensor, alpha: float, beta: float, gamma: float, rng: torch.Generator) -> Tensor:
    """Multiply each frequency of each image and channel by its own δ ~ N(1, σ²), keeping the phase.

    The law is that of independent δ on all bins of the complex transform. Taking the real part of its inverse equals
    multiplying bins k and -k of a real image by ½(δ_k + δ_-k), of variance σ²/2, or σ² where k = -k. That multiplier
    is drawn here directly, which needs half the normals and two real transforms instead of two complex ones.

    Args:
        image: (B, C, *S), real.
        alpha: growth of σ towards high frequencies.
        beta: σ of the zero frequency: how much the brightness of a channel varies.
        gamma: exponent of the growth.
        rng: on the image's device; the only source of randomness.

    Returns:
        (B, C, *S) float32, not clipped.
    """
    shape = tuple(image.shape[2:])
    axes = tuple(range(2, image.ndim))
    with torch.autocast(image.device.type, enabled=False):  # transforms have no half-precision kernels everywhere
        # Halved axis first: the inverse over the others then runs on contiguous memory, twice as fast on CPUs.
        spectrum = torch.fft.rfftn(image.float(), dim=axes).movedim(-1, 2).contiguous()
        noise = torch.randn(spectrum.shape, generator=rng, device=image.device)
        _pair_within_planes(noise, shape[-1])
        multiplier = noise.mul_(_pair_deviation(shape, alpha, beta, gamma, image.device)).add_(1)
        spectrum = torch.fft.ifftn(spectrum.mul_(multiplier), dim=axes[1:]).movedim(2, -1)
        changed: Tensor = torch.fft.irfft(spectrum, n=shape[-1], dim=-1)
        return changed


def mix_amplitudes(image: Tensor, partner: Tensor, share: Tensor, corner: int | None = None) -> Tensor:
    """Give images the amplitudes (1 - share) · own + share · partner's, at all frequencies or the lowest.

    Phases stay; a frequency that the image does not have keeps amplitude 0.

    Args:
        image: (B, C, *S), real.
        partner: (B, C, *S).
        share: (B, 1, *ones) in [0, 1].
        corner: indices below it along every axis change, those of the zero frequency being 0; None: all.

    Returns:
        (B, C, *S) float32, not clipped.
    """
    shape, axes = image.shape[2:], tuple(range(2, image.ndim))
    with torch.autocast(image.device.type, enabled=False):
        spectrum, other = (torch.fft.rfftn(images.float(), dim=axes) for images in (image, partner))
        own = spectrum.abs()
        # Departure: the corner is symmetric, from -(b - 1) to b - 1. FDA's NumPy code has one frequency more on each
        # side, -b to b; its torch code takes -b to b - 1, a spectrum of no real image.
        inside = share if corner is None else share * _corner(tuple(shape), corner, image.device)
        mixed = torch.lerp(own, other.abs(), inside.expand_as(own))
        changed: Tensor = torch.fft.irfftn(torch.sgn(spectrum) * mixed, s=shape, dim=axes)
        return changed


def _corner(shape: tuple[int, ...], corner: int, device: torch.device) -> Tensor:
    """Return which half-spectrum bins (*shape[:-1], shape[-1] // 2 + 1) lie below an index along every axis."""
    inside = torch.ones((), dtype=torch.bool, device=device)
    for axis, side in enumerate(shape):
        frequency = (torch.fft.rfftfreq if axis == len(shape) - 1 else torch.fft.fftfreq)(side, device=device)
        index = (frequency * side).abs().round()
        inside = inside & (index < corner).view(-1, *[1] * (len(shape) - 1 - axis))
    return inside


def _pair_within_planes(noise: Tensor, last_side: int) -> None:
    """Make the planes with both k and -k of a half spectrum (B, C, halved axis, *others) symmetric.

    These are the planes of the halved axis' zero and Nyquist frequency. The sum of a bin and its mirror image over √2
    keeps variance 1 where they are two bins and doubles it where they are one: exactly the law of ½(δ_k + δ_-k) up to
    the common factor that ``_pair_deviation`` carries.
    """
    planes = (0, last_side // 2) if last_side % 2 == 0 else (0,)
    axes = tuple(range(2, noise.ndim - 1))
    for index in planes:
        plane = noise[:, :, index]
        mirrored = plane.flip(axes).roll([1] * len(axes), axes)
        plane.copy_((plane + mirrored) / math.sqrt(2))


@lru_cache(maxsize=8)
def _pair_deviation(shape: tuple[int, ...], alpha: float, beta: float, gamma: float, device: torch.device) -> Tensor:
    """Return σ/√2, halved axis first; cached, because it costs as much as the transforms."""
    with torch.inference_mode(False):  # a first call while predicting must not make it unusable for training
        return (amplitude_deviation(shape, alpha, beta, gamma, device) / math.sqrt(2)).movedim(-1, 0).contiguous()
