"""How well a fit forecasts: the log predictive density of every observation given those before it."""

from __future__ import annotations

import numpy as np
import pyro
import torch
import xarray as xr

from pyro_langevin.inference_data.grid_forecast import grid_forecast
from pyro_langevin.observations import Observations
from pyro_langevin.particle_filter import particle_forecast
from pyro_langevin.training import FitResult, FittedMember
from pyro_langevin.training.phases import can_be_exact


def leave_future_out(
    result: FitResult,
    observations: Observations,
    *,
    horizon: int = 1,
    after: float | None = None,
    exact: bool = True,
    particles: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    r"""Log predictive density :math:`\ln p(y_k \mid y_0 \dots y_{k-h})` of every observation, in nats.

    The parameters stay as they were fitted. Where the fit has seen the observations that are scored, this says how well
    the fitted process forecasts its own data; fit to the beginning of the record and score what comes ``after`` it to
    leave the future out of the fit, too. Exact up to the grid for a fit on its exact evidence; else from particles of
    the prior as discretised (Monte Carlo). Give it to :func:`~pyro_langevin.as_elpd` for ``arviz.compare``.

    Args:
        result: From :func:`~pyro_langevin.fit`.
        observations: The data to forecast.
        horizon: How many rows ahead.
        after: Score observations later than this time alone, in the data's unit; all earlier ones are still known.
        exact: Take the grid where there is one; False takes particles always.
        particles: Number of particles a series, where there is no grid.
        seed: Seed of the particles.

    Returns:
        ``log_density`` ``(chain, series, time)`` of each seed's model, and ``ensemble`` ``(series, time)``, the log of
        the seeds' mean density. NaN where nothing was observed, or fewer than ``horizon`` rows went before. Attributes:
        ``horizon``, and ``method``, ``grid`` or ``particles``.

    Raises:
        ValueError: If ``horizon`` or ``particles`` is below 1, no observation is later than ``after``, or the
            observations do not fit the model.
    """
    if horizon < 1 or particles < 1:
        raise ValueError(
            f"leave_future_out: expected horizon and particles of at least 1, got {horizon} and {particles}"
        )
    member = result.members[0]
    member.model.emission.check(observations)
    times = observations.times.cpu().numpy()
    rows = observations.inside.cpu().numpy()
    scored = rows & observations.mask.any(-1).cpu().numpy()
    if after is not None:
        scored &= times > after
        if not scored.any():
            last = times[rows].max()
            raise ValueError(f"leave_future_out: expected observations after {after}, got none; the last is at {last}")
    exact = exact and all(one.grid is not None for one in result.members) and can_be_exact(result.model, observations)
    pyro.set_rng_seed(seed)
    found = [_scores(one, observations, horizon, exact, particles) for one in result.members]
    log_density = np.where(scored, np.stack(found), np.nan)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        ensemble = np.logaddexp.reduce(log_density, axis=0) - np.log(len(found))
    return xr.Dataset(
        {"log_density": (("chain", "series", "time"), log_density), "ensemble": (("series", "time"), ensemble)},
        coords={"chain": np.arange(len(found)), "series": observations.series_names},
        attrs={"horizon": horizon, "method": "grid" if exact else "particles"},
    )


@torch.no_grad()
def _scores(
    member: FittedMember, observations: Observations, horizon: int, exact: bool, particles: int
) -> np.ndarray:
    """Scores of one fit, ``(series, time)``."""
    data = observations.to(device=next(member.model.parameters()).device)
    with pyro.get_param_store().scope():  # each fit has parameters of its own
        if exact:
            assert member.grid is not None
            even = data.with_equal_gaps() if member.model.has_momenta else data
            return grid_forecast(member.model, even, member.grid, horizon=horizon).numpy()
        return particle_forecast(member.model, data, horizon=horizon, particles=particles).numpy()
