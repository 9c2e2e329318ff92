"""Amplitude statistics of images on the network's grid: how domains differ at low and at high spatial frequencies."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ssdg.methods.parts.spectrum import radius

from ..data.prepared import PreparedDomain
from ..errors import UsageError
from ..storage.run_folder import to_csv

CSV_COLUMNS = ("domain", "case", "stratum", "band", "from", "to", "amplitude")


@dataclass(frozen=True, slots=True)
class Bands:
    """Which frequencies are low and which are high, by their distance from zero as a fraction of the farthest one's.

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
    """Mean amplitudes of a domain's cases, as fractions of full intensity.

    Attributes:
        domain: its name.
        cases: their ids.
        strata: of the cases.
        low: (N,) mean over the low band.
        high: (N,) mean over the high band.
        profile: (N, rings), NaN in a ring that holds no frequency of this grid.
        edges: (rings + 1,) of the rings.
    """

    domain: str
    cases: tuple[str, ...]
    strata: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    profile: NDArray[np.float64]
    edges: NDArray[np.float64]


def measure(domain: PreparedDomain, bands: Bands) -> Spectra:
    """Return the amplitude statistics of every case of a prepared domain.

    The amplitude of a frequency is the modulus of its Fourier coefficient over the number of voxels, averaged over
    the channels; statistics are means over the frequencies of a band. Images are in [0, 1], not normalised. Pictures
    are rounded to 255ths, which by itself gives each frequency 1.0e-3 / sqrt(pixels), 2e-6 of 512 x 512: what lies
    near it says nothing about a domain.

    Raises:
        UsageError: no frequency of the grid lies in a band.
    """
    shape = domain.image.shape[2:]
    distance = radius(shape).double().numpy().ravel()
    twice = _multiplicity(shape).ravel()
    edges = np.geomspace(distance[distance > 0].min() * (1 - 1e-6), 1 + 1e-6, bands.rings + 1)
    ring = np.digitize(distance, edges)  # 0: the zero frequency
    members = {"low": (ring > 0) & (distance <= bands.low + 1e-6), "high": distance >= bands.high - 1e-6}
    for name, inside in members.items():
        if not inside.any():
            limit = getattr(bands, name)
            raise UsageError(f"a grid of {'x'.join(map(str, shape))} has no frequency in the {name} band ({limit:g})")
    total = np.bincount(ring, twice, bands.rings + 1)[1:]
    low, high, profile = [], [], []
    for image in domain.image:
        amplitude = _amplitude(image).ravel()
        low.append(np.average(amplitude[members["low"]], weights=twice[members["low"]]))
        high.append(np.average(amplitude[members["high"]], weights=twice[members["high"]]))
        summed = np.bincount(ring, twice * amplitude, bands.rings + 1)[1:]
        profile.append(np.where(total > 0, summed / np.maximum(total, 1), np.nan))
    numbers = np.array(low), np.array(high), np.array(profile)
    return Spectra(domain.name, domain.ids, domain.strata, *numbers, edges)


def spectra_csv(measured: list[Spectra], bands: Bands) -> str:
    """Return every number as CSV: a line a case and band, low, high and each ring of the profile."""
    rows = []
    for one in measured:
        for index, (case, stratum) in enumerate(zip(one.cases, one.strata, strict=True)):
            found = [("low", 0.0, bands.low, one.low[index]), ("high", bands.high, 1.0, one.high[index])]
            limits = zip(one.edges[:-1], one.edges[1:], one.profile[index], strict=True)
            found += [("ring", *ring) for ring in limits]
            for values in found:
                if not np.isnan(values[-1]):
                    rows.append(dict(zip(CSV_COLUMNS, (one.domain, case, stratum, *values), strict=True)))
    return to_csv(CSV_COLUMNS, rows)


def spread(measured: list[Spectra], band: str) -> float:
    """Return the largest over the smallest of the domains' median amplitudes in a band, "low" or "high"."""
    medians = [float(np.median(getattr(one, band))) for one in measured]
    return max(medians) / min(medians)


def _amplitude(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return an image (C, *S), uint8 or in [0, 1], as amplitudes of its half spectrum, averaged over the channels."""
    full = 255.0 if image.dtype == np.uint8 else 1.0
    values = torch.from_numpy(np.asarray(image, dtype=np.float32) / full)
    axes = tuple(range(1, image.ndim))
    coefficients = torch.fft.rfftn(values, dim=axes, norm="forward")
    return np.asarray(coefficients.abs().mean(dim=0).double().numpy())


def _multiplicity(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how many frequencies of the whole spectrum each bin of the half spectrum stands for: 1 or 2."""
    last = shape[-1]
    twice = np.full(last // 2 + 1, 2.0)
    twice[0] = 1
    if last % 2 == 0:
        twice[-1] = 1
    return np.broadcast_to(twice, (*shape[:-1], len(twice)))
