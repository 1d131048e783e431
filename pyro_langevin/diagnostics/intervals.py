"""Intervals: the shortest one of a sample, on the plain and on the log scale, and that of a fraction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special, stats

__all__ = [
    "INTERVAL",
    "beta_interval",
    "fraction_interval",
    "log_normal_interval",
    "normal_interval",
    "shortest_fraction_interval",
    "shortest_interval",
]

INTERVAL = 0.9
"""Probability that every reported interval holds."""


def shortest_interval(
    values: npt.ArrayLike, *, probability: float = INTERVAL, log: bool = False
) -> tuple[float, float]:
    """Highest-density interval of a sample: the shortest that holds ``probability`` of it.

    Args:
        values: the sample, any shape; values that are not finite are left out.
        probability: what the interval holds.
        log: take the shortest interval of the logarithms. Right for times and rates, whose posterior is
            skewed: the plain shortest interval of a time is not one over that of the rate, this one is.

    Returns:
        Lower and upper end; (nan, nan) without a finite value.
    """
    sample = np.asarray(values, dtype=float).ravel()
    sample = np.sort(sample[np.isfinite(sample)])
    if len(sample) == 0:
        return float("nan"), float("nan")
    scale = np.log(sample) if log else sample
    inside = min(len(sample) - 1, int(np.ceil(probability * len(sample))))
    with np.errstate(invalid="ignore"):
        widths = scale[inside:] - scale[: len(sample) - inside]
    best = int(np.argmin(widths))
    return float(sample[best]), float(sample[best + inside])


def shortest_fraction_interval(
    values: npt.ArrayLike, *, probability: float = INTERVAL
) -> tuple[float, float]:
    """Shortest interval of a sample of fractions on the scale of the log odds, back as fractions.

    Right for fractions near nought or one, whose posterior is skewed: of records with ten transitions the plain
    shortest interval of a long-run occupancy holds the truth in 86 % of the cases, this one in 89 %, of nominal 90 %.
    """
    sample = np.asarray(values, dtype=float).ravel()
    sample = np.clip(sample[np.isfinite(sample)], 1e-12, 1.0 - 1e-12)
    low, high = shortest_interval(special.logit(sample), probability=probability)
    return float(special.expit(low)), float(special.expit(high))


def normal_interval(
    mean: npt.ArrayLike, sd: npt.ArrayLike, *, probability: float = INTERVAL
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a normal law, ``mean -/+ z sd``; same shape as the arguments."""
    reach = stats.norm.ppf(0.5 + probability / 2) * np.asarray(sd, dtype=float)
    return np.asarray(mean, dtype=float) - reach, np.asarray(mean, dtype=float) + reach


def log_normal_interval(
    centre: npt.ArrayLike, log_sd: npt.ArrayLike, *, probability: float = INTERVAL
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a log-normal law, ``centre exp(-/+ z log_sd)``, for times and rates."""
    reach = np.exp(stats.norm.ppf(0.5 + probability / 2) * np.asarray(log_sd, dtype=float))
    return np.asarray(centre, dtype=float) / reach, np.asarray(centre, dtype=float) * reach


def fraction_interval(mean: float, sd: float, *, probability: float = INTERVAL) -> tuple[float, float]:
    """Equal-tailed interval of a fraction: the Beta law with this mean and standard deviation.

    Unlike ``mean -/+ z sd`` it stays inside (0, 1). An ``sd`` beyond ``sqrt(mean (1 - mean))``, which no
    law on (0, 1) has, means that nothing is known: (0, 1).
    """
    if not (np.isfinite(mean) and np.isfinite(sd)):
        return float("nan"), float("nan")
    room = mean * (1.0 - mean)
    if sd <= 0.0 or room <= 0.0:
        return mean, mean
    concentration = room / sd**2 - 1.0
    if concentration <= 0.0:
        return 0.0, 1.0
    return beta_interval(mean * concentration, (1.0 - mean) * concentration, probability=probability)


def beta_interval(a: float, b: float, *, probability: float = INTERVAL) -> tuple[float, float]:
    """Equal-tailed interval of a Beta law with these shapes."""
    tail = (1.0 - probability) / 2
    return float(special.betaincinv(a, b, tail)), float(special.betaincinv(a, b, 1.0 - tail))
