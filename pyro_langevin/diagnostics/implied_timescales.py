"""Implied timescales: relaxation times that transition probabilities at a lag stand for."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.intervals import log_normal_interval
from pyro_langevin.diagnostics.lagged_counts import chosen_lags, lagged_counts
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.transition_matrix import prior_transitions

__all__ = ["implied_timescales"]

RESAMPLES = 300


def implied_timescales(idata: Draws) -> xr.Dataset:
    """Relaxation times ``-lag / log(eigenvalue)`` of the transition probabilities at each lag, in the data's time unit.

    If hopping between the states is all there is, they do not depend on the lag; they grow with it while motion inside
    the wells and recrossings are not forgotten. ``paths`` counts pairs on the posterior paths; its interval, on the log
    scale, holds the spread over draws and seeds and what the record's length leaves open (blocks of the record drawn
    with replacement, Efron 1979). ``prior`` takes the learned dynamics' own probabilities at the same lags, geometric
    mean over the seeds: beside it, and not beside ``continuous``, the learned dynamics' relaxation times in continuous
    time, stands what the paths should show. NaN where an eigenvalue is not positive: the lag is too long for it.

    Returns:
        ``paths``, ``hdi_low``, ``hdi_high``, ``prior`` (lag, process), and ``continuous`` (process): number of states
        less one, slowest first.

    Source:
        Swope, Pitera and Suits (2004).
    """
    lags = chosen_lags(idata)
    n_processes = len(state_labels(idata)) - 1
    counts = lagged_counts(idata, lags)
    blocks = counts["blocks"].mean("chain").values  # (lag, block, from, to)
    estimate = _times(blocks.sum(1), lags)
    drawn = _times(counts["drawn"].values, lags)
    random = np.random.default_rng(0)
    n_blocks = blocks.shape[1]
    weights = random.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks), size=RESAMPLES).astype(float)
    resampled = _times(np.einsum("rb,lbij->rlij", weights, blocks), lags)
    log_sd = np.hypot(_log_sd(resampled, 0), _log_sd(drawn, (0, 1)))
    # With one block nothing is known of what the record's length leaves open.
    low, high = log_normal_interval(estimate, log_sd if n_blocks > 1 else np.nan * log_sd)

    learned = prior_transitions(idata, lags)
    logs = np.log(_times(np.where(np.isfinite(learned), learned, 0.0), lags))
    continuous = np.full(n_processes, np.nan)
    kinetics = group(idata, "kinetics")
    if "timescale" in kinetics:
        stored = kinetics["timescale"].transpose("chain", "process").values[:, :n_processes]
        continuous[: stored.shape[1]] = np.exp(mean_of_known(np.log(np.where(stored > 0.0, stored, np.nan)), 0))
    dims = ("lag", "process")
    return xr.Dataset(
        {
            "paths": (dims, estimate),
            "hdi_low": (dims, low),
            "hdi_high": (dims, high),
            "prior": (dims, np.exp(mean_of_known(logs, 0))),
            "continuous": ("process", continuous),
        },
        coords={"lag": lags, "process": np.arange(n_processes)},
        attrs={"time_unit": kinetics.attrs.get("time_unit", "")},
    )


def _times(counts: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Relaxation times of counts or probabilities (..., lag, n, n), slowest first, (..., lag, n - 1)."""
    begun = counts.sum(-1, keepdims=True)
    n = counts.shape[-1]
    # A state in which nothing begins stays where it is: a process that never relaxes, and is left out below.
    matrix = np.where(begun > 0.0, counts / np.where(begun > 0.0, begun, 1.0), np.eye(n))
    eigenvalue = np.sort(np.linalg.eigvals(matrix).real, axis=-1)[..., ::-1][..., 1:]
    usable = (eigenvalue > 0.0) & (eigenvalue < 1.0 - 1e-12)
    times = -lags[:, None] / np.log(np.where(usable, eigenvalue, 0.5))
    return np.where(usable, times, np.nan)



def _log_sd(times: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Standard deviation of the log; NaN where nothing is known."""
    logs = np.log(times)
    mean = mean_of_known(logs, axis)
    return np.sqrt(mean_of_known((logs - mean) ** 2, axis))
