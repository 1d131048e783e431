"""Kaplan-Meier estimate of a survival function from durations of which some are censored."""

from __future__ import annotations

import numpy as np
from scipy import stats

__all__ = ["kaplan_meier", "log_log_interval"]


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


def log_log_interval(
    survival: np.ndarray, variance: np.ndarray, *, probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a survival probability, normal on the scale log(-log S), so that it stays inside (0, 1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = (
            stats.norm.ppf(0.5 + probability / 2) * np.sqrt(variance) / np.abs(survival * np.log(survival))
        )
        low, high = survival ** np.exp(reach), survival ** np.exp(-reach)
    open_ended = (survival > 0.0) & (survival < 1.0)
    return np.where(open_ended, low, survival), np.where(open_ended, high, survival)
