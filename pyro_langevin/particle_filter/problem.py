"""What is filtered: a model's prior, a guide's steps, and the observations that the points of the grid meet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.particle_filter.proposal import Proposal, Step, proposal_of
from pyro_langevin.paths import LangevinPath
from pyro_langevin.time_grid import TimeGrid


def observation_at_points(observations: Observations, grid: TimeGrid) -> Tensor:
    """Which observation each point of a time grid is, ``(n_points, series)``, -1 for none."""
    device = observations.values.device
    rows = torch.arange(observations.n_times, device=device)
    number = torch.full((observations.n_series, grid.n_points), -1, device=device)
    return number.scatter_(1, grid.observed_index.to(device), torch.where(observations.inside, rows, -1)).mT


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of series with everything that a filter needs.

    Attributes:
        model: The model.
        observations: The series.
        prior: The prior's path on the model's grid.
        proposal: The guide's path on it.
        steps: Its steps.
        number: Which observation each point of the grid is, ``(n_points, series)``, -1 for none.
        goes_on: Whether a series moves after each point, ``(n_points, series)``, False at its end.
    """

    model: LangevinModel
    observations: Observations
    prior: LangevinPath
    proposal: Proposal
    steps: list[Step]
    number: Tensor
    goes_on: Tensor

    @classmethod
    def of(cls, guide: AmortisedGuide, observations: Observations, widening: float = 1.0) -> Problem:
        """The problem of a guide's own model; the guide's steps are widened by a factor."""
        model = guide.model
        grid = model.grid(observations)
        prior = LangevinPath(model.dynamics, model.initial(), grid)
        proposal = proposal_of(guide.path(observations), prior, widening)
        goes_on = torch.nn.functional.pad(grid.step_mask.to(observations.values.device), (0, 1))
        number = observation_at_points(observations, grid)
        return cls(model, observations, prior, proposal, proposal.steps(), number, goes_on.mT)

    @property
    def n_points(self) -> int:
        """Number of points of the grid."""
        return len(self.number)

    def is_observed(self, point: int) -> bool:
        """Whether any series has an observation at a point."""
        return bool((self.number[point] >= 0).any())

    def log_likelihood(self, point: int, z: Tensor) -> Tensor:
        """Log likelihood of what is observed at a point, ``(*batch, series)``, 0 where nothing is."""
        number = self.number[point]
        series = torch.arange(len(number), device=number.device)
        row = number.clamp_min(0)
        values, mask = (part[series, row] for part in (self.observations.values, self.observations.mask))
        mask = mask & (number >= 0).unsqueeze(-1)
        position = z[..., : self.model.dynamics.position_dim]
        return self.model.emission.log_likelihood(position, values, mask).double()
