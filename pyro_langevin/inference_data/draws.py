"""Draws of the posterior path, in chunks, reduced to what is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyro_langevin.grid_filter import StateGrid, sample_smoothed
from pyro_langevin.landscape import Landscape, count_transitions, last_visited
from pyro_langevin.model import LangevinModel, at_observations
from pyro_langevin.observations import LONG, Observations
from pyro_langevin.paths import LangevinPath
from pyro_langevin.training import FittedMember

_NUMBERS_AT_ONCE = 20_000_000  # states of paths held in memory together
_STATES_AT_ONCE = 2_000_000  # drawn states that are told apart together
_STRETCH = 1000  # rows of a long series that are looked at together
_DENSITIES_AT_ONCE = 2_000_000  # states whose densities are evaluated together: many intermediates each


@dataclass(frozen=True, eq=False)
class PathDraws:
    """Posterior draws of one fit, at the observation times.

    Attributes:
        z: Positions, ``(draw, series, time, position_dim)``, NaN beyond the end of a series.
        momentum: ``(draw, series, time, dim - position_dim)``, likewise.
        log_p: ``(draw, series)``, log joint density of path and data.
        log_q: ``(draw, series)``, log density that the path was drawn from.
        state: ``(draw, series, time)``, basin, -1 beyond the end.
        visit: ``(draw, series, time)``, core visited last, -1 before the first and beyond the end.
        exposure: ``(draw, state)``, time by the core visited last.
        events: ``(draw, state, state)``, transitions between cores.
    """

    z: np.ndarray
    momentum: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    state: np.ndarray
    visit: np.ndarray
    exposure: np.ndarray
    events: np.ndarray


@torch.no_grad()
def sample_states(member: FittedMember, observations: Observations, *, most: int) -> np.ndarray:
    """Positions of one posterior draw at the observation times, ``(n, position_dim)`` with ``n <= most``.

    Of long series those of some stretches.
    """
    if observations.n_times > LONG:
        stretches = observations.windows(_STRETCH)
        observations = stretches.select(torch.randperm(stretches.n_series)[: 5 * max(1, most // _STRETCH)])
    if member.grid is not None:
        z = sample_smoothed(member.model, observations, member.grid, 1).z[0]
    else:
        z = at_observations(member.guide.path(observations).rsample(), member.model.grid(observations))
    states = z[..., : member.model.dynamics.position_dim][observations.inside]
    return states[torch.randperm(len(states))[:most]].double().cpu().numpy()


@torch.no_grad()
def draw_exactly(
    member: FittedMember, observations: Observations, grid: StateGrid, landscape: Landscape, draws: int
) -> PathDraws:
    """Draw paths from the exact posterior of the fitted model and count their transitions between observations."""
    smoothed = sample_smoothed(member.model, observations, grid, draws)
    inside = observations.inside.cpu().numpy()
    outside = ~inside
    durations = np.where(inside[:, 1:], observations.times.diff(dim=-1).cpu().numpy(), 0.0)
    chunk = max(1, _STATES_AT_ONCE // smoothed.z[0].numel())
    parts = []
    for some in smoothed.z.split(chunk):
        z, momentum = np.split(some.cpu().numpy(), [landscape.dim], axis=-1)
        points = z.astype(np.float64)
        core = np.where(outside, -1, landscape.core(points))
        counts = count_transitions(core, durations, n_states=landscape.n_states, keep=1)
        parts.append((
            np.where(outside[..., None], np.nan, z), np.where(outside[..., None], np.nan, momentum),
            np.where(outside, np.int8(-1), landscape.basin(points).astype(np.int8)),
            np.where(outside, -1, last_visited(core)).astype(np.int8),
            counts.exposure, counts.events,
        ))  # fmt: skip
    z, momentum, state, visit, exposure, events = (np.concatenate(part) for part in zip(*parts, strict=True))
    log_q = smoothed.log_q.cpu().numpy()
    log_p = log_q + smoothed.log_evidence.cpu().numpy()
    return PathDraws(z, momentum, log_p, log_q, state, visit, exposure, events)


@torch.no_grad()
def draw_paths(member: FittedMember, observations: Observations, landscape: Landscape, draws: int) -> PathDraws:
    """Draw paths from the guide and count their transitions, on the fine grid."""
    model = member.model
    grid = model.grid(observations)
    posterior = member.guide.path(observations)
    prior = LangevinPath(model.dynamics, model.initial(), grid)
    durations = np.where(grid.step_mask.cpu(), grid.steps.cpu(), 0.0)
    outside = ~observations.inside.cpu().numpy()
    observed = grid.observed_index.cpu().numpy()
    size = model.dynamics.position_dim
    chunk = max(1, _NUMBERS_AT_ONCE // (observations.n_series * grid.n_points * model.dynamics.dim))
    parts: list[tuple[np.ndarray, ...]] = []
    for begin in range(0, draws, chunk):
        path = posterior.rsample(torch.Size([min(chunk, draws - begin)]))
        at_times = at_observations(path, grid)
        slices = path.split(max(1, _DENSITIES_AT_ONCE // path[0].numel()))
        prior_density = torch.cat([prior.log_prob(part) for part in slices])
        guide_density = torch.cat([posterior.log_prob(part) for part in slices])
        log_p = prior_density + _log_likelihood(model, at_times[..., :size], observations)
        core = landscape.core(path[..., :size].double().cpu().numpy())
        counts = count_transitions(core, durations, n_states=landscape.n_states, keep=1)
        visit = np.take_along_axis(last_visited(core), np.broadcast_to(observed, (len(core), *observed.shape)), -1)
        z, momentum = at_times[..., :size].cpu().numpy(), at_times[..., size:].cpu().numpy()
        state = landscape.basin(z.astype(np.float64)).astype(np.int8)
        parts.append((
            np.where(outside[..., None], np.nan, z), np.where(outside[..., None], np.nan, momentum),
            log_p.cpu().numpy(), guide_density.cpu().numpy(),
            np.where(outside, np.int8(-1), state), np.where(outside, -1, visit).astype(np.int8),
            counts.exposure, counts.events,
        ))
    return PathDraws(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _log_likelihood(model: LangevinModel, states: Tensor, observations: Observations) -> Tensor:
    """Sum over the observations of each series, ``(draw, series)``."""
    return model.emission.log_likelihood_along(states, observations).sum(-1)
