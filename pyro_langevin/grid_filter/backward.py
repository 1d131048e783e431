"""Drawing states backward through a filter that ran forward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.evidence import propagator_of, run_filter
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

NUMBERS_AT_ONCE = 20_000_000  #: probabilities held in memory together


def numbers_of(model: LangevinModel, grid: StateGrid) -> int:
    """Numbers that a law is made of."""
    return propagator_of(model, grid).start(torch.ones(len(grid.points))).numel()


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws of a few series.

    Attributes:
        index: Cell, with momenta cell and momentum, ``(time, draw, series)``.
        z: State in it, ``(time, draw, series, dim)``.
        log_q: Log density of each state given those after it, ``(time, draw, series)``.
        gained: Log evidence of each time given those before it, ``(time, series)``.
    """

    index: Tensor
    z: Tensor
    log_q: Tensor
    gained: Tensor


def draw_backward(
    model: LangevinModel, observations: Observations, grid: StateGrid, draws: int, uniform: Tensor | None = None
) -> Drawn:
    """Draw a few series, with uniform random numbers ``(time, draw, series)`` where they are given."""
    filtered = run_filter(model, observations, grid)
    propagator = filtered.advance.propagator
    at_once = max(1, NUMBERS_AT_ONCE // filtered.law[0].numel())
    last = observations.n_times - 1
    # Weights are the largest arrays. New ones for each product would take longer than the products; and results that
    # are kept must not come to lie between them, where they would leave holes that no later weights fit into.
    index = torch.empty(last + 1, draws, observations.n_series, dtype=torch.long, device=filtered.law[0].device)
    log_q = torch.empty_like(index, dtype=filtered.law[0].dtype)
    z = []
    for begin in range(0, draws, at_once):
        some = slice(begin, min(begin + at_once, draws))
        weight = filtered.law[-1].clamp_min(0.0).expand(some.stop - begin, -1, -1)
        for k in reversed(range(last + 1)):
            if k < last:
                weight = filtered.advance.towards(index[k + 1, some], k).mul_(filtered.law[k]).clamp_min_(0.0)
            index[k, some], log_q[k, some] = _drawn_along(weight, None if uniform is None else uniform[k, some])
        z.append(propagator.place(index[:, some]))
    return Drawn(index, torch.cat(z, 1), log_q - math.log(propagator.volume), filtered.gained)


def _drawn_along(weight: Tensor, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """Index drawn along the last axis, in proportion to weights, and the log of its probability."""
    total = weight.cumsum(-1)
    level = total[..., -1:]
    uniform = torch.rand_like(level) if uniform is None else uniform.unsqueeze(-1)
    index = torch.searchsorted(total, uniform * level).clamp_max(weight.shape[-1] - 1)
    return index.squeeze(-1), (weight.gather(-1, index) / level).log().squeeze(-1)
