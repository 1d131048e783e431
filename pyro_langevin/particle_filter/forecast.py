"""Forecasts of every observation from those before it, in any dimension: particles of the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.particle_filter.problem import observation_at_points
from pyro_langevin.particle_filter.resampling import systematic_parents
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
    row_at = observation_at_points(observations, grid)
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
        parent = systematic_parents(seen[0].softmax(0))
        freshest = clouds[0].gather(0, parent.unsqueeze(-1).expand_as(clouds[0]))
        later = torch.cat([freshest.unsqueeze(0), clouds[:-1]])
        clouds = torch.where((row >= 0).unsqueeze(-1), later, clouds)
    return scores
