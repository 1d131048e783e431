"""Forecasts of every observation from those before it, in any dimension: particles of the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.paths import LangevinPath


@torch.no_grad()
def particle_forecast(model: LangevinModel, observations: Observations, *, horizon: int, particles: int) -> Tensor:
    r"""Estimate of :math:`\ln p(y_k \mid y_0 \dots y_{k-h})` of every row, ``(series, time)``, NaN for the first h.

    A bootstrap filter (Gordon, Salmond & Smith 1993): particles move as the chain that the model was fitted as, are
    weighed with each observation and resampled. Beside the particles that know all rows so far, ``h - 1`` clouds are
    carried on that know fewer. Monte Carlo; the log density is biased downwards in proportion to ``1 / particles``.
    The guide, which has seen the future, has no part in it.
    """
    grid = model.grid(observations)
    prior = LangevinPath(model.dynamics, model.initial(), grid)
    size, n_series = model.dynamics.position_dim, observations.n_series
    series = torch.arange(n_series, device=observations.values.device)
    row_at = _row_at_points(observations, grid.observed_index, grid.n_points)
    scores = torch.full((n_series, observations.n_times), torch.nan, dtype=torch.float64)
    clouds = prior.initial.sample(torch.Size([horizon, particles]))
    mask = prior.clock.mask_for(clouds.dim())
    for point in range(grid.n_points):
        if point > 0:
            step = prior.clock.steps_for(clouds.dim() + 1)[point - 1]
            moved = prior.dynamics.transition(clouds, step).apply(torch.randn_like(clouds))
            clouds = moved if mask is None else torch.where(mask[point - 1].unsqueeze(-1), moved, clouds)
        row = row_at[point]
        if bool((row < 0).all()):
            continue
        values = observations.values[series, row.clamp_min(0)]
        observed = observations.mask[series, row.clamp_min(0)]
        seen = model.emission.log_likelihood(clouds[..., :size], values, observed).double()
        score = seen[-1].logsumexp(0) - math.log(particles)
        known = torch.nonzero(row >= horizon).squeeze(-1)
        scores[known.cpu(), row[known].cpu()] = score[known].cpu()
        parent = _systematic(seen[0].softmax(0))
        freshest = clouds[0].gather(0, parent.unsqueeze(-1).expand_as(clouds[0]))
        later = torch.cat([freshest.unsqueeze(0), clouds[:-1]])
        clouds = torch.where((row >= 0).unsqueeze(-1), later, clouds)
    return scores


def _row_at_points(observations: Observations, index: Tensor, n_points: int) -> Tensor:
    """Row of the observations that each point of the grid is, -1 where it is none, ``(point, series)``."""
    rows = torch.arange(observations.n_times, device=index.device).expand_as(index)
    inside = rows < observations.lengths.to(index.device)[:, None]
    found = torch.full((len(index), n_points), -1, dtype=torch.long, device=index.device)
    for number in range(len(index)):
        found[number, index[number, inside[number]]] = rows[number, inside[number]]
    return found.mT.to(observations.values.device)


def _systematic(share: Tensor) -> Tensor:
    """Parents ``(particle, series)``: one draw a series places an even comb on the cumulated shares."""
    cumulated = share.mT.cumsum(-1).contiguous()
    count = len(share)
    comb = torch.arange(count, dtype=share.dtype, device=share.device) + torch.rand_like(cumulated[:, :1])
    parent = torch.searchsorted(cumulated, (comb / count * cumulated[:, -1:]).contiguous())
    return parent.clamp_max(count - 1).mT
