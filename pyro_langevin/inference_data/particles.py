"""Occupancy and evidence by guided particle smoothing, as variables of the draws."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from pyro_langevin.inference_data.groups import time_weights
from pyro_langevin.landscape import Landscape
from pyro_langevin.observations import Observations
from pyro_langevin.particle_filter import ParticleSmoothing

__all__ = ["particle_evidence", "particle_occupancy"]


def particle_occupancy(
    smoothed: ParticleSmoothing, observations: Observations, landscape: Landscape
) -> xr.Dataset:
    """Fraction of time in each state, of each series.

    Returns:
        ``smoothed`` (series, state), its Monte Carlo standard error ``smoothed_error`` from the spread of independent
        runs, and ``smoothed_sd``, the standard deviation of the posterior.
    """
    z = smoothed.z[..., : landscape.dim].double().cpu().numpy()
    outside = np.isnan(z[..., 0])
    state = np.where(outside, -1, landscape.basin(np.nan_to_num(z)))
    weights = time_weights(observations)
    belongs = state[..., None] == np.arange(landscape.n_states)
    fraction = (belongs * weights[..., None]).sum(-2) / weights.sum(-1)[:, None]
    values = torch.from_numpy(fraction).to(smoothed.run_weight.device)
    mean, error = smoothed.expectation(values)
    square, _ = smoothed.expectation(values.square())
    deviation = (square - mean.square()).clamp_min(0.0).sqrt()
    parts = {"smoothed": mean, "smoothed_error": error, "smoothed_sd": deviation}
    return xr.Dataset({name: (("series", "state"), part.cpu().numpy()) for name, part in parts.items()})


def particle_evidence(smoothed: ParticleSmoothing) -> xr.Dataset:
    """Log evidence of each series in nats, its error, and how much wider the guide had to be made, (series)."""
    parts = {
        "log_evidence": smoothed.log_evidence,
        "log_evidence_error": smoothed.log_evidence_error,
        "guide_widening": smoothed.widening,
    }
    return xr.Dataset({name: (("series",), part.cpu().numpy()) for name, part in parts.items()})
