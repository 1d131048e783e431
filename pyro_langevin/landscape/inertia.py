"""Kinetics of underdamped dynamics of one position, from the generator on positions and momenta."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import LinearOperator, eigs, splu

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape.kinetics import Kinetics, rates_and_dwells
from pyro_langevin.landscape.phase_space_generator import PhaseSpaceGenerator, make_phase_space_generator
from pyro_langevin.landscape.quadrature import occupancy_1d
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


def inertial_kinetics(dynamics: UnderdampedDynamics, landscape: Landscape, *, processes: int = 5) -> Kinetics:
    """Kinetics of one position: ``dq = p/m dt, dp = -U'(q) dt - friction p dt + sqrt(2 friction m T) dW``.

    Passage times are to the minimum's point, from the minimum with Maxwell's law of the momentum; rates and dwells
    count transitions between cores of the position. Hermite functions of the momentum times finite volumes of the
    position, as many as the slowest timescale needs. For a 4 kT double well timescales are right to 1e-3 and passage
    times to better than 1e-2, at any friction above a fiftieth of the wells' frequency.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
        processes: Number of timescales, the slowest first; of processes that oscillate, their decay.

    Raises:
        LandscapeError: With more than one position, or with a friction too weak to be resolved.
    """
    line, timescale = resolved_line(dynamics, landscape, processes=processes)
    flux, last = _core_fluxes(line)
    rate, dwell = rates_and_dwells(flux, last)
    return Kinetics(
        occupancy=occupancy_1d(landscape),
        timescale=timescale,
        mfpt=_passage_times(line),
        rate=rate,
        dwell=dwell,
        flux=flux,
    )


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


def _passage_times(line: InertialLine) -> Floats:
    """Mean first-passage times between minima, ``(n, n)``."""
    minima = line.landscape.minimum[:, 0]
    times = np.zeros((len(minima), len(minima)))
    for target, place in enumerate(minima):
        for side, ends in ((1, (line.ends[0], place)), (-1, (place, line.ends[1]))):
            starts = np.flatnonzero(side * (place - minima) > 0)
            if not len(starts):
                continue
            generator = line.generator(*ends, open_ends=(side < 0, side > 0))
            right = -generator.embed(np.ones_like(generator.root))
            mean = generator.means(splu(generator.matrix).solve(right))
            times[starts, target] = CubicSpline(generator.centre, mean)(minima[starts])
    return times


def gap_committors(line: InertialLine) -> list[tuple[PhaseSpaceGenerator, Floats]]:
    """For every two neighbouring cores, the generator between them and the probability to reach the right one first."""
    edges = line.landscape.core_edge
    assert edges is not None
    result = []
    for low, high in zip(edges[:-1, 1], edges[1:, 0], strict=True):
        generator = line.generator(float(low), float(high), open_ends=(True, True))
        result.append((generator, np.asarray(splu(generator.matrix).solve(-generator.entry[1]))))
    return result


def _core_fluxes(line: InertialLine) -> tuple[Floats, Floats]:
    """Reactive flux between cores ``(n, n)`` and probability that a core was the last visited ``(n,)``.

    Reversing momenta turns the probability to reach a core next into that of having come from it last, so one
    committor a gap gives both, and its mean over momenta gives the probability.
    """
    states = line.landscape.n_states
    whole = line.whole
    weight = whole.root**2
    core = line.landscape.core(whole.centre[:, None])
    last = np.bincount(core[core >= 0], weight[core >= 0], minlength=states).astype(np.float64)
    flux = np.zeros((states, states))
    for left, (generator, committor) in enumerate(gap_committors(line)):
        flux[left, left + 1] = flux[left + 1, left] = generator.flux(committor)
        mass = generator.root**2
        right = float(mass @ generator.means(committor))
        last[left + 1] += right
        last[left] += float(mass.sum()) - right
    total = weight.sum()
    return flux / total, last / last.sum()
