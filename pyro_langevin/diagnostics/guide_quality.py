"""How well the guide covers the posterior: Pareto k-hat of its weights, and its distance from the evidence."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.layout import Draws, group
from pyro_langevin.diagnostics.pareto import log_mean_exp, tail_shape

__all__ = ["best_chain", "elbo", "evidence_gap", "k_hat", "log_ratio"]


def elbo(idata: Draws) -> xr.Dataset:
    """Evidence lower bound in nats: ``mean``, per series, and ``standard_error`` of its Monte Carlo, (chain).

    The mean over draws and series of ``log_p - log_q``, exact density ratios of the discretised paths. For draws of
    the exact posterior it is the log evidence itself.
    """
    ratio = log_ratio(idata).mean("series")
    draws = ratio.sizes["draw"]
    error = ratio.std("draw", ddof=1) / np.sqrt(draws) if draws > 1 else ratio.mean("draw") * np.nan
    return xr.Dataset({"mean": ratio.mean("draw"), "standard_error": error})


def best_chain(idata: Draws) -> int:
    """Position of the seed with the best ELBO; the first where none is known."""
    mean = elbo(idata)["mean"].values
    return int(np.nanargmax(mean)) if np.isfinite(mean).any() else 0


def log_ratio(idata: Draws) -> xr.DataArray:
    """Log importance weights ``log_p - log_q`` of the draws, (chain, series, draw)."""
    stats = group(idata, "sample_stats", "log_p", "log_q")
    return (stats["log_p"] - stats["log_q"]).transpose("chain", "series", "draw")


def k_hat(idata: Draws) -> xr.DataArray:
    """Pareto k-hat of the weights ``exp(log_p - log_q)`` for each (chain, series).

    Shape of a generalised Pareto law fitted to the largest ``min(S / 5, 3 sqrt(S))`` weights of S draws
    (Zhang and Stephens 2009, with the prior of Vehtari et al. 2024). Below .5 the weights have a variance;
    above .7 they cannot correct the guide. Over long paths weights are nearly always bad, however good the
    guide: judge by the functionals too (:func:`~pyro_langevin.diagnostics.effective_samples`). NaN with fewer than
    25 draws.
    """
    ratio = log_ratio(idata)
    shape = np.apply_along_axis(tail_shape, -1, ratio.values)
    return xr.DataArray(
        shape, dims=("chain", "series"), coords={d: ratio[d] for d in ("chain", "series")}, name="k_hat"
    )


def evidence_gap(idata: Draws) -> xr.Dataset:
    """How far the ELBO lies below the log evidence, in nats, for each (chain, series).

    Returns:
        ``iwae``: log mean weight of the S draws minus the mean log weight, ``iwae_error`` its standard error (delta
        method). The first is the bound of Burda et al. 2016 with S draws, itself below the evidence, so this is the
        least that the ELBO falls short. ``particles``, ``particles_error``: the same against the evidence from guided
        particle smoothing; NaN where none is stored. Both are zero for draws of the exact posterior.
    """
    ratio = log_ratio(idata)
    values, draws = ratio.values, ratio.sizes["draw"]
    mean, bound = values.mean(-1), log_mean_exp(values)
    # how much the difference would move if one more draw like this came
    influence = np.exp(values - bound[..., None]) - values
    scale = np.sqrt(max(draws, 1))
    own = values.std(-1, ddof=1) / scale if draws > 1 else np.full_like(mean, np.nan)
    error = influence.std(-1, ddof=1) / scale if draws > 1 else own
    pair = ("chain", "series")
    result = xr.Dataset(
        {"iwae": (pair, bound - mean), "iwae_error": (pair, error)}, coords={d: ratio[d] for d in pair}
    )
    stats = group(idata, "sample_stats")
    if "log_evidence" not in stats:
        missing = result["iwae"] * np.nan
        return result.assign(particles=missing, particles_error=missing)
    evidence = stats["log_evidence"].transpose(*pair)
    theirs = stats["log_evidence_error"].transpose(*pair).values if "log_evidence_error" in stats else 0.0
    return result.assign(
        particles=(pair, evidence.values - mean), particles_error=(pair, np.hypot(own, theirs))
    )
