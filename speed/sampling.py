"""Taking times and saying what they are worth: repeats, alternating pairs, bootstrap intervals."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Action = Callable[[], object]

RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of n samples with a 95 % bootstrap interval; NaN bounds where one sample has none."""

    value: float
    low: float
    high: float
    n: int


def clock(device: "torch.device | None" = None) -> float:
    """Return seconds; with a GPU, after everything queued on it is done."""
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


def repeat(action: Action, repeats: int, warmup: int = 1, device: "torch.device | None" = None) -> list[float]:
    """Return the seconds of each call of an action, after some calls that are not counted."""
    for _ in range(warmup):
        action()
    times = []
    for _ in range(repeats):
        began = clock(device)
        action()
        times.append(clock(device) - began)
    return times


def alternate(
    ours: Action, reference: Action, pairs: int, warmup: int = 2, device: "torch.device | None" = None
) -> tuple[list[float], list[float]]:
    """Return the seconds of two actions taken in turn, so that whatever else the machine does meets both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(warmup + pairs):
        # Who goes first changes from pair to pair: neither always finds the caches the other one left.
        for who in (0, 1) if index % 2 else (1, 0):
            taken = repeat((ours, reference)[who], 1, warmup=0, device=device)
            if index >= warmup:
                times[who].extend(taken)
    return times


def median(samples: Sequence[float]) -> Estimate:
    """Return the median of samples: for times that other work on the machine can only make longer."""
    return _estimate(np.asarray(samples, dtype=float), np.median)


def mean(samples: Sequence[float]) -> Estimate:
    """Return the mean of samples: for actions whose cost is random by design."""
    return _estimate(np.asarray(samples, dtype=float), np.mean)


def median_ratio(ours: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Return the median over pairs of ours / reference."""
    return median([one / other for one, other in zip(ours, reference, strict=True)])


def ratio_of_means(ours: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Return mean ours / mean reference: for pairs of which each draws its own cost."""
    times = np.stack([np.asarray(ours, dtype=float), np.asarray(reference, dtype=float)], axis=-1)
    return _estimate(times, lambda drawn, axis=0: np.divide(*np.moveaxis(drawn.mean(axis=axis), -1, 0)))


def exact(value: float) -> Estimate:
    """Return a value that is not repeated: it has no interval."""
    return Estimate(value, float("nan"), float("nan"), 1)


def _estimate(samples: "np.ndarray[Any, np.dtype[np.float64]]", statistic: Callable[..., Any]) -> Estimate:
    value, count = float(statistic(samples)), len(samples)
    if count < 2:
        return exact(value)
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    low, high = np.percentile(statistic(samples[drawn], axis=1), [2.5, 97.5])
    return Estimate(value, float(low), float(high), count)
