"""Expected transitions between the cells of a grid, given all data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyro_langevin.grid_filter.evidence import run_filter
from pyro_langevin.grid_filter.propagator import MatrixPassage
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_NUMBERS_AT_ONCE = 20_000_000  # probabilities held in memory together


@dataclass(frozen=True, eq=False)
class Transitions:
    """What a model, the dynamics aside, and all data say of the passages over one gap.

    Attributes:
        counts: Expected number of passages from every cell to every other, ``(n, n)``, float64.
        gap: Time a passage takes.
        log_evidence: Of all data under the model that the expectation was taken with.
        log_likelihood: Of the counts under that model's own dynamics.
        n_values: Number of observed values.
    """

    counts: Tensor
    gap: float
    log_evidence: float
    log_likelihood: Tensor
    n_values: int

    def evidence_bound(self, matrix: Tensor) -> Tensor:
        """Lower bound of the log evidence with transition matrix ``(n, n)`` in place of the one counted under.

        It touches the evidence there, so that raising it raises the evidence (Dempster, Laird & Rubin 1977).
        """
        return self.log_evidence + _log_likelihood(self.counts, matrix) - self.log_likelihood

    def hop_divergence(self, matrix: Tensor, weight: Tensor, state: Tensor) -> Tensor:
        """How much better the counts themselves explain where their passages between states end, in nats.

        Zero if a stationary process with this transition matrix hops as often as was counted.

        Args:
            matrix: Transition matrix ``(n, n)``.
            weight: Stationary probability of every cell ``(n,)``, up to a factor.
            state: State that every cell belongs to, ``(n,)``.
        """
        return divergence_of_rows(*self.hops(matrix, weight, state))

    def hops(self, matrix: Tensor, weight: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Passages between states: as counted, and in proportion to a stationary process's, ``(states, states)`` both.

        Args:
            matrix: Transition matrix ``(n, n)``.
            weight: Stationary probability of every cell ``(n,)``, up to a factor.
            state: State that every cell belongs to, ``(n,)``.
        """
        member = one_hot(state).to(matrix)
        counted = member.mT @ self.counts.to(matrix) @ member
        return counted, member.mT @ (weight.unsqueeze(-1) * matrix) @ member


@torch.no_grad()
def expected_transitions(model: LangevinModel, observations: Observations, grid: StateGrid) -> Transitions:
    """Count passages between cells over all gaps and series, weighted by their posterior probability.

    Args:
        model: A model with an overdamped state of one or two dimensions.
        observations: The data, with equal gaps.
        grid: Must cover all states that matter.

    Raises:
        ValueError: If the gaps differ.
    """
    total, evidence, matrix = torch.zeros(()), 0.0, torch.zeros(())
    series = max(1, _NUMBERS_AT_ONCE // (observations.n_times * len(grid.points)))
    for chosen in torch.arange(observations.n_series).split(series):
        counted, gained, matrix = _count(model, observations.select(chosen), grid)
        total, evidence = total.to(counted) + counted, evidence + gained
    matrix = matrix.double()
    n_values = int(observations.mask.sum())
    return Transitions(total, observations.typical_gap, evidence, _log_likelihood(total, matrix), n_values)


def _count(model: LangevinModel, observations: Observations, grid: StateGrid) -> tuple[Tensor, float, Tensor]:
    """Counts ``(n, n)`` of a few series, their log evidence, and the transition matrix."""
    filtered = run_filter(model, observations, grid)
    passages = filtered.advance.passages
    if passages is None or len(passages) != 1:
        raise ValueError(
            f"expected_transitions: expected equal gaps, got {len(filtered.advance.distinct)} different ones; "
            "interpolate no data, fit on the evidence alone"
        )
    if not isinstance(passages[0], MatrixPassage):
        raise ValueError("expected_transitions: expected a state without momenta; fit on the evidence alone")
    matrix = passages[0].matrix
    counts = torch.zeros_like(matrix, dtype=torch.float64)
    ahead = torch.ones_like(filtered.likelihood[0], dtype=matrix.dtype)
    for k in reversed(range(observations.n_times - 1)):
        goes_on = (k + 1 < observations.lengths).unsqueeze(-1)
        arriving = filtered.likelihood[k + 1].to(matrix) * ahead
        before = arriving @ matrix.mT
        here = filtered.law[k].to(matrix)
        share = (here * before).sum(-1, keepdim=True).clamp_min(1e-30)
        counts += matrix * ((here / share * goes_on).mT @ arriving)
        ahead = torch.where(goes_on, before / before.amax(-1, keepdim=True).clamp_min(1e-30), ahead)
    return counts, float(filtered.log_evidence.sum()), matrix


def _log_likelihood(counts: Tensor, matrix: Tensor) -> Tensor:
    return (counts * matrix.clamp_min(1e-30).log()).sum()


def divergence_of_rows(counted: Tensor, expected: Tensor) -> Tensor:
    """Of the rows of one table from those of another, weighted by the counts of the first."""
    found, fitted = (table / table.sum(-1, keepdim=True) for table in (counted, expected))
    return (counted * (found.clamp_min(1e-30).log() - fitted.clamp_min(1e-30).log())).sum()
