"""Exact posterior paths of a model with a state of one or two dimensions: filter forward, sample backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.evidence import run_filter
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
        model: A model with an overdamped state of one or two dimensions.
        observations: The data.
        grid: Must cover all states that matter.
        draws: Number of independent paths.
    """
    size = len(grid.points)
    series = max(1, _NUMBERS_AT_ONCE // (observations.n_times * size))
    parts = [
        _sample(model, observations.select(chosen), grid, draws)
        for chosen in torch.arange(observations.n_series).split(series)
    ]
    cell, log_q, evidence = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    corner = torch.rand(*cell.shape, grid.dim, dtype=torch.float64, device=cell.device) - 0.5
    z = grid.points.to(cell.device)[cell] + grid.spacing * corner  # (time, draw, series, dim)
    density = log_q - observations.n_times * grid.dim * torch.tensor(grid.spacing).double().log()
    return SmoothedDraws(z.movedim(0, 2).to(observations.values), density, evidence)


def _sample(
    model: LangevinModel, observations: Observations, grid: StateGrid, draws: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Cells ``(time, draw, series)``, log probabilities ``(draw, series)`` and log evidences of a few series."""
    filtered = run_filter(model, observations, grid)
    at_once = max(1, _NUMBERS_AT_ONCE // (observations.n_series * len(grid.points)))
    cells, log_q = [], []
    for number in torch.arange(draws).split(at_once):
        weight = filtered.mass[-1].expand(len(number), -1, -1)
        cell, total = _draw(weight)
        backward = [cell]
        for k in reversed(range(observations.n_times - 1)):
            weight = filtered.mass[k] * filtered.advance.towards(cell, k)
            cell, gained = _draw(weight)
            total = total + gained
            backward.append(cell)
        cells.append(torch.stack(backward[::-1]))
        log_q.append(total)
    return torch.cat(cells, 1), torch.cat(log_q), filtered.log_evidence


def _draw(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Index drawn along the last axis, in proportion to weights, and the log of its probability."""
    total = weight.cumsum(-1)
    level = total[..., -1:]
    uniform = torch.rand_like(level) * level
    index = torch.searchsorted(total, uniform).clamp_max(weight.shape[-1] - 1)
    return index.squeeze(-1), (weight.gather(-1, index) / level).log().squeeze(-1)
