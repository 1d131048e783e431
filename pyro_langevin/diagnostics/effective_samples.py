"""How many independent draws the guide's weighted draws are worth: for whole paths, and for occupancies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.guide_quality import log_ratio
from pyro_langevin.diagnostics.layout import Draws, group, observed_duration
from pyro_langevin.diagnostics.pareto import smoothed_weights, tail_shape

__all__ = ["WeightedOccupancy", "effective_samples", "weighted_occupancy"]


@dataclass(frozen=True)
class WeightedOccupancy:
    """Occupancies of each (chain, series, state) under Pareto-smoothed weights.

    Attributes:
        weight: ``(chain, series, draw)``, sum to one over the draws.
        mean: ``(chain, series, state)``, NaN where a chain lacks the state.
        variance: Posterior variance of the occupancy, same shape.
        second_moment: Mean square deviation from the guide's mean, same shape.
        error_variance: Monte Carlo variance of the mean, same shape.
        k_hat: Of the weights times the occupancy's deviation from the guide's mean, same shape.
    """

    weight: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    second_moment: np.ndarray
    error_variance: np.ndarray
    k_hat: np.ndarray


def effective_samples(idata: Draws) -> xr.Dataset:
    """Effective number of draws of the guide under Pareto-smoothed importance weights.

    Returns:
        ``paths`` (chain, series): ``1 / sum w^2``, for functions that any part of the path enters. ``occupancy``
        (chain, series, state): draws of the exact posterior that would give the series' occupancy as well,
        ``sum w d^2 / sum w^2 d^2`` with ``d`` its deviation from the guide's own mean; all draws where all have the
        same occupancy. ``pooled`` (chain, state): the same for the occupancy over all series, in proportion to their
        durations: series are independent, each with weights of its own. ``k_hat_occupancy`` (chain, series, state)
        and ``k_hat_pooled`` (chain, state): Pareto shape of the tails of ``w d``, the larger of both sides (Vehtari
        et al. 2024); of the pooled one the mean over series by their share in its variance. Long paths have uneven
        weights however good the guide: it is by these that a figure is judged.
    """
    table = weighted_occupancy(idata)
    draws = table.weight.shape[-1]
    share = _shares(idata)
    series = _effective(table.second_moment, table.error_variance, draws)
    pooled = _effective(_summed(share, table.second_moment), _summed(share, table.error_variance), draws)
    part = share[:, None] * table.second_moment
    total = part.sum(1, keepdims=True)
    by_variance = np.divide(part, total, out=np.full_like(part, 1.0 / part.shape[1]), where=total > 0.0)
    # a series that all draws agree on has no tail: minus infinity times nothing
    pooled_shape = np.where(by_variance > 0.0, by_variance * np.maximum(table.k_hat, 0.0), 0.0).sum(1)
    pooled_shape = np.where(np.isnan(table.k_hat).all(1), np.nan, pooled_shape)
    ratio = log_ratio(idata)
    occupancy = group(idata, "occupancy", "path")["path"]
    triple = ("chain", "series", "state")
    return xr.Dataset(
        {
            "paths": (("chain", "series"), 1.0 / np.square(table.weight).sum(-1)),
            "occupancy": (triple, series),
            "pooled": (("chain", "state"), pooled),
            "k_hat_occupancy": (triple, table.k_hat),
            "k_hat_pooled": (("chain", "state"), pooled_shape),
        },
        coords={"chain": ratio["chain"], "series": ratio["series"], "state": occupancy["state"]},
    )


def weighted_occupancy(idata: Draws) -> WeightedOccupancy:
    """Occupancy of every series by importance weights of its own."""
    log_weight = log_ratio(idata).values
    path = group(idata, "occupancy", "path")["path"].transpose("chain", "series", "draw", "state").values
    weight = np.apply_along_axis(smoothed_weights, -1, log_weight)
    mean = np.einsum("csd,csdk->csk", weight, path)
    # from the guide's own mean: a single draw with all the weight would deviate nowhere from the weighted one
    deviation = path - path.mean(2, keepdims=True)
    shape = np.full(mean.shape, np.nan)
    for place in np.ndindex(*mean.shape):
        chain, series, state = place
        if np.isfinite(mean[place]):
            shape[place] = _both_tails(log_weight[chain, series], deviation[chain, series, :, state])
    second = np.einsum("csd,csdk->csk", weight, deviation**2)
    variance = np.maximum(second - (mean - path.mean(2)) ** 2, 0.0)
    return WeightedOccupancy(
        weight, mean, variance, second, np.einsum("csd,csdk->csk", weight**2, deviation**2), shape
    )


def _both_tails(log_weight: np.ndarray, deviation: np.ndarray) -> float:
    """The larger k-hat of the two tails of weights times a deviation; minus infinity where there is no deviation."""
    sides = [np.maximum(side, 0.0) for side in (deviation, -deviation)]
    if max(side.max() for side in sides) < 1e-9:
        return float("-inf")
    with np.errstate(divide="ignore"):
        tails = [log_weight + np.log(side) for side in sides]
    return max(tail_shape(tail) for tail in tails)


def _effective(variance: np.ndarray, error_variance: np.ndarray, draws: int) -> np.ndarray:
    """Ratio of posterior to Monte Carlo variance, at most all draws; NaN stays."""
    known = error_variance > 1e-30
    count = np.divide(variance, error_variance, out=np.full(variance.shape, float(draws)), where=known)
    return np.asarray(np.where(np.isnan(variance), np.nan, np.minimum(count, draws)))


def _summed(share: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Variance of the occupancy over all series, (chain, state)."""
    return np.asarray(np.einsum("s,csk->ck", share, variance))


def _shares(idata: Draws) -> np.ndarray:
    """Square of each series' share in the time observed, (series)."""
    duration = observed_duration(idata).values
    return np.asarray((duration / duration.sum()) ** 2)
