"""Core sets: where a visit to a state counts, so that recrossings of a barrier do not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError


def core_depths(barrier: Floats, dim: int) -> Floats:
    """Height of each core above its minimum, kT, ``(n,)``.

    ``max(1, dim/2)``, the mean energy of a harmonic well, but at most half the lowest barrier out of the
    state (plus the energy of the directions beyond three, without which a core in many dimensions is never
    visited).

    Args:
        barrier: ``(n, n)``, barrier from state i to j, kT.
        dim: Dimension of the space.
    """
    transverse = 0.5 * max(0, dim - 3)
    outwards = barrier + np.where(np.eye(len(barrier)) > 0, np.inf, 0.0)
    return np.minimum(max(1.0, 0.5 * dim), 0.5 * outwards.min(-1) + transverse)


def core_edges(grid: EnergyGrid, energies: Floats, depths: Floats) -> Floats:
    """Ends of each core in one dimension, ``(n, 2)``.

    The hull of the points of the basin less than its depth above the minimum; the first core reaches to
    minus and the last to plus infinity, so that no jump of a discretised path passes over them.
    """
    axis, energy = grid.axes[0], grid.energy
    edges = np.empty((len(energies), 2))
    for state, (bottom, depth) in enumerate(zip(energies, depths, strict=True)):
        excess = energy - bottom - depth
        inside = np.flatnonzero((grid.basin == state) & (excess < 0))
        edges[state] = _crossing(axis, excess, inside[0], -1), _crossing(axis, excess, inside[-1], 1)
    edges[0, 0], edges[-1, 1] = -np.inf, np.inf
    return edges


def _crossing(axis: Floats, excess: Floats, last: int, direction: int) -> float:
    """Where the excess changes its sign between the cell ``last`` inside and the next one."""
    beyond = last + direction
    if not 0 <= beyond < len(axis) or excess[beyond] <= 0:
        return float(axis[last])
    share = excess[last] / (excess[last] - excess[beyond])
    return float(axis[last] + share * (axis[beyond] - axis[last]))


def last_visited(core_labels: ArrayLike) -> Integers:
    """Core visited last at each time of ``(*batch, time)`` labels; -1 before the first visit."""
    labels = np.asarray(core_labels)
    visited = np.where(labels >= 0, np.arange(labels.shape[-1]), 0)
    return np.asarray(np.take_along_axis(labels, np.maximum.accumulate(visited, axis=-1), -1))


class TransitionCounts(NamedTuple):
    """Sufficient statistics of a Markov jump process.

    Attributes:
        exposure: Time spent in each state, ``(*kept, n)``.
        events: Number of transitions from state i to j, ``(*kept, n, n)``, zero on the diagonal.
    """

    exposure: Floats
    events: Floats


def count_transitions(
    core_labels: ArrayLike, durations: ArrayLike, *, n_states: int, keep: int = 0
) -> TransitionCounts:
    """Exposure and transitions of paths, by the core visited last.

    From the first core on that a path visits, all time belongs to the core visited last, and a transition
    counts when another core is reached. A step counts for the state at its beginning. ``exposure / events``
    summed over targets estimates the mean dwell without bias from unfinished dwells (maximum likelihood
    under right censoring).

    Args:
        core_labels: Core at each time, ``(*batch, time)``; -1 outside all cores and beyond the end of a path.
        durations: Length of each step, broadcastable to ``(*batch, time - 1)``; 0 beyond the end.
        n_states: Number of states.
        keep: Number of leading axes that the result keeps; over the others it sums.

    Returns:
        Counts with shapes ``(*batch[:keep], n_states)`` and ``(*batch[:keep], n_states, n_states)``.
    """
    labels = np.asarray(core_labels)
    if labels.ndim < 1 or keep > labels.ndim - 1:
        raise LandscapeError(
            f"count_transitions: expected labels (*batch, time) with keep <= batch axes, got "
            f"shape {labels.shape} and keep={keep}"
        )
    if labels.size and labels.max() >= n_states:
        raise LandscapeError(f"count_transitions: label {labels.max()} is not below n_states={n_states}")
    kept, times = labels.shape[:keep], labels.shape[-1]
    steps = np.broadcast_to(np.asarray(durations, dtype=np.float64), (*labels.shape[:-1], max(times - 1, 0)))
    groups = int(np.prod(kept, dtype=np.int64))
    if times < 2 or not labels.size:
        return TransitionCounts(np.zeros((*kept, n_states)), np.zeros((*kept, n_states, n_states)))
    last = last_visited(labels)
    begin, end = last[..., :-1].reshape(groups, -1), last[..., 1:].reshape(groups, -1)
    group = np.broadcast_to(np.arange(groups)[:, None], begin.shape)
    known = begin >= 0
    index = (group * n_states + begin)[known]
    exposure = np.bincount(index, weights=steps.reshape(groups, -1)[known], minlength=groups * n_states)
    moved = known & (begin != end)
    pair = ((group * n_states + begin) * n_states + end)[moved]
    events = np.bincount(pair, minlength=groups * n_states**2).astype(np.float64)
    return TransitionCounts(
        exposure.astype(np.float64).reshape(*kept, n_states), events.reshape(*kept, n_states, n_states)
    )
