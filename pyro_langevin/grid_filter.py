"""Exact evidence of a model with a one-dimensional state, by filtering on a grid.

A bound trains a guide well, but what the guide cannot represent pulls on the prior: rates come out too slow or
barriers too low while the bound still rises. In one dimension the evidence itself is cheap, so that the prior
can be fitted without any guide. It is the evidence of the *continuous* process: no time step enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics import OverdampedDynamics, UnderdampedDynamics
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

# Energies above the lowest grid point are cut here, in kT: the spectral sum loses exp(energy / 2) of its precision
# there, and with it the gradient of rates over high barriers.
_HIGHEST_ENERGY = 40.0


@dataclass(frozen=True, eq=False)
class StateGrid:
    """Equal cells of a one-dimensional state space.

    Attributes:
        points: Cell centres ``(n,)``, float64.
    """

    points: Tensor

    @classmethod
    def around(cls, low: float, high: float, *, size: int = 200, margin: float = 0.4) -> StateGrid:
        """Cells over an interval, widened on both sides by a share ``margin`` of its length."""
        extra = margin * (high - low)
        return cls(torch.linspace(low - extra, high + extra, size, dtype=torch.float64))

    @property
    def spacing(self) -> float:
        """Cell width."""
        return float(self.points[1] - self.points[0])


@dataclass(frozen=True, eq=False)
class Propagator:
    """Spectral form of the generator on a grid, symmetrised by the square root of the Boltzmann weight.

    Attributes:
        root_weight: ``(n,)``, square root of the Boltzmann weight.
        rates: ``(n,)``, eigenvalues of the generator, at most 0.
        modes: ``(n, n)``, orthonormal eigenvectors in columns.
    """

    root_weight: Tensor
    rates: Tensor
    modes: Tensor

    @classmethod
    def of(cls, dynamics: OverdampedDynamics | UnderdampedDynamics, grid: StateGrid) -> Propagator:
        """Finite-volume generator of overdamped dynamics with reflecting ends, second order in the spacing.

        Raises:
            ValueError: If the dynamics are underdamped.
        """
        if not isinstance(dynamics, OverdampedDynamics):
            raise ValueError(f"exact evidence: expected overdamped dynamics, got {type(dynamics).__name__}")
        points = grid.points.to(dynamics.friction.device)
        energy = dynamics.energy.energy(points.to(dynamics.friction).unsqueeze(-1)).double()
        energy = ((energy - energy.min()) / dynamics.temperature.double()).clamp_max(_HIGHEST_ENERGY)
        hop = dynamics.diffusion.double() / grid.spacing**2
        climb = 0.5 * energy.diff()
        leave = torch.nn.functional.pad((-climb).exp(), (0, 1)) + torch.nn.functional.pad(climb.exp(), (1, 0))
        beside = torch.ones(len(points) - 1, dtype=torch.float64, device=points.device)
        generator = hop * (torch.diag(beside, 1) + torch.diag(beside, -1) - torch.diag(leave))
        rates, modes = torch.linalg.eigh(generator)
        return cls((-0.5 * energy).exp(), rates.clamp_max(0.0), modes)

    def advance(self, mass: Tensor, gap: Tensor) -> Tensor:
        """Probability mass ``(series, n)`` after times ``gap`` ``(series,)``."""
        decay = (self.rates * gap.unsqueeze(-1)).exp()
        moved = (((mass / self.root_weight) @ self.modes) * decay) @ self.modes.mT
        return (moved * self.root_weight).clamp_min(0.0)


def grid_log_evidence(model: LangevinModel, observations: Observations, grid: StateGrid) -> Tensor:
    """Log evidence of each series, ``(series,)``, differentiable by all parameters of the model.

    Exact up to the grid: second order in its spacing. Any gaps, missing values and lengths.

    Args:
        model: A model with a one-dimensional overdamped state.
        observations: A batch of series.
        grid: Must cover all states that matter.

    Raises:
        ValueError: If the state has more than one dimension.
    """
    if model.dynamics.dim != 1:
        raise ValueError(f"grid_log_evidence: expected a one-dimensional state, got {model.dynamics.dim}")
    device = observations.values.device
    propagator = Propagator.of(model.dynamics.read(), grid)
    points = grid.points.to(observations.values).unsqueeze(-1)
    seen = model.emission.log_likelihood(
        points[:, None, None, :], observations.values, observations.mask
    ).double()  # (n, series, time)
    gaps = observations.times.diff(dim=-1)
    alive = torch.arange(observations.n_times, device=device) < observations.lengths[:, None]
    first = model.initial().log_prob(points).double()
    mass = (first - torch.logsumexp(first, 0)).exp().expand(observations.n_series, -1)
    total = torch.zeros(observations.n_series, dtype=torch.float64, device=device)
    for k in range(observations.n_times):
        if k > 0:
            mass = propagator.advance(mass, gaps[:, k - 1])
        here = seen[..., k].mT
        peak = here.amax(-1, keepdim=True).detach()
        mass = mass * (here - peak).exp()
        level = mass.sum(-1, keepdim=True).clamp_min(1e-300)
        mass = mass / level
        total = total + torch.where(alive[:, k], (level.log() + peak).squeeze(-1), 0.0)
    return total
