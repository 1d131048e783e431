"""Exact evidence of a model with a state of one or two dimensions, by filtering on a grid.

A bound trains a guide well, but what the guide cannot represent pulls on the prior: rates come out too slow or
barriers too low while the bound still rises. In few dimensions the evidence itself is cheap, so that the prior
can be fitted without any guide. It is the evidence of the *continuous* process: no time step enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.propagator import Propagator
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_MOST_MATRICES = 8  # distinct gaps up to which one matrix each is cheaper than a sum over modes for every series
_SAME_GAP = 1e-6  # relative difference below which two gaps are one


def grid_log_evidence(model: LangevinModel, observations: Observations, grid: StateGrid) -> Tensor:
    """Log evidence of each series, ``(series,)``, differentiable by all parameters of the model.

    Exact up to the grid: second order in its spacing. Any gaps, missing values and lengths.

    Args:
        model: A model with an overdamped state of one or two dimensions.
        observations: A batch of series.
        grid: Must cover all states that matter.

    Raises:
        ValueError: If the dynamics are underdamped, or the state's dimension is not the grid's.
    """
    return run_filter(model, observations, grid).log_evidence


@dataclass(frozen=True, eq=False)
class Filtered:
    """Forward filter of a batch of series.

    Attributes:
        mass: Probability of every cell given the observations up to each time, one ``(series, n)`` a time.
        likelihood: Of the observations at each time in every cell, up to a factor, ``(time, series, n)``.
        log_evidence: ``(series,)``.
        advance: How probability moves over each gap.
    """

    mass: list[Tensor]
    likelihood: Tensor
    log_evidence: Tensor
    advance: Advance


def run_filter(model: LangevinModel, observations: Observations, grid: StateGrid) -> Filtered:
    """Filter a batch of series forward in time."""
    device = observations.values.device
    propagator = Propagator.of(model.dynamics.read(), grid)
    points = grid.points.to(observations.values)
    seen = model.emission.log_likelihood_table(points, observations.values, observations.mask)
    seen = seen.double().movedim(0, -1).movedim(-2, 0)  # (time, series, n)
    peak = seen.detach().amax(-1, keepdim=True)
    likelihood = (seen - peak).exp()
    alive = torch.arange(observations.n_times, device=device) < observations.lengths[:, None]
    advance = Advance(propagator, observations.times.diff(dim=-1), alive[:, 1:], observations.values.dtype)
    first = model.initial().log_prob(points).double()
    mass = (first - torch.logsumexp(first, 0)).exp().expand(observations.n_series, -1)
    masses, levels = [], []
    for k in range(observations.n_times):
        if k > 0:
            mass = advance(mass, k - 1)
        mass = mass * likelihood[k]
        level = mass.sum(-1, keepdim=True).clamp_min(1e-300)
        mass = mass / level
        masses.append(mass)
        levels.append(level)
    gained = (torch.stack(levels).log() + peak).squeeze(-1)
    return Filtered(masses, likelihood, torch.where(alive.mT, gained, 0.0).sum(0), advance)


class Advance:
    """Moves probability mass over the k-th gap: by one matrix where all series share few gaps, else by modes.

    The matrices have no negative entries, so that the data's own precision is enough for the products.
    """

    def __init__(self, propagator: Propagator, gaps: Tensor, alive: Tensor, dtype: torch.dtype) -> None:
        self.propagator, self.gaps = propagator, gaps
        known = gaps[alive].sort().values.double()
        new = torch.ones_like(known, dtype=torch.bool)
        new[1:] = known.diff() > _SAME_GAP * known[1:]
        self.distinct = known[new]
        self.matrices: Tensor | None = None
        if 0 < len(self.distinct) <= _MOST_MATRICES:
            self.matrices = propagator.matrices(self.distinct).to(dtype)
            # the padding of shorter series takes any gap: nothing is seen there
            middle = 0.5 * (self.distinct[1:] + self.distinct[:-1])
            self.kind = torch.bucketize(gaps.double(), middle)

    def __call__(self, mass: Tensor, k: int) -> Tensor:
        if self.matrices is None:
            return self.propagator.advance(mass, self.gaps[:, k])
        kind, start = self.kind[:, k], mass.to(self.matrices.dtype)
        moved = start
        for one in kind.unique():
            moved = torch.where((kind == one).unsqueeze(-1), start @ self.matrices[one], moved)
        return moved.double()

    def towards(self, cell: Tensor, k: int) -> Tensor:
        """Likelihood, up to a factor, of reaching ``cell`` ``(draw, series)`` over the k-th gap from every cell.

        Returns:
            ``(draw, series, n)``.
        """
        if self.matrices is None:
            return self.propagator.towards(cell, self.gaps[:, k])
        kind = self.kind[:, k]
        arriving = self.matrices.mT
        if bool((kind == kind[0]).all()):
            return arriving[kind[0]][cell].double()
        return arriving[kind.expand_as(cell), cell].double()
