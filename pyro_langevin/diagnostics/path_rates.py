"""Rates of the posterior paths, with what a record of finite length leaves open."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.layout import Draws, group, present_states

__all__ = ["exit_counts", "on_present_states", "path_rates"]

PRIOR_EVENTS = 0.5
"""Events added per state (Jeffreys' prior of a Poisson rate), shared out among the states it may jump to."""


def exit_counts(idata: Draws) -> xr.Dataset:
    """Exposure and number of exits of each state per draw: ``exposure``, ``events`` (chain, draw, state)."""
    kinetics = group(idata, "kinetics", "exposure", "events")
    events = kinetics["events"].sum("state_to", skipna=True).rename(state_from="state")
    events = events.assign_coords(state=kinetics["exposure"]["state"].values)
    counts = xr.Dataset({"exposure": kinetics["exposure"], "events": events})
    return counts.where(present_states(idata)).transpose("chain", "draw", "state")


def path_rates(idata: Draws, *, samples: int = 4000, seed: int = 0) -> xr.DataArray:
    """Posterior of the rate matrix of the paths, (sample, state_from, state_to), one over the time unit.

    Given one path, the rate from i to j has the posterior ``Gamma(events_ij + a, exposure_i)`` with ``a =
    1/2`` per state (Jeffreys); over the draws and chains it is a mixture of Gammas, sampled here: the draws
    carry what the noise of the data leaves open, the Gamma what the length of the record does. Visits cut
    off by the end of the record count as exposure without an event, which is the right treatment of
    censoring. Which states the series begin in is not used: series may begin out of equilibrium.

    Args:
        idata: the draws.
        samples: number of samples, spread evenly over chains and draws.
        seed: of the random numbers; the same figures come out every time.

    Returns:
        The samples; NaN for a state that the sample's chain does not have or that its draw never visits. The
        coordinate ``chain`` (sample) says where each comes from.
    """
    kinetics = group(idata, "kinetics", "exposure", "events").transpose("chain", "draw", "state", ...)
    events = kinetics["events"].transpose("chain", "draw", "state_from", "state_to").values
    exposure = kinetics["exposure"].transpose("chain", "draw", "state").values
    present = present_states(idata).values
    n_chains, n_draws, n_states = exposure.shape
    random = np.random.default_rng(seed)
    # Every (chain, draw) equally often, as far as the numbers allow.
    pool = random.permutation(np.arange(samples) * (n_chains * n_draws) // samples)
    chain, draw = np.divmod(pool, n_draws)

    possible = present[chain][:, :, None] & present[chain][:, None, :] & ~np.eye(n_states, dtype=bool)
    targets = np.maximum(possible.sum(-1, keepdims=True), 1)
    shape = np.where(possible, np.nan_to_num(events[chain, draw]) + PRIOR_EVENTS / targets, 1.0)
    visited = exposure[chain, draw] > 0.0  # NaN, a state the chain has not, compares false
    time = np.where(visited, exposure[chain, draw], np.nan)[:, :, None]
    # A Gamma of small shape underflows to zero, with which no linear system can be solved.
    rates = np.maximum(random.gamma(shape), 1e-12) / time
    rates[~possible] = np.nan
    rates[:, np.arange(n_states), np.arange(n_states)] = 0.0
    return xr.DataArray(
        rates,
        dims=("sample", "state_from", "state_to"),
        coords={
            "state_from": kinetics["state_from"].values,
            "state_to": kinetics["state_to"].values,
            "chain": ("sample", kinetics["chain"].values[chain]),
        },
        name="rate",
    )


def on_present_states(
    rates: xr.DataArray, figure: Callable[[np.ndarray], np.ndarray], *, axes: int
) -> np.ndarray:
    """A figure of the jump process for each sample, computed among the states that the sample has.

    Args:
        rates: samples from :func:`path_rates`.
        figure: maps rates (*batch, n, n) to (*batch, n) or (*batch, n, n).
        axes: number of state axes of the figure, 1 or 2.

    Returns:
        (sample, state) or (sample, state, state), NaN where a state is not there.
    """
    values = rates.transpose("sample", "state_from", "state_to").values
    n_states = values.shape[-1]
    result = np.full((len(values),) + (n_states,) * axes, np.nan)
    known = np.isfinite(values) & ~np.eye(n_states, dtype=bool)
    there = known.any(-1) | known.any(-2) if n_states > 1 else np.ones(values.shape[:2], dtype=bool)
    for pattern in np.unique(there, axis=0):
        rows = np.flatnonzero((there == pattern).all(-1))
        index = np.flatnonzero(pattern)
        if len(index) == 0:
            continue
        block = values[np.ix_(rows, index, index)]
        whole = np.isfinite(block).all((-1, -2))
        target = np.ix_(rows[whole], *(index,) * axes)
        result[target] = figure(block[whole])
    return result
