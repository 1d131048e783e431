"""Exact evidence of a model with a state of one or two dimensions, by filtering on a grid.

The state is one or two positions, or one position and its momentum.

A bound trains a guide well, but what the guide cannot represent pulls on the prior: rates come out too slow or
barriers too low while the bound still rises. In few dimensions the evidence itself is cheap, so that the prior
can be fitted without any guide. It is the evidence of the *continuous* process: no time step enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.grid_filter.phase_space import Passage, PhaseSpacePropagator
from pyro_langevin.grid_filter.propagator import MatrixPassage, Propagator
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_MOST_MATRICES = 8  # distinct gaps up to which one matrix each is cheaper than a sum over modes for every series
_SAME_GAP = 1e-6  # relative difference below which two gaps are one


def grid_log_evidence(model: LangevinModel, observations: Observations, grid: StateGrid) -> Tensor:
    """Log evidence of each series, ``(series,)``, differentiable by all parameters of the model.

    Exact up to the grid: second order in its spacing; with a momentum it is that of a chain of ABOBA steps, so short
    that the stiffest well's oscillation is right to half a per cent. Any gaps, missing values and lengths; with a
    momentum at most eight different gaps.

    Args:
        model: A model with one or two overdamped positions, or one underdamped.
        observations: A batch of series.
        grid: Must cover all positions that matter.

    Raises:
        ValueError: If the position's dimension is not the grid's, or too many underdamped, or the gaps are too many.
    """
    return run_filter(model, observations, grid).log_evidence


@dataclass(frozen=True, eq=False)
class Filtered:
    """Forward filter of a batch of series.

    Attributes:
        law: Probability of every cell, with momenta of every cell and momentum, given the observations up to each time,
            one ``(series, n)`` a time.
        likelihood: Of the observations at each time in every cell, up to a factor, ``(time, series, n)``.
        gained: Log evidence of the observations at each time given those before, ``(time, series)``; 0 on padding.
        advance: How probability moves over each gap.
    """

    law: list[Tensor]
    likelihood: Tensor
    gained: Tensor
    advance: Advance

    @property
    def log_evidence(self) -> Tensor:
        """Of each series, ``(series,)``."""
        return self.gained.sum(0)


def run_filter(model: LangevinModel, observations: Observations, grid: StateGrid) -> Filtered:
    """Filter a batch of series forward in time."""
    propagator = propagator_of(model, grid)
    points = grid.points.to(observations.values)
    seen = model.emission.log_likelihood_table(points, observations.values, observations.mask)
    seen = seen.double().movedim(0, -1).movedim(-2, 0)  # (time, series, n)
    peak = seen.detach().amax(-1, keepdim=True)
    likelihood = (seen - peak).exp()
    alive = observations.inside
    advance = Advance(propagator, observations.times.diff(dim=-1), alive[:, 1:], observations.values.dtype)
    law = propagator.start(_first_law(model, grid)).expand(observations.n_series, -1)
    laws, levels = [], []
    # unbound at once: the gradient of an index would fill an array of all times at every time
    for k, told in enumerate(likelihood.unbind(0)):
        if k > 0:
            law = advance(law, k - 1).clamp_min(0.0)  # cubics undershoot a little
        law = propagator.weigh(law, told)
        level = law.sum(-1, keepdim=True).clamp_min(1e-300)
        law = law / level
        laws.append(law)
        levels.append(level)
    gained = (torch.stack(levels).log() + peak).squeeze(-1)
    return Filtered(laws, likelihood, torch.where(alive.mT, gained, 0.0), advance)


def propagator_of(model: LangevinModel, grid: StateGrid) -> Propagator | PhaseSpacePropagator:
    """What moves the law of the model's state."""
    dynamics = model.dynamics.read()
    if isinstance(dynamics, UnderdampedDynamics):
        return PhaseSpacePropagator.of(dynamics, grid)
    return Propagator.of(dynamics, grid)


def _first_law(model: LangevinModel, grid: StateGrid) -> Tensor:
    """Probability of every cell at the first time, ``(n,)``; a momentum there is independent of the position."""
    points = grid.points.to(next(model.parameters()))
    momenta = points.new_zeros(len(points), model.dynamics.dim - grid.dim)
    density = model.initial().log_prob(torch.cat([points, momenta], -1)).double()
    return (density - torch.logsumexp(density, 0)).exp()


class Advance:
    """Moves a law over the k-th gap: by one matrix, or one chain, where all series share few gaps, else by modes.

    No entry is negative, so that the data's own precision is enough for the products.
    """

    def __init__(
        self, propagator: Propagator | PhaseSpacePropagator, gaps: Tensor, alive: Tensor, dtype: torch.dtype
    ) -> None:
        self.propagator, self.gaps = propagator, gaps
        known = gaps[alive].sort().values.double()
        new = torch.ones_like(known, dtype=torch.bool)
        new[1:] = known.diff() > _SAME_GAP * known[1:]
        self.distinct = known[new]
        self.passages: list[MatrixPassage] | list[Passage] | None = None
        if 0 < len(self.distinct) <= _MOST_MATRICES:
            if isinstance(propagator, Propagator):
                self.passages = [MatrixPassage(one) for one in propagator.matrices(self.distinct).to(dtype)]
            else:
                self.passages = [propagator.passage(float(gap)) for gap in self.distinct]
            # the padding of shorter series takes any gap: nothing is seen there
            middle = 0.5 * (self.distinct[1:] + self.distinct[:-1])
            self.kind = torch.bucketize(gaps.double(), middle)
        elif isinstance(propagator, PhaseSpacePropagator):
            raise ValueError(
                f"exact evidence: with momenta expected at most {_MOST_MATRICES} different gaps between observations, "
                f"got {len(self.distinct)}; set those equal that only rounding tells apart (with_equal_gaps)"
            )

    def __call__(self, law: Tensor, k: int) -> Tensor:
        if self.passages is None:
            assert isinstance(self.propagator, Propagator)
            return self.propagator.advance(law, self.gaps[:, k])
        if len(self.passages) == 1:
            return self.passages[0](law).double()
        kind = self.kind[:, k]
        moved = law
        for one in kind.unique():
            moved = torch.where((kind == one).unsqueeze(-1), self.passages[one](law).double(), moved)
        return moved

    def towards(self, cell: Tensor, k: int) -> Tensor:
        """Likelihood, up to a factor, of reaching ``cell`` ``(draw, series)`` over the k-th gap from everywhere.

        Returns:
            ``(draw, series, n)``.
        """
        if self.passages is None:
            assert isinstance(self.propagator, Propagator)
            return self.propagator.towards(cell, self.gaps[:, k])
        if len(self.passages) == 1:
            return self.passages[0].towards(cell).double()
        kind = self.kind[:, k]
        if bool((kind == kind[0]).all()):
            return self.passages[int(kind[0])].towards(cell).double()
        parts = [self.passages[one].towards(cell[:, i]) for i, one in enumerate(kind.tolist())]
        return torch.stack(parts, 1).double()
