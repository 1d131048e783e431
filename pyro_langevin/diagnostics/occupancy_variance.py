"""What makes an occupancy unsure: its variance, split into the sources."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.layout import Draws, group, state_labels, trusted_stationary
from pyro_langevin.diagnostics.occupancy import pooled_path, record_sd

__all__ = ["occupancy_variance"]

SOURCES = {
    "path": "variance over the draws of one seed: what the noise of the data leaves open",
    "record": "sampling variance of the time fraction in records of these lengths: what only a longer record cures",
    "seed": "variance over the seeds of the learned potential's occupancy",
    "monte_carlo": "error of averaging finitely many draws, and of the integral over the potential",
    "step": "squared difference between the occupancy of the dynamics as discretised and in continuous time",
}


def occupancy_variance(idata: Draws) -> xr.Dataset:
    """Variance of each state's occupancy by source, so that one sees what would make it surer.

    The sources are told apart as ``attrs`` say. The seeds' part counts once, although the reported figure is their
    mean, since what makes fits differ (local optima) need not average out; it is unknown, and zero, for a single seed,
    as are the Monte Carlo and the step part where they were not computed. The step part is a squared bias: a finer step
    cures it, nothing else does.

    Returns:
        ``variance`` (source, state), sources ``path``, ``record``, ``seed``, ``monte_carlo``, ``step``.
    """
    stationary = trusted_stationary(idata).values
    path = pooled_path(idata)  # (chain, draw, state)
    draws = path.shape[1]
    within = path.var(1, ddof=1) if draws > 1 else np.zeros_like(stationary)
    held = group(idata, "occupancy")
    squared_error = np.zeros_like(stationary)
    if "stationary_error" in held:
        error = held["stationary_error"].isel(estimator=0).transpose("chain", "state")
        squared_error = error.values**2
    step = np.zeros_like(stationary)
    if "stationary_chain" in held:
        step = (held["stationary_chain"].transpose("chain", "state").values - stationary) ** 2
    count = np.maximum(np.isfinite(stationary).sum(0), 1)
    centre = mean_of_known(stationary)
    rows = {
        "path": _over_chains(within),
        "record": record_sd(idata).values ** 2,
        "seed": _over_chains((stationary - centre) ** 2) * count / np.maximum(count - 1, 1),
        "monte_carlo": (_over_chains(within) / draws + _over_chains(squared_error)) / count,
        "step": _over_chains(step),
    }
    return xr.Dataset(
        {"variance": (("source", "state"), np.array([rows[source] for source in SOURCES]))},
        coords={"source": list(SOURCES), "state": state_labels(idata)},
        attrs=dict(SOURCES),
    )


def _over_chains(values: np.ndarray) -> np.ndarray:
    """Mean over the chains that have the figure; 0 where none has."""
    return np.nan_to_num(mean_of_known(values))
