"""Asymptotic passage times over high barriers: Kramers, Langer, Mel'nikov and Meshkov."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import quad

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape.kinetics import along_dimensions
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats

_LEAST_BARRIER = 3.0 - 1e-6  # kT: below, the formulas are no better than a guess
_ACTION_POINTS = 20_001


@dataclass(frozen=True, eq=False)
class KramersRates:
    """Asymptotic rates over the lowest pass between every two adjacent states.

    Attributes:
        rate: ``(n, n)``: zero where no pass joins two states, NaN where the formula is refused: a barrier below 3 kT,
            or a pass that is no exact saddle.
    """

    rate: Floats

    @property
    def passage_times(self) -> Floats:
        """Mean first-passage times of the jump process with these rates, ``(n, n)``.

        Of adjacent states only; NaN elsewhere, and where a refused rate has a part in the passage. Zero on the
        diagonal.
        """
        states = len(self.rate)
        times = np.full((states, states), np.nan)
        np.fill_diagonal(times, 0.0)
        for target in range(states):
            others = np.flatnonzero(np.arange(states) != target)
            for start in others[np.nan_to_num(self.rate[others, target], nan=0.0) > 0]:
                involved = self._involved(int(start), target)
                rate = self.rate[np.ix_(involved, [*involved, target])]
                if np.isfinite(rate).all():
                    generator = np.diag(rate.sum(-1)) - rate[:, :-1]
                    times[start, target] = np.linalg.solve(generator, np.ones(len(involved)))[0]
        return times

    def _involved(self, start: int, target: int) -> list[int]:
        """States that a path from ``start`` may meet before ``target``, ``start`` first."""
        found = [start]
        for state in found:
            found += [int(k) for k in np.flatnonzero(self.rate[state] != 0) if k != target and k not in found]
        return found


def kramers_rates(landscape: Landscape, diffusion: ArrayLike) -> KramersRates:
    r"""Asymptotic rates of overdamped dynamics, in any dimension (Langer 1969).

    .. math:: k = \frac{\lambda}{2\pi} \sqrt{\frac{\det H_{min}}{|\det H_{saddle}|}}\, e^{-\beta\Delta U}

    with the growth rate of the unstable direction at the saddle, the positive eigenvalue of ``-D H_saddle``. Right
    for high barriers: at 4 kT passage times are 10 to 13 % too short. Refused below 3 kT.

    Args:
        landscape: The landscape.
        diffusion: Scalar or one value a dimension.

    Raises:
        LandscapeError: On a diffusion that is not positive.
    """
    along = along_dimensions(landscape, diffusion)
    hessian = landscape.surface.slope_and_curvature(landscape.saddle)[1]
    return KramersRates(_rates(landscape, np.array([_growth_overdamped(one, along) for one in hessian])))


@torch.no_grad()
def inertial_kramers_rates(dynamics: UnderdampedDynamics, landscape: Landscape) -> KramersRates:
    """Asymptotic rates of underdamped dynamics, in any dimension.

    Langer's formula with the growth rate in phase space, right from moderate friction upwards. For one position also
    the factor of Mel'nikov and Meshkov (1986) by which weak friction, which restores the energy of a well too slowly,
    depopulates the top of the barrier: it spans the turnover, within a fifth at 4 kT. With more positions the factor
    is left out, and the rate at weak friction is too high. Refused below 3 kT.

    The rate is that of settling in the other well. At weak friction a path that crosses flies on and often comes
    back, so that the first passage of the other minimum comes earlier than one over the rate.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
    """
    dim = landscape.dim
    friction, mass = (value.expand(dim).numpy().astype(np.float64) for value in (dynamics.friction, dynamics.mass))
    temperature = float(dynamics.temperature.squeeze())
    hessian = temperature * landscape.surface.slope_and_curvature(landscape.saddle)[1]
    rate = _rates(landscape, np.array([_growth_inertial(one, friction, mass) for one in hessian]))
    if dim == 1:
        speed = np.sqrt(temperature / float(mass[0]))
        for (left, right), height in zip(landscape.saddle_joins, landscape.saddle_beta_energy, strict=True):
            losses = [
                float(friction[0]) / speed * _reduced_action(landscape, int(state), float(height))
                for state in (left, right)
            ]
            factor = depopulation(losses[0]) * depopulation(losses[1]) / depopulation(sum(losses))
            rate[left, right] *= factor
            rate[right, left] *= factor
    return KramersRates(rate)


def depopulation(loss: float) -> float:
    """Mel'nikov and Meshkov's factor for a well in which an oscillation at the barrier's energy loses ``loss`` kT."""

    def integrand(x: float) -> float:
        return float(np.log(-np.expm1(-loss * (x * x + 0.25))) / (x * x + 0.25))

    return float(np.exp(quad(integrand, 0.0, np.inf, limit=200)[0] / np.pi))


def _rates(landscape: Landscape, growth: Floats) -> Floats:
    """Langer's rates ``(n, n)`` with the growth rate of each saddle's unstable direction."""
    states = landscape.n_states
    rate = np.zeros((states, states))
    wells = np.linalg.slogdet(landscape.surface.slope_and_curvature(landscape.minimum)[1])[1]
    tops = np.linalg.slogdet(landscape.surface.slope_and_curvature(landscape.saddle)[1])[1]
    for k, pair in enumerate(landscape.saddle_joins):
        for start, end in (pair, pair[::-1]):
            barrier = landscape.saddle_beta_energy[k] - landscape.beta_energy[start]
            refused = barrier < _LEAST_BARRIER or not landscape.saddle_exact[k]
            size = growth[k] / (2.0 * np.pi) * np.exp(0.5 * (wells[start] - tops[k]) - barrier)
            rate[start, end] = np.nan if refused else size
    return rate


def _growth_overdamped(hessian: Floats, diffusion: Floats) -> float:
    root = np.sqrt(diffusion)
    return float(-np.linalg.eigvalsh(root[:, None] * hessian * root)[0])


def _growth_inertial(hessian: Floats, friction: Floats, mass: Floats) -> float:
    flow = np.block([[np.zeros_like(hessian), np.diag(1.0 / mass)], [-hessian, -np.diag(friction)]])
    return float(np.linalg.eigvals(flow).real.max())


def _reduced_action(landscape: Landscape, state: int, height: float) -> float:
    """Integral of ``p dq`` over one oscillation in a well at ``height`` kT, in units of ``mass * thermal speed``."""
    assert landscape.grid is not None
    axis = landscape.grid.axes[0]
    ends = np.concatenate([axis[:1], landscape.saddle[:, 0], axis[-1:]])
    place = np.linspace(ends[state], ends[state + 1], _ACTION_POINTS)
    lowest = float(landscape.surface(landscape.minimum).min())
    kinetic = np.maximum(height - (landscape.surface(place[:, None]) - lowest), 0.0)
    return 2.0 * float(np.trapezoid(np.sqrt(2.0 * kinetic), place))
