"""Amplitude statistics of images on the network's grid: how domains differ at low and at high spatial frequencies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ssdg.methods.parts.spectrum import radius

from ..data.prepared import PreparedDomain
from ..data.preprocess import full_scale
from ..errors import UsageError
from ..storage.csv_text import to_csv

CSV_COLUMNS = ("domain", "case", "stratum", "band", "from", "to", "amplitude")


@dataclass(frozen=True, slots=True)
class Bands:
    """Low and high frequency bands, as distances from zero over the distance of the farthest frequency.

    The paper does not give the limits of its Fig. 1b/c. These cut the axis of RASS, σ = (αr)^γ + β, into thirds: with
    its α = 3 the noise that RASS multiplies low frequencies by grows to σ = 1 + β at the end of the first.
    """

    low: float = 1 / 3  # up to here; the zero frequency, which is the mean brightness, is in no band
    high: float = 2 / 3  # from here on
    rings: int = 32  # of the profile, equally wide on a logarithmic axis

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < 1:
            raise UsageError(f"bands need 0 < low <= high < 1, not low {self.low:g} and high {self.high:g}")


@dataclass(frozen=True, slots=True)
class Spectra:
    """Mean amplitudes of a domain's cases, as fractions of full intensity."""

    domain: str
    cases: tuple[str, ...]
    strata: tuple[str, ...]  # of the cases
    low: NDArray[np.float64]  # (N,) mean over the low band
    high: NDArray[np.float64]  # (N,) mean over the high band
    profile: NDArray[np.float64]  # (N, rings), NaN in a ring that holds no frequency of this grid
    edges: NDArray[np.float64]  # (rings + 1,) of the rings


def measure(domain: PreparedDomain, bands: Bands) -> Spectra:
    """Return the amplitude statistics of every case of a prepared domain.

    The amplitude of a frequency is the modulus of its Fourier coefficient over the number of voxels, averaged over
    the channels and the slices of a case; statistics are means over the frequencies of a band. Images are in [0, 1],
    not normalised. Pictures are rounded to 255ths, which by itself gives each frequency 1.0e-3 / sqrt(pixels), 2e-6
    of 512 x 512: what lies near it says nothing about a domain.

    Raises:
        UsageError: no frequency of the grid lies in a band.
    """
    grids = dict.fromkeys(domain.shapes)
    least = min(float(distance[distance > 0].min()) for distance in map(_distance, grids))
    edges = np.geomspace(least * (1 - 1e-6), 1 + 1e-6, bands.rings + 1)
    rows = np.empty((len(domain.shapes), 2 + bands.rings))
    for shape in grids:
        distance, twice = _distance(shape), _multiplicity(shape).ravel()
        ring = np.digitize(distance, edges)  # 0: the zero frequency
        members = {"low": (ring > 0) & (distance <= bands.low + 1e-6), "high": distance >= bands.high - 1e-6}
        for name, inside in members.items():
            if not inside.any():
                raise UsageError(
                    f"a grid of {'x'.join(map(str, shape))} has no frequency in the {name} band "
                    f"({getattr(bands, name):g})"
                )
        total = np.bincount(ring, twice, bands.rings + 1)[1:]
        for row in (row for row, grid in enumerate(domain.shapes) if grid == shape):
            amplitude = _amplitude(domain.image[row]).ravel()
            means = [np.average(amplitude[inside], weights=twice[inside]) for inside in members.values()]
            summed = np.bincount(ring, twice * amplitude, bands.rings + 1)[1:]
            rows[row] = *means, *np.where(total > 0, summed / np.maximum(total, 1), np.nan)
    low, high, *profile = np.array([rows[slice(*domain.span(case))].mean(axis=0) for case in domain.ids]).T
    return Spectra(domain.name, domain.ids, domain.strata, low, high, np.array(profile).T, edges)


def _distance(shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(radius(shape).double().numpy().ravel())


def spectra_csv(measured: Sequence[Spectra], bands: Bands) -> str:
    """Return every number as CSV: a line a case and band, low, high and each ring of the profile."""
    rows = []
    for spectra in measured:
        for index, (case, stratum) in enumerate(zip(spectra.cases, spectra.strata, strict=True)):
            lines = [("low", 0.0, bands.low, spectra.low[index]), ("high", bands.high, 1.0, spectra.high[index])]
            rings = zip(spectra.edges[:-1], spectra.edges[1:], spectra.profile[index], strict=True)
            lines += [("ring", *ring) for ring in rings if not np.isnan(ring[-1])]
            rows += [dict(zip(CSV_COLUMNS, (spectra.domain, case, stratum, *line), strict=True)) for line in lines]
    return to_csv(CSV_COLUMNS, rows)


def fold_range(measured: Sequence[Spectra], band: str) -> float:
    """Return the largest over the smallest of the domains' median amplitudes in a band, "low" or "high"."""
    medians = [float(np.median(getattr(spectra, band))) for spectra in measured]
    return max(medians) / min(medians)


def _amplitude(image: NDArray[np.generic]) -> NDArray[np.float64]:
    values = torch.from_numpy(np.asarray(image, dtype=np.float32) / full_scale(image.dtype))
    axes = tuple(range(1, image.ndim))
    coefficients = torch.fft.rfftn(values, dim=axes, norm="forward")
    return np.asarray(coefficients.abs().mean(dim=0).double().numpy())


def _multiplicity(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how many frequencies of the whole spectrum each bin of the half spectrum stands for: 1 or 2."""
    bins = np.arange(shape[-1] // 2 + 1)
    return np.broadcast_to(np.where(2 * bins % shape[-1] == 0, 1.0, 2.0), (*shape[:-1], len(bins)))
