"""Transitions at a lag beyond which the process inside a state is forgotten.

Between neighbouring observations more is seen than states that hop: instruments that average over their exposure,
coloured noise, levels that drift, jumps without any way between. A Langevin process is none of these, and one that
is fitted from row to row gives way where it is cheapest, which are the few rows that tell of a hop. At a lag of a
third of the time in which states are forgotten nothing of that is left, which is why Markov state models are built
at a lag (Prinz et al. 2011).
"""

from __future__ import annotations

import copy

import torch

from pyro_langevin.grid_filter import Propagator, StateGrid, Transitions, expected_transitions
from pyro_langevin.landscape import LandscapeError, find_landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import ObservationError, Observations

_SHARE = 1.0 / 3.0  # of the timescale
_WINDOW = 60
_MOST_ROWS = 500_000  # more would hardly change a rate


@torch.no_grad()
def lagged_transitions(model: LangevinModel, observations: Observations, grid: StateGrid) -> Transitions | None:
    """Expected transitions at a third of the time in which the learned process forgets its state.

    Returns:
        None where none can be counted: with a single state, on irregular times, or in series too short.
    """
    lag = _lag(model, grid)
    if lag is None:
        return None
    try:
        evenly = observations.with_equal_gaps()
    except ObservationError:
        return None
    longest = int(observations.lengths.max())
    stride = min(max(1, round(lag / observations.typical_gap)), longest // 3)
    if stride < 1:
        return None
    thinned = evenly.thinned(stride)
    windows = thinned.windows(min(_WINDOW, thinned.n_times))
    most = max(1, _MOST_ROWS // windows.n_times)
    if windows.n_series > most:
        windows = windows.select(torch.randperm(windows.n_series)[:most])
    return expected_transitions(model, windows, grid)


def _lag(model: LangevinModel, grid: StateGrid) -> float | None:
    """Time at which to count, from the fastest of the processes between states; None for a single state."""
    frozen = copy.deepcopy(model.dynamics).cpu().double()
    try:
        landscape = find_landscape(frozen.potential, grid.points.numpy(), temperature=float(frozen.temperature))
    except LandscapeError:
        return None
    if landscape.n_states < 2:
        return None
    rates, _ = Propagator.of(frozen.read(), grid).spectrum
    return -_SHARE / float(rates[-landscape.n_states])
