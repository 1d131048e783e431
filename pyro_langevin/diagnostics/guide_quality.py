"""How well the guide covers the posterior: Pareto k-hat of its weights, and the ELBO of each seed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.layout import Draws, group

__all__ = ["best_chain", "elbo", "k_hat"]


def elbo(idata: Draws) -> xr.Dataset:
    """Evidence lower bound in nats: ``mean``, per series, and ``standard_error`` of its Monte Carlo, (chain).

    The mean over draws and series of ``log_p - log_q``, exact density ratios of the discretised paths. For draws of
    the exact posterior it is the log evidence itself.
    """
    stats = group(idata, "sample_stats", "log_p", "log_q")
    ratio = (stats["log_p"] - stats["log_q"]).mean("series")
    draws = ratio.sizes["draw"]
    error = ratio.std("draw", ddof=1) / np.sqrt(draws) if draws > 1 else ratio.mean("draw") * np.nan
    return xr.Dataset({"mean": ratio.mean("draw"), "standard_error": error})


def best_chain(idata: Draws) -> int:
    """Position of the seed with the best ELBO; the first where none is known."""
    mean = elbo(idata)["mean"].values
    return int(np.nanargmax(mean)) if np.isfinite(mean).any() else 0


def k_hat(idata: Draws) -> xr.DataArray:
    """Pareto k-hat of the weights ``exp(log_p - log_q)`` for each (chain, series).

    Shape of a generalised Pareto law fitted to the largest ``min(S / 5, 3 sqrt(S))`` weights of S draws
    (Zhang and Stephens 2009, with the prior of Vehtari et al. 2024). Below .5 the weights have a variance;
    above .7 they cannot correct the guide. Over long paths weights are nearly always bad, however good the
    guide: judge by the functionals too. NaN with fewer than 25 draws.
    """
    stats = group(idata, "sample_stats", "log_p", "log_q")
    ratio = (stats["log_p"] - stats["log_q"]).transpose("chain", "series", "draw")
    shape = np.apply_along_axis(_tail_shape, -1, ratio.values)
    return xr.DataArray(
        shape, dims=("chain", "series"), coords={d: ratio[d] for d in ("chain", "series")}, name="k_hat"
    )


def _tail_shape(log_weights: np.ndarray) -> float:
    """k-hat of one set of log weights."""
    draws = len(log_weights)
    tail = int(np.ceil(min(draws / 5, 3 * np.sqrt(draws))))
    if draws < 25 or not np.isfinite(log_weights).all():
        return float("nan")
    ordered = np.sort(log_weights - log_weights.max())
    cutoff = np.exp(max(ordered[-tail - 1], np.log(np.finfo(float).tiny)))
    excess = np.exp(ordered[-tail:]) - cutoff
    if excess[-1] <= 1e-6:  # all weights alike up to rounding: the draws are exact
        return float("-inf")
    return _pareto_shape(np.maximum(excess, 0.0))


def _pareto_shape(excess: np.ndarray) -> float:
    """Shape of a generalised Pareto law of sorted excesses (Zhang and Stephens 2009), drawn towards .5."""
    n = len(excess)
    grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    if quartile <= 0.0:
        quartile = excess[excess > 0.0][0]
    b = (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile) + 1.0 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(1)
    with np.errstate(over="ignore"):
        likelihood = n * (np.log(-b / k) - k - 1.0)
        weight = 1.0 / np.exp(likelihood - likelihood[:, None]).sum(1)
    weight = np.where(weight < 10 * np.finfo(float).eps, 0.0, weight)
    mean = (b * weight).sum() / weight.sum()
    shape = np.log1p(-mean * excess).mean()
    return float((n * shape + 10 * 0.5) / (n + 10))
