"""Exact posterior paths of a model with a state of one or two dimensions: filter forward, sample backward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.evidence import propagator_of, run_filter
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_NUMBERS_AT_ONCE = 20_000_000  # probabilities held in memory together


@dataclass(frozen=True, eq=False)
class SmoothedDraws:
    """Independent draws of the path given all data, at the observation times.

    Attributes:
        z: ``(draw, series, time, dim)``; beyond the end of a series it follows the prior.
        log_q: Log density of each drawn path, ``(draw, series)``.
        log_evidence: ``(series,)``.
    """

    z: Tensor
    log_q: Tensor
    log_evidence: Tensor


@torch.no_grad()
def sample_smoothed(
    model: LangevinModel, observations: Observations, grid: StateGrid, draws: int
) -> SmoothedDraws:
    """Draw paths from the exact posterior of the continuous process, up to the grid.

    The filter runs forward and states are drawn backward, each given the one after it. Within its cell
    a state is uniform.

    Args:
        model: A model with one or two overdamped positions, or one underdamped.
        observations: The data.
        grid: Must cover all states that matter.
        draws: Number of independent paths.

    Raises:
        ValueError: As :func:`grid_log_evidence`.
    """
    series = max(1, _NUMBERS_AT_ONCE // (observations.n_times * _size(model, grid)))
    parts = [
        _sample(model, observations.select(chosen), grid, draws)
        for chosen in torch.arange(observations.n_series).split(series)
    ]
    z = torch.cat([part[0] for part in parts], 2)
    log_q, evidence = (torch.cat([part[i] for part in parts], -1) for i in (1, 2))
    return SmoothedDraws(z.movedim(0, 2).to(observations.values), log_q, evidence)


def _size(model: LangevinModel, grid: StateGrid) -> int:
    """Numbers that a law is made of."""
    return propagator_of(model, grid).start(torch.ones(len(grid.points))).numel()


def _sample(
    model: LangevinModel, observations: Observations, grid: StateGrid, draws: int
) -> tuple[Tensor, Tensor, Tensor]:
    """States ``(time, draw, series, dim)``, log densities ``(draw, series)`` and log evidences of a few series."""
    filtered = run_filter(model, observations, grid)
    propagator = filtered.advance.propagator
    at_once = max(1, _NUMBERS_AT_ONCE // filtered.law[0].numel())
    states, log_q = [], []
    for number in torch.arange(draws).split(at_once):
        weight = filtered.law[-1].clamp_min(0.0).expand(len(number), -1, -1)
        index, total = _draw(weight)
        backward = [index]
        for k in reversed(range(observations.n_times - 1)):
            weight = (filtered.law[k] * filtered.advance.towards(index, k)).clamp_min(0.0)
            index, gained = _draw(weight)
            total = total + gained
            backward.append(index)
        states.append(propagator.place(torch.stack(backward[::-1])))
        log_q.append(total - observations.n_times * math.log(propagator.volume))
    return torch.cat(states, 1), torch.cat(log_q), filtered.log_evidence


def _draw(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Index drawn along the last axis, in proportion to weights, and the log of its probability."""
    total = weight.cumsum(-1)
    level = total[..., -1:]
    uniform = torch.rand_like(level) * level
    index = torch.searchsorted(total, uniform).clamp_max(weight.shape[-1] - 1)
    return index.squeeze(-1), (weight.gather(-1, index) / level).log().squeeze(-1)
