"""Hops between states on posterior paths: for states with momenta, which have too many cells to count between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyro_langevin.grid_filter.phase_space import PhaseSpacePropagator
from pyro_langevin.grid_filter.smoother import sample_smoothed
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.grid_filter.transitions import divergence_of_rows
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations


@dataclass(frozen=True, eq=False)
class Hops:
    """Passages between states over a lag.

    Attributes:
        counts: Number of passages from every state to every other, ``(k, k)``, as if the lags were one after the other.
        lag: Observation gaps in the lag.
        gap: Time between observations.
        state: State of every cell of the positions, ``(n,)``.
        energy: Reduced energy of the cells under the potential that the paths were drawn with, ``(n,)``.
    """

    counts: Tensor
    lag: int
    gap: float
    state: Tensor
    energy: Tensor

    def divergence(self, propagator: PhaseSpacePropagator, energy: Tensor) -> Tensor:
        """How much better the counts themselves explain where passages end than a stationary process does, in nats.

        Args:
            propagator: Of the process.
            energy: Its reduced energy of the cells, ``(n,)``.
        """
        member = one_hot(self.state).to(energy)
        weight = torch.softmax(-energy, 0)
        law = torch.stack([propagator.start(weight * own) for own in member.mT])
        passage = propagator.passage(self.gap)
        for _ in range(self.lag):
            law = passage(law)
        reached = law.unflatten(-1, (len(energy), -1)).sum(-1)
        return divergence_of_rows(self.counts, reached @ member)


@torch.no_grad()
def drawn_hops(model: LangevinModel, observations: Observations, grid: StateGrid, state: Tensor, lag: int) -> Hops:
    """Count passages between states on one posterior path of every series.

    Args:
        model: A model with an underdamped position.
        observations: The data, with equal gaps.
        grid: Must cover all positions that matter.
        state: State of every cell, ``(n,)``.
        lag: Observation gaps in the lag.
    """
    device = observations.values.device
    position = sample_smoothed(model, observations, grid, 1).z[0, ..., 0].double().contiguous()
    points = grid.points[:, 0].to(device)
    visited = state.to(device)[torch.bucketize(position, 0.5 * (points[1:] + points[:-1]))]
    inside = observations.inside[:, lag:]
    pairs = torch.stack([visited[:, :-lag][inside], visited[:, lag:][inside]])
    states = int(state.max()) + 1
    counts = torch.zeros(states, states, device=device).index_put(
        tuple(pairs), torch.ones(pairs.shape[1], device=device), accumulate=True
    )
    return Hops(counts / lag, lag, observations.typical_gap, state.to(device), reduced_energy(model, grid))


def reduced_energy(model: LangevinModel, grid: StateGrid) -> Tensor:
    """Energy of the cells in kT, ``(n,)``."""
    dynamics = model.dynamics.read()
    return dynamics.energy.energy(grid.points.to(dynamics.friction)) / dynamics.temperature
