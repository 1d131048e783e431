"""Probabilities to go from basin to basin within a lag, of the continuous dynamics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import splu

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape.finite_volume import make_generator
from pyro_langevin.landscape.inertial_line import resolved_line
from pyro_langevin.landscape.kinetics import along_dimensions, generator_height
from pyro_langevin.landscape.propagation import Solver, lagged_overlaps
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, LandscapeError

_EVERY = 5


def transition_probabilities(landscape: Landscape, diffusion: ArrayLike, lags: ArrayLike) -> Floats:
    r"""Probability to be in basin j a lag after being in equilibrium within basin i, ``(lag, n, n)``.

    .. math:: P_{ij}(\tau) = \frac{\langle 1_i, e^{L\tau} 1_j\rangle}{\langle 1_i, 1\rangle}

    of overdamped dynamics with generator ``L`` and the Boltzmann law as weight: rows sum to one, detailed balance
    with the occupancy holds, and long lags give the occupancy, all to rounding. Finite volumes in up to three
    dimensions, O(h^2); in two and three, at lags in which paths cross but a cell or two, only the order of
    magnitude of what is off the diagonal is right.

    Args:
        landscape: Of up to three dimensions.
        diffusion: Scalar or one value a dimension.
        lags: Positive times, ``(lag,)``.

    Raises:
        LandscapeError: In more than three dimensions, or on a lag that is not positive.
    """
    times = checked_lags(lags)
    along = along_dimensions(landscape, diffusion)
    if landscape.grid is None:
        raise LandscapeError(
            f"transition_probabilities: expected at most 3 dimensions, got {landscape.dim}; use simulated_kinetics"
        )
    grid = landscape.grid if landscape.dim > 1 else _thinned(landscape.grid)
    generator = make_generator(grid, along, height=generator_height(landscape))
    member = _membership(landscape, grid.points[generator.cells], grid.spacing)
    overlap = lagged_overlaps(
        lambda x: -(generator.matrix @ x),
        generator.shifted_solver,
        generator.root[:, None] * member,
        generator.root,
        times,
        symmetric=True,
    )
    return overlap / (generator.root**2 @ member)[:, None]


def inertial_transition_probabilities(dynamics: UnderdampedDynamics, landscape: Landscape, lags: ArrayLike) -> Floats:
    """Probability to be in basin j a lag after being in equilibrium within basin i, ``(lag, n, n)``.

    As :func:`transition_probabilities`, for underdamped dynamics of one position; momenta begin with Maxwell's law.

    Raises:
        LandscapeError: With more than one position, a friction too weak, or on a lag that is not positive.
    """
    times = checked_lags(lags)
    line, _ = resolved_line(dynamics, landscape)
    generator = line.whole
    matrix = generator.matrix
    width = np.array([generator.centre[1] - generator.centre[0]])
    member = _membership(landscape, generator.centre[:, None], width)

    def solver(time: float) -> Solver:
        factor = splu(csc_matrix(identity(matrix.shape[0]) - time * matrix))
        return lambda right: np.asarray(factor.solve(right))

    null = generator.embed(np.ones_like(generator.centre))
    null /= np.linalg.norm(null)
    start = generator.embed(member)
    overlap = lagged_overlaps(lambda x: matrix @ x, solver, start, null, times, symmetric=False)
    return overlap / (generator.root**2 @ member)[:, None]


def checked_lags(lags: ArrayLike) -> Floats:
    """Lags as an array ``(lag,)``.

    Raises:
        LandscapeError: If one is not positive and finite, or there is none.
    """
    times = np.atleast_1d(np.asarray(lags, dtype=np.float64))
    if times.ndim != 1 or not len(times) or not (np.isfinite(times) & (times > 0)).all():
        raise LandscapeError(
            f"transition_probabilities: expected positive lags (lag,), got {np.asarray(lags).tolist()}"
        )
    return times


def _thinned(grid: EnergyGrid) -> EnergyGrid:
    """Every fifth point of a line: the finest would cost digits, as the fastest rate goes with their number squared."""
    return EnergyGrid((grid.axes[0][::_EVERY],), grid.energy[::_EVERY], grid.basin[::_EVERY])


def _membership(landscape: Landscape, centres: Floats, spacing: Floats) -> Floats:
    """Share of each basin in each cell, ``(m, n)``: exact on a line, that of the centre in more dimensions."""
    states = np.arange(landscape.n_states)
    if landscape.dim > 1:
        return (landscape.basin(centres)[:, None] == states) * 1.0
    begin = centres - 0.5 * spacing
    # how much of each cell lies left of each dividing point, then between neighbouring ones
    left = np.clip((landscape.saddle[:, 0] - begin) / spacing, 0.0, 1.0)
    edges = np.concatenate([np.zeros((len(left), 1)), left, np.ones((len(left), 1))], -1)
    return np.asarray(np.diff(edges, axis=-1))

