"""Underdamped dynamics of one position, resolved as finely as their slowest timescale needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import LinearOperator, eigs, splu

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape.phase_space_generator import PhaseSpaceGenerator, make_phase_space_generator
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, LandscapeError

_HEIGHT = 20.0  # kT above the lowest minimum: beyond lies e^-20 of the probability
_BUSY = 4.0  # kT up to which (or to the highest pass) the curvature sets the width of the cells ...
_CELLS_PER_WIDTH = 9.0  # ... in the standard deviation of the narrowest well: 2e-4 of a timescale
_FEWEST_CELLS, _MOST_CELLS = 120, 1500
_ORDERS = (16, 24, 36, 54, 80, 120, 180, 270, 400)
_COARSER = 2.0  # cells on which the number of orders is sought
_AGREED = 5e-3  # change of the slowest timescale to the next number of orders; what is left is some five times less


@dataclass(frozen=True, eq=False)
class InertialLine:
    """Underdamped dynamics of one position, and how finely its generator is resolved.

    Attributes:
        landscape: Of the position.
        friction: Rate.
        speed: Thermal speed ``sqrt(temperature / mass)``.
        ends: Two walls, some 20 kT up.
        spacing: Width of a cell of the position.
        orders: Hermite functions of the momentum.
    """

    landscape: Landscape
    friction: float
    speed: float
    ends: tuple[float, float]
    spacing: float
    orders: int

    def generator(self, low: float, high: float, *, open_ends: tuple[bool, bool]) -> PhaseSpaceGenerator:
        """Generator between two positions."""
        return make_phase_space_generator(
            self.landscape.surface,
            (low, high),
            open_ends=open_ends,
            lowest=float(self.landscape.surface(self.landscape.minimum).min()),
            spacing=self.spacing,
            orders=self.orders,
            friction=self.friction,
            speed=self.speed,
        )

    @property
    def whole(self) -> PhaseSpaceGenerator:
        """Generator between the walls."""
        return self.generator(*self.ends, open_ends=(False, False))


@torch.no_grad()
def resolved_line(
    dynamics: UnderdampedDynamics, landscape: Landscape, *, processes: int = 1
) -> tuple[InertialLine, Floats]:
    """The line with as many orders as the slowest timescale needs, and the slowest timescales ``(processes,)``.

    Raises:
        LandscapeError: With more than one position, or where 400 orders do not suffice.
    """
    if dynamics.position_dim != 1:
        raise LandscapeError(
            f"kinetics: with momenta expected one position, got {dynamics.position_dim}; use simulated_kinetics"
        )
    line = _line(dynamics, landscape)
    before = np.inf
    for orders in _ORDERS:
        coarse = replace(line, orders=orders, spacing=_COARSER * line.spacing)
        slowest = _timescales(coarse.whole.matrix, 1)[0]
        if abs(slowest / before - 1.0) < _AGREED:
            line = replace(line, orders=orders)
            return line, _timescales(line.whole.matrix, processes)
        before = slowest
    raise LandscapeError(
        f"kinetics: friction {line.friction:.3g} is too weak: {_ORDERS[-1]} Hermite functions of the momentum do not "
        "resolve how energy is lost; use simulated_kinetics"
    )


def _line(dynamics: UnderdampedDynamics, landscape: Landscape) -> InertialLine:
    assert landscape.grid is not None
    axis, energy = landscape.grid.axes[0], landscape.grid.energy
    inside = axis[energy < _HEIGHT]
    busy = max(_BUSY, float(landscape.saddle_beta_energy.max(initial=0.0)))
    curvature = landscape.surface.slope_and_curvature(axis[energy <= busy][:, None])[1]
    low, high = float(inside[0]), float(inside[-1])
    narrowest = 1.0 / np.sqrt(max(float(np.abs(curvature).max()), 1e-300))
    spacing = np.clip(narrowest / _CELLS_PER_WIDTH, (high - low) / _MOST_CELLS, (high - low) / _FEWEST_CELLS)
    return InertialLine(
        landscape=landscape,
        friction=float(dynamics.friction.squeeze()),
        speed=float((dynamics.temperature / dynamics.mass).sqrt().squeeze()),
        ends=(low, high),
        spacing=float(spacing),
        orders=_ORDERS[0],
    )


def _timescales(matrix: csc_matrix, count: int) -> Floats:
    """Slowest implied timescales, those of oscillations by their decay."""
    size = matrix.shape[0]
    # next to the eigenvalue zero, in units of the fastest rate's square root so that the factors exist
    shift = 1e-9 * float(np.abs(matrix.diagonal()).max())
    solve = splu(csc_matrix(matrix - shift * identity(size))).solve
    inverse = LinearOperator(matrix.shape, matvec=solve, dtype=np.float64)
    start = 1.0 + np.random.default_rng(0).random(size)
    values = eigs(inverse, k=count + 1, which="LM", v0=start, return_eigenvectors=False)
    decay = np.sort(-(shift + 1.0 / values).real)[1:]
    return np.asarray(1.0 / np.maximum(decay, 1e-300))
