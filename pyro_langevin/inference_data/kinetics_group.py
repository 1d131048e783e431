"""Kinetics of one fit as a group of the draws: of the learned dynamics, and counted on the posterior paths."""

from __future__ import annotations

import copy

import numpy as np
import torch
import xarray as xr

from pyro_langevin.inference_data.draws import PathDraws
from pyro_langevin.inference_data.prior_kinetics import PriorKinetics, prior_kinetics
from pyro_langevin.landscape import Landscape
from pyro_langevin.observations import LONG, Observations
from pyro_langevin.training import FittedMember

_PROCESSES = 3
_LAGS = 7  # each twice the one before
_STRETCHES = 20  # of long series, whose steps are looked at
_LONGEST = 0.25  # of a typical series


def learned_kinetics(member: FittedMember, observations: Observations, landscape: Landscape) -> PriorKinetics:
    """Kinetics of the learned dynamics, at lags that the data choose and the step of the fit."""
    with torch.no_grad():
        frozen = copy.deepcopy(member.model.dynamics).cpu().double().read()
    return prior_kinetics(
        frozen, landscape, lags=lag_times(observations), step=step_of(member, observations), processes=_PROCESSES
    )


def lag_times(observations: Observations) -> np.ndarray:
    """One, two, four ... typical gaps, up to a quarter of a typical series."""
    rows = float(np.median(observations.lengths.cpu().numpy()))
    count = int(np.clip(np.floor(np.log2(max(_LONGEST * rows, 1.0))) + 1, 1, _LAGS))
    return np.asarray(observations.typical_gap * 2.0 ** np.arange(count))


def step_of(member: FittedMember, observations: Observations) -> float:
    """Typical step of the fit's time grid; of long series that of their first rows."""
    if observations.n_times > LONG:
        stretches = observations.windows(LONG)
        observations = stretches.select(torch.arange(min(_STRETCHES, stretches.n_series)))
    grid = member.model.grid(observations)
    return float(grid.steps[grid.step_mask].median())


def kinetics_group(
    learned: PriorKinetics, member: FittedMember, observations: Observations, landscape: Landscape, draws: PathDraws
) -> xr.Dataset:
    """Kinetics of one fit: continuous, as discretised, and counted on the posterior paths."""
    n, lags = landscape.n_states, lag_times(observations)
    pair = ("state_from", "state_to")
    continuous, chain = learned.continuous, learned.chain
    missing, row = np.full((n, n), np.nan), np.full(n, np.nan)
    timescale = np.full(_PROCESSES, np.nan)
    if continuous is not None:
        known = min(_PROCESSES, len(continuous.timescale))
        timescale[:known] = continuous.timescale[:known]
    transitions = np.full((len(lags), n, n), np.nan) if learned.transitions is None else learned.transitions
    return xr.Dataset(
        {
            "mfpt": (pair, missing if continuous is None else continuous.mfpt),
            "rate": (pair, missing if continuous is None else continuous.rate),
            "flux": (pair, missing if continuous is None else continuous.flux),
            "mfpt_kramers": (pair, missing if learned.kramers is None else learned.kramers),
            "timescale": (("process",), timescale),
            "dwell_prior": (("state",), row if continuous is None else _finite(continuous.dwell)),
            "dwell_chain": (("state",), row if chain is None else _finite(chain.dwell)),
            "transition_prior": (("lag", *pair), transitions),
            "exposure": (("draw", "state"), draws.exposure),
            "events": (("draw", *pair), draws.events),
        },
        coords={"lag": lags},
        attrs={
            "time_unit": observations.time_unit,
            "time_convention": "continuous",
            "step": step_of(member, observations),
        },
    )


def _finite(values: np.ndarray) -> np.ndarray:
    """A state that is never left has no mean dwell."""
    return np.where(np.isfinite(values), values, np.nan)
