"""How probability moves over a grid: the generator of overdamped dynamics and its exponential."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pyro_langevin.dynamics import OverdampedDynamics, UnderdampedDynamics
from pyro_langevin.grid_filter.state_grid import StateGrid

# Energies above the lowest grid point are cut here, in kT: the spectral sum loses exp(energy / 2) of its precision
# there, and with it the gradient of rates over high barriers.
_HIGHEST_ENERGY = 40.0


@dataclass(frozen=True, eq=False)
class Propagator:
    """Finite-volume generator on a grid, symmetrised by the square root of the Boltzmann weight.

    Attributes:
        grid: The grid.
        root_weight: ``(n,)``, square root of the Boltzmann weight.
        generator: ``(n, n)``, symmetric; its eigenvalues are those of the generator, at most 0.
    """

    grid: StateGrid
    root_weight: Tensor
    generator: Tensor

    @classmethod
    def of(cls, dynamics: OverdampedDynamics | UnderdampedDynamics, grid: StateGrid) -> Propagator:
        """Generator of overdamped dynamics with reflecting ends, second order in the spacing.

        A cell's weight is its integral and the passage between two cells that of their face, so that occupancies and
        rates hold even where a well is hardly wider than a cell.

        Raises:
            ValueError: If the dynamics are underdamped, or the state's dimension is not the grid's.
        """
        if not isinstance(dynamics, OverdampedDynamics):
            raise ValueError(
                f"exact evidence: expected overdamped dynamics in a potential, got {type(dynamics).__name__}"
            )
        if dynamics.dim != grid.dim:
            raise ValueError(
                f"exact evidence: the grid has dimension {grid.dim}, the state {dynamics.dim}; "
                "build the grid over the model's state space"
            )
        friction, temperature = dynamics.friction, dynamics.temperature.double()
        device = friction.device

        def energy(points: Tensor) -> Tensor:
            return dynamics.energy.energy(points.to(friction)).double() / temperature

        cell, face = -torch.logsumexp(-energy(grid.inside), -1) + grid.dim * math.log(2.0), energy(grid.faces)
        floor = cell.min()
        cell, face = ((level - floor).clamp_max(_HIGHEST_ENERGY) for level in (cell, face))
        first, second, axis = grid.first.to(device), grid.second.to(device), grid.axis.to(device)
        hop = dynamics.diffusion.double().expand(grid.dim)[axis] / grid.spacing**2
        leave = torch.zeros_like(cell)
        for side in (first, second):
            leave = leave.index_add(0, side, hop * (cell[side] - face).exp())
        passage = hop * (0.5 * (cell[first] + cell[second]) - face).exp()
        between = torch.zeros(len(cell), len(cell), dtype=torch.float64, device=device)
        between = between.index_put((first, second), passage)
        return cls(grid, (-0.5 * cell).exp(), between + between.mT - torch.diag(leave))

    @property
    def volume(self) -> float:
        """Of a cell."""
        return float(self.grid.spacing**self.grid.dim)

    def start(self, mass: Tensor) -> Tensor:
        """Law of probability mass ``(n,)`` on the cells: the mass itself."""
        return mass

    def weigh(self, law: Tensor, likelihood: Tensor) -> Tensor:
        """Law ``(*batch, n)`` times the likelihood ``(*batch, n)`` of the cells."""
        return law * likelihood

    def place(self, index: Tensor) -> Tensor:
        """States drawn evenly from the cells ``index`` ``(*batch,)``, ``(*batch, dim)``."""
        corner = torch.rand(*index.shape, self.grid.dim, dtype=torch.float64, device=index.device) - 0.5
        return self.grid.points.to(index.device)[index] + self.grid.spacing * corner

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues of the generator ``(n,)``, the slowest last, and orthonormal eigenvectors in columns."""
        rates, modes = torch.linalg.eigh(self.generator)
        return rates.clamp_max(0.0), modes

    def advance(self, mass: Tensor, gap: Tensor) -> Tensor:
        """Probability mass ``(series, n)`` after times ``gap`` ``(series,)``, each its own."""
        rates, modes = self.spectrum
        decay = (rates * gap.unsqueeze(-1)).exp()
        moved = (((mass / self.root_weight) @ modes) * decay) @ modes.mT
        return (moved * self.root_weight).clamp_min(0.0)

    def towards(self, cell: Tensor, gap: Tensor) -> Tensor:
        """Likelihood, up to a factor, of reaching ``cell`` ``(*batch, series)`` after ``gap`` ``(series,)``.

        Returns:
            One value for every cell to come from, ``(*batch, series, n)``.
        """
        rates, modes = self.spectrum
        decay = (rates * gap.unsqueeze(-1)).exp()
        return ((modes[cell] * decay) @ modes.mT / self.root_weight).clamp_min(0.0)

    def matrices(self, gaps: Tensor) -> Tensor:
        """Transition matrices ``(m, n, n)`` over times ``gaps`` ``(m,)``; row: from, column: to."""
        moved = _SymmetricExponential.apply(self.generator, gaps)
        return (moved * self.root_weight / self.root_weight.unsqueeze(-1)).clamp_min(0.0)


@dataclass(frozen=True, eq=False)
class MatrixPassage:
    """The passage of one gap as a matrix.

    Attributes:
        matrix: ``(n, n)``; row: from, column: to.
    """

    matrix: Tensor

    def __call__(self, law: Tensor) -> Tensor:
        """Law ``(series, n)`` after the gap."""
        return law.to(self.matrix) @ self.matrix

    def towards(self, index: Tensor) -> Tensor:
        """Likelihood of reaching ``index`` ``(*batch,)`` from every cell, ``(*batch, n)``."""
        return self.matrix.mT[index]


class _SymmetricExponential(torch.autograd.Function):
    """``exp(t A)`` of a symmetric matrix ``A`` for several ``t``, with the gradient by ``A``.

    The derivative in the eigenbasis is the table of divided differences of ``exp`` (Daleckii & Krein 1965), which
    unlike that of the eigenvectors is finite where eigenvalues coincide.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, times: Tensor) -> Tensor:
        rates, modes = torch.linalg.eigh(matrix)
        rates = rates.clamp_max(0.0)
        ctx.save_for_backward(rates, modes, times)
        return (modes * (rates * times[:, None]).exp().unsqueeze(-2)) @ modes.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        rates, modes, times = ctx.saved_tensors
        exponent = rates * times[:, None]
        high = torch.maximum(exponent.unsqueeze(-1), exponent.unsqueeze(-2))
        apart = (exponent.unsqueeze(-1) - exponent.unsqueeze(-2)).abs()
        quotient = torch.where(apart > 1e-8, -torch.expm1(-apart) / apart.clamp_min(1e-8), 1.0)
        divided = times[:, None, None] * high.exp() * quotient
        inner = (divided * (modes.mT @ grad @ modes)).sum(0)
        return modes @ inner @ modes.mT, None
