"""Probabilities to go from basin to basin within a lag, by simulation, in any dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pyro_langevin.dynamics import OverdampedDynamics, UnderdampedDynamics
from pyro_langevin.landscape.replicas import jackknife
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.stationary import stationary_occupancy
from pyro_langevin.landscape.surface import Floats, LandscapeError
from pyro_langevin.landscape.transition_probabilities import checked_lags
from pyro_langevin.landscape.walkers import walkers_in_equilibrium

_MOST_STEPS = 100_000


def simulated_transition_probabilities(
    dynamics: OverdampedDynamics | UnderdampedDynamics,
    landscape: Landscape,
    lags: ArrayLike,
    *,
    walkers: int = 2000,
    step: float | None = None,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Probability to be in basin j a lag after being in equilibrium within basin i, and its standard error.

    By walkers that start so, as many in each basin; Monte Carlo, ``(lag, n, n)`` both. Both directions of a pair are
    combined by detailed balance with the occupancy. The cost grows with the longest lag.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
        lags: Positive times, ``(lag,)``; rounded to whole steps.
        walkers: Number of walkers.
        step: Length of a step; short against the fastest motion in a well when omitted.
        seed: Seed.

    Raises:
        LandscapeError: On a lag that is not positive, or takes more than 100,000 steps.
    """
    times = checked_lags(lags)
    moving, group = walkers_in_equilibrium(dynamics, landscape, walkers, step=step, seed=seed)
    steps = np.maximum(1, np.rint(times / moving.step)).astype(int)
    if steps.max() > _MOST_STEPS:
        raise LandscapeError(
            f"simulated_transition_probabilities: a lag of {times.max():.3g} takes {steps.max()} steps of "
            f"{moving.step:.3g}, expected at most {_MOST_STEPS}; ask for shorter lags or allow a longer step"
        )
    states, groups = landscape.n_states, int(group.max()) + 1
    tables = np.zeros((groups, len(times), states, states))
    start = landscape.basin(moving.position)
    for k in range(1, int(steps.max()) + 1):
        moving.advance()
        if (steps == k).any():
            end = landscape.basin(moving.position)
            for lag in np.flatnonzero(steps == k):
                np.add.at(tables, (group, lag, start, end), 1.0)
    occupancy = stationary_occupancy(landscape, seed=seed).occupancy
    everything = tables.sum(0)
    error = jackknife([_balanced(everything - table, occupancy) for table in tables])
    # where nothing was seen to cross, or everything, one transition more or less
    least = 1.0 / everything.sum(-1, keepdims=True)
    return _balanced(everything, occupancy), np.maximum(error, least)


def _balanced(counts: Floats, occupancy: Floats) -> Floats:
    """Probabilities ``(lag, n, n)`` with both directions of every flow averaged; rows sum to one."""
    flow = occupancy[:, None] * counts / np.maximum(counts.sum(-1, keepdims=True), 1e-300)
    flow = 0.5 * (flow + np.swapaxes(flow, -1, -2))
    own = np.arange(len(occupancy))
    flow[:, own, own] = 0.0
    flow[:, own, own] = occupancy - flow.sum(-1)
    return np.asarray(flow / occupancy[:, None])
