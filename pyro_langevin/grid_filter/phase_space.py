"""How probability moves over a grid of positions and momenta: a chain of ABOBA steps.

A step is half a free flight of every momentum, a shift along the line of cells; then kick, friction and kick at every
cell, together a Gaussian kernel from momentum to momentum; and half a flight again. Flights are interpolated by cubics
(Cheng & Knorr 1976); the kernel, about as wide as the spacing of the momenta, is integrated by the trapezoidal rule, to
which Gaussians are kind. (In the order OBABO the kernel would be cut in halves, too narrow for that rule.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.grid_filter.state_grid import StateGrid

_TURN = 0.35  # radians: a frequency is then right to half a per cent
_DAMPING = 1.5  # times this angle: largest share of the momentum, to first order, that friction takes in a step
_FEWEST_STEPS, _MOST_STEPS = 2, 16
_REACH = 4.6  # largest momentum in thermal ones
_WIDTH = 0.8  # standard deviation of the kernel in spacings of the momenta: the error of the rule is then 3e-6 ...
_FEWEST_MOMENTA, _MOST_MOMENTA = 24, 72  # ... down to a friction of some 0.005 per step
_HIGHEST = 8.0  # kT above the lowest cell: what is higher up sets no step


@dataclass(frozen=True, eq=False)
class PhaseSpacePropagator:
    """Moves the law of position and momentum; index ``i n_momenta + j`` is cell ``i`` and momentum ``j``.

    Attributes:
        grid: Cells of the position.
        force: Force at every cell, ``(n,)``.
        friction: Rate.
        mass: Mass.
        thermal: Standard deviation of the momentum in equilibrium.
        longest_step: Longest step that is short for the stiffest well and for the friction.
    """

    grid: StateGrid
    force: Tensor
    friction: Tensor
    mass: Tensor
    thermal: Tensor
    longest_step: float

    @classmethod
    def of(cls, dynamics: UnderdampedDynamics, grid: StateGrid, *, turn: float = _TURN) -> PhaseSpacePropagator:
        """For underdamped dynamics of one position.

        Args:
            dynamics: The dynamics.
            grid: Cells of the position.
            turn: Largest angle, in radians, of the stiffest well's oscillation in a step.

        Raises:
            ValueError: If there is more than one position, or the grid is not a line.
        """
        if dynamics.position_dim != 1 or grid.dim != 1:
            raise ValueError(
                "exact evidence: with momenta there is one for a single position on a line of cells, got "
                f"{dynamics.position_dim} positions and a grid of dimension {grid.dim}; take the bound of a guide"
            )
        friction, mass = dynamics.friction.squeeze(), dynamics.mass.squeeze()
        points = grid.points.to(friction)
        energy = dynamics.energy.energy(points).detach() / dynamics.temperature.detach()
        curvature = dynamics.energy.expansion(points).hessian.detach()[energy < energy.min() + _HIGHEST]
        fastest = float((curvature.clamp_min(0.0).max() / mass.detach()).sqrt())
        longest = min(turn / max(fastest, 1e-6), _DAMPING * turn / float(friction.detach()))
        thermal = (mass * dynamics.temperature.squeeze()).sqrt()
        return cls(grid, -dynamics.energy.gradient(points).squeeze(-1), friction, mass, thermal, longest)

    @cached_property
    def momenta(self) -> Tensor:
        """Momenta of the grid, ``(n_momenta,)``."""
        width = float(self._noise(self.longest_step).detach() / self.thermal.detach())
        count = min(max(math.ceil(2.0 * _REACH * _WIDTH / width) + 1, _FEWEST_MOMENTA), _MOST_MOMENTA)
        return self.thermal * torch.linspace(-_REACH, _REACH, count).to(self.force)

    def _noise(self, step: float) -> Tensor:
        """Standard deviation of the kernel."""
        return self.thermal * (-torch.expm1(-2.0 * self.friction * step)).sqrt()

    def steps(self, gap: float) -> int:
        """Number of steps in a gap."""
        return min(max(math.ceil(gap / self.longest_step), _FEWEST_STEPS), _MOST_STEPS)

    def start(self, mass: Tensor) -> Tensor:
        """Law of probability mass ``(n,)`` on the cells, with Maxwell's law of the momentum, ``(n n_momenta,)``."""
        maxwell = torch.softmax(-0.5 * (self.momenta / self.thermal).square(), 0)
        return (mass.unsqueeze(-1) * maxwell).flatten()

    def weigh(self, law: Tensor, likelihood: Tensor) -> Tensor:
        """Law ``(*batch, n n_momenta)`` times the likelihood ``(*batch, n)`` of the cells."""
        return (law.unflatten(-1, (len(self.force), -1)) * likelihood.unsqueeze(-1)).flatten(-2)

    def place(self, index: Tensor) -> Tensor:
        """States drawn evenly from what the indices ``(*batch,)`` stand for, ``(*batch, 2)``."""
        momenta = self.momenta.double()
        cell, number = index // len(momenta), index % len(momenta)
        corner = torch.rand(*index.shape, 2, dtype=torch.float64, device=index.device) - 0.5
        position = self.grid.points.to(index.device)[cell, 0] + self.grid.spacing * corner[..., 0]
        return torch.stack([position, momenta[number] + (momenta[1] - momenta[0]) * corner[..., 1]], -1)

    @property
    def volume(self) -> float:
        """Of the part of phase space that an index stands for."""
        return self.grid.spacing * float(self.momenta[1] - self.momenta[0])

    def passage(self, gap: float) -> Passage:
        """What moves a law over a gap."""
        return self.chain(gap, self.steps(gap))

    def chain(self, duration: float, count: int) -> Passage:
        """So many steps that take so long together."""
        step = duration / count
        return Passage(self._flight(0.5 * step), self._flight(step), self._kernel(step), count)

    def _flight(self, step: float) -> Tensor:
        """Shift of the cells by every momentum, up to the ends, ``(n_momenta, n, n)``; row: from, column: to."""
        n = len(self.force)
        shift = self.momenta * step / (self.mass * self.grid.spacing)
        whole = shift.detach().floor()
        t = (shift - whole).unsqueeze(-1)
        weights = torch.cat(
            [
                -t * (t - 1.0) * (t - 2.0) / 6.0,
                (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
                -(t + 1.0) * t * (t - 2.0) / 2.0,
                (t + 1.0) * t * (t - 1.0) / 6.0,
            ],
            -1,
        )
        cells = torch.arange(n, device=shift.device)
        reach = torch.arange(-1, 3, device=shift.device)
        to = cells[:, None] + whole.long()[:, None, None] + reach  # (n_momenta, n, 4)
        spread = weights.unsqueeze(1).expand(to.shape)
        return torch.zeros(*to.shape[:2], n).to(shift).scatter_add(-1, to.clamp(0, n - 1), spread)

    def _kernel(self, step: float) -> Tensor:
        """Kick and friction at every cell, ``(n, n_momenta, n_momenta)``; row: from, column: to."""
        kick = 0.5 * step * self.force[:, None]
        mean = (-self.friction * step).exp() * (self.momenta + kick) + kick
        apart = (self.momenta - mean.unsqueeze(-1)) / self._noise(step)
        return torch.softmax(-0.5 * apart.square(), -1)


@dataclass(frozen=True, eq=False)
class Passage:
    """The steps of one gap.

    Attributes:
        half_flight: ``(n_momenta, n, n)``, at both ends.
        flight: ``(n_momenta, n, n)``, between two steps.
        kernel: ``(n, n_momenta, n_momenta)``.
        count: Number of steps.
    """

    half_flight: Tensor
    flight: Tensor
    kernel: Tensor
    count: int

    @property
    def _flights(self) -> list[Tensor]:
        return [self.half_flight, *[self.flight] * (self.count - 1), self.half_flight]

    def __call__(self, law: Tensor) -> Tensor:
        """Law ``(series, n n_momenta)`` after the gap."""
        moved = law.to(self.kernel).unflatten(-1, (len(self.kernel), -1))
        for number, flight in enumerate(self._flights):
            if number > 0:
                moved = torch.einsum("sqp,qpr->sqr", moved, self.kernel)
            moved = torch.einsum("sqp,pqr->srp", moved, flight)
        return moved.flatten(-2)

    def towards(self, index: Tensor) -> Tensor:
        """Likelihood of reaching ``index`` ``(*batch,)`` from every cell and momentum, ``(*batch, n n_momenta)``."""
        n, momenta = self.kernel.shape[:2]
        ahead = torch.zeros(index.numel(), n * momenta).to(self.kernel)
        ahead = ahead.scatter(1, index.reshape(-1, 1), 1.0).unflatten(-1, (n, momenta))
        for number, flight in enumerate(reversed(self._flights)):
            if number > 0:
                ahead = torch.einsum("sqr,qpr->sqp", ahead, self.kernel)
            ahead = torch.einsum("srp,pqr->sqp", ahead, flight)
        return ahead.reshape(*index.shape, -1)
