"""Kinetics of underdamped dynamics of one position: the chain on a fine grid of positions and momenta, solved."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse.linalg import LinearOperator, eigs

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.grid_filter import PhaseSpacePropagator, StateGrid
from pyro_langevin.landscape.kinetics import Kinetics, rates_and_dwells
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.stationary import stationary_occupancy
from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError

_HEIGHT = 20.0  # kT above the lowest minimum: beyond lies e^-20 of the probability
_CELLS = 100
_TURN = 0.25  # radians of the stiffest well in a step


@torch.no_grad()
def inertial_kinetics(dynamics: UnderdampedDynamics, landscape: Landscape, *, processes: int = 5) -> Kinetics:
    """Kinetics of one position: ``dq = p/m dt, dp = -U'(q) dt - friction p dt + sqrt(2 friction m T) dW``.

    Passage times are to the minimum's point, from the minimum with Maxwell's law of the momentum; rates and dwells
    count transitions between cores of the position. For a 4 kT double well they are right to 1.5 % down to a friction
    of a tenth of the wells' frequency, and up to 9 % long at a fiftieth.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
        processes: Number of timescales.

    Raises:
        LandscapeError: With more than one position.
    """
    if dynamics.position_dim != 1:
        raise LandscapeError(
            f"kinetics: with momenta expected one position, got {dynamics.position_dim}; use chain_kinetics"
        )
    propagator = PhaseSpacePropagator.of(dynamics, _line_of(landscape), turn=_TURN)
    points = propagator.grid.points.numpy()
    momenta = len(propagator.momenta)
    core = np.repeat(landscape.core(points), momenta)
    position = np.repeat(points[:, 0], momenta)
    step = propagator.longest_step
    matrix = propagator.chain(step, 1)(torch.eye(len(position), dtype=torch.float64)).numpy()
    energy = landscape.surface(points)
    weight = np.exp(-(energy - energy.min()))
    law = propagator.start(torch.from_numpy(weight / weight.sum())).numpy()
    rate, dwell = rates_and_dwells(*_core_fluxes(matrix, law, core, landscape.n_states))
    return Kinetics(
        occupancy=stationary_occupancy(landscape).occupancy,
        timescale=step * _timescales(matrix, processes),
        mfpt=step * _passage_steps(matrix, position, landscape.minimum[:, 0], propagator),
        rate=rate / step,
        dwell=step * dwell,
    )


def _line_of(landscape: Landscape) -> StateGrid:
    """Cells over all positions that are not too high up."""
    assert landscape.grid is not None
    axis = landscape.grid.points[:, 0]
    low = axis[landscape.grid.energy.ravel() < _HEIGHT]
    return StateGrid.around(float(low.min()), float(low.max()), size=_CELLS, margin=0.0)


def _core_fluxes(matrix: Floats, law: Floats, core: Integers, states: int) -> tuple[Floats, Floats]:
    """Stationary transitions a step from core to core ``(n, n)``, and probability by the core visited last ``(n,)``."""
    between = np.flatnonzero(core < 0)
    factors = lu_factor(np.eye(len(between)) - matrix[np.ix_(between, between)].T)
    flux, last = np.zeros((states, states)), np.zeros(states)
    for state in range(states):
        own = np.flatnonzero(core == state)
        visited = np.zeros(len(law))  # probability to be here with this core the last
        visited[own] = law[own]
        visited[between] = lu_solve(factors, law[own] @ matrix[np.ix_(own, between)])
        last[state] = visited.sum()
        arriving = visited @ matrix
        flux[state] = [arriving[core == other].sum() if other != state else 0.0 for other in range(states)]
    return flux, last


def _passage_steps(matrix: Floats, position: Floats, minima: Floats, propagator: PhaseSpacePropagator) -> Floats:
    """Mean steps from each minimum until each other is reached or passed, ``(n, n)``."""
    found = np.zeros((len(minima), len(minima)))
    points = propagator.grid.points.numpy()[:, 0]
    for side in (-1.0, 1.0):  # from below, and from above
        for j, target in enumerate(minima):
            starts = [i for i, start in enumerate(minima) if side * (target - start) > 0]
            if not starts:
                continue
            on_way = np.flatnonzero(side * (target - position) > 0)
            steps = np.zeros(len(position))
            steps[on_way] = np.linalg.solve(
                np.eye(len(on_way)) - matrix[np.ix_(on_way, on_way)], np.ones(len(on_way))
            )
            for i in starts:
                share = np.maximum(1.0 - np.abs(points - minima[i]) / propagator.grid.spacing, 0.0)
                found[i, j] = propagator.start(torch.from_numpy(share)).numpy() @ steps
    return found


def _timescales(matrix: Floats, count: int) -> Floats:
    """Slowest implied timescales in steps, those of oscillations by their decay."""
    shift = 1.0 + 1e-7
    factors = lu_factor(matrix - shift * np.eye(len(matrix)))
    inverse = LinearOperator(matrix.shape, matvec=lambda x: lu_solve(factors, x), dtype=np.float64)
    values = eigs(matrix, k=count + 1, sigma=shift, OPinv=inverse, return_eigenvectors=False)
    decay = np.sort(np.abs(values))[::-1][1:]
    return np.asarray(-1.0 / np.log(np.clip(decay, 1e-12, 1.0 - 1e-15)))
