"""Smoothed trajectories, drawn backward in time through the particles of the filter."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.particle_filter.forward import Filtered
from pyro_langevin.particle_filter.problem import Problem
from pyro_langevin.particle_filter.proposal import transition_log_density


def draw_backward(problem: Problem, filtered: Filtered, draws: int) -> Tensor:
    """States at the observations, ``(draw, run, series, time, dim)``, NaN beyond the end of a series.

    Between observations a particle's own steps are kept; at each observation its ancestor is drawn anew among all
    particles there, by weight times the prior's density of the step that follows. So trajectories do not share the
    few ancestors that resampling leaves. (Godsill, Doucet & West 2004.)
    """
    like = next(iter(filtered.states.values()))
    observations = problem.observations
    path = torch.full(
        (observations.n_times, draws, *like.shape[1:]), torch.nan, dtype=like.dtype, device=like.device
    )
    index = torch.zeros((draws, *like.shape[1:-1]), dtype=torch.long, device=like.device)
    for point in sorted(filtered.log_weight, reverse=True):
        number = problem.number[point]
        z = filtered.states[point]
        logits = filtered.log_weight[point].expand(draws, *filtered.log_weight[point].shape)
        if point + 1 in filtered.states:
            after = filtered.states[point + 1].gather(0, index.unsqueeze(-1).expand(*index.shape, z.shape[-1]))
            step = problem.prior.clock.steps_for(z.dim() + 1)[point]
            log_density = transition_log_density(problem.prior, z, after.unsqueeze(1), step)
            logits = logits + torch.where(problem.goes_on[point], log_density, 0.0)
        drawn = _categorical(logits)
        index = torch.where(number >= 0, drawn, index)
        here = torch.nonzero(number >= 0).squeeze(-1)
        chosen = z.gather(0, index.unsqueeze(-1).expand(*index.shape, z.shape[-1]))
        path[number[here], :, :, here] = chosen[:, :, here].movedim(2, 0)
    return path.movedim(0, -2)


def _categorical(logits: Tensor) -> Tensor:
    """One index ``(draw, run, series)`` each from logits ``(draw, particle, run, series)``."""
    share = (logits - logits.amax(1, keepdim=True)).exp().movedim(1, -1).cumsum(-1)
    level = torch.rand_like(share[..., :1]) * share[..., -1:]
    return torch.searchsorted(share.contiguous(), level).squeeze(-1).clamp_max(share.shape[-1] - 1)
