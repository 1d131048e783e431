"""Kaplan-Meier estimate of a survival function from durations of which some are censored."""

from __future__ import annotations

import numpy as np
from scipy import stats

__all__ = ["arcsine_interval", "kaplan_meier"]


def kaplan_meier(durations: np.ndarray, ended: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of outlasting each duration ``at``, and Greenwood's variance of it.

    ``S(t) = prod_{t_i <= t} (1 - d_i / n_i)`` over the distinct complete durations ``t_i``, with ``d_i``
    ends among the ``n_i`` runs that lasted at least so long. Beyond the longest run, if that one is
    censored, nothing is known: NaN.

    Args:
        durations: (run,) time from the beginning of a run to its end, or to where it was last seen.
        ended: (run,) False where the run was cut off.
        at: durations at which to evaluate.
    """
    distinct = np.unique(durations[ended])
    ordered = np.sort(durations)
    at_risk = len(ordered) - np.searchsorted(ordered, distinct, side="left")
    complete = np.sort(durations[ended])
    deaths = np.searchsorted(complete, distinct, side="right") - np.searchsorted(
        complete, distinct, side="left"
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(1.0 - deaths / at_risk)
        greenwood = survival**2 * np.cumsum(deaths / (at_risk * (at_risk - deaths)))
    greenwood = np.where(survival > 0.0, greenwood, 0.0)
    step = np.searchsorted(distinct, at, side="right")
    curve = np.concatenate([[1.0], survival])[step]
    variance = np.concatenate([[0.0], greenwood])[step]
    unknown = (at > ordered[-1]) & (curve > 0.0)
    return np.where(unknown, np.nan, curve), np.where(unknown, np.nan, variance)


def arcsine_interval(
    survival: np.ndarray, variance: np.ndarray, *, probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a survival probability, normal on the scale arcsin(sqrt(S)) (Borgan and Liestol 1990).

    It stays inside (0, 1), and unlike the one on the scale log(-log S) does not fly apart where the curve has
    just left one.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = stats.norm.ppf(0.5 + probability / 2) * np.sqrt(variance / (4 * survival * (1 - survival)))
        angle = np.arcsin(np.sqrt(survival))
        low = np.sin(np.clip(angle - reach, 0.0, np.pi / 2)) ** 2
        high = np.sin(np.clip(angle + reach, 0.0, np.pi / 2)) ** 2
    inside = (survival > 0.0) & (survival < 1.0)
    return np.where(inside, low, survival), np.where(inside, high, survival)
