"""Exact posterior paths of a model with a state of one or two dimensions: filter forward, sample backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.backward import NUMBERS_AT_ONCE, draw_backward, numbers_of
from pyro_langevin.grid_filter.pieces import smoothed_pieces
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LONG, Observations


@dataclass(frozen=True, eq=False)
class SmoothedDraws:
    """Independent draws of the path given all data, at the observation times.

    Attributes:
        z: ``(draw, series, time, dim)``; beyond the end of a series it means nothing.
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

    Series of more than 5000 rows are drawn in pieces of 1000, side by side, with so many rows around each (at least
    60, at most 1000) that at the cuts not more than 2 in 1000 paths of a probe differ by a cell; where that is not
    reached, draws at the cuts are not quite right.

    Args:
        model: A model with one or two overdamped positions, or one underdamped.
        observations: The data.
        grid: Must cover all states that matter.
        draws: Number of independent paths.

    Raises:
        ValueError: As :func:`grid_log_evidence`.
    """
    if observations.n_times > LONG:
        return _sample_in_pieces(model, observations, grid, draws)
    series = max(1, NUMBERS_AT_ONCE // (observations.n_times * numbers_of(model, grid)))
    parts = []
    for chosen in torch.arange(observations.n_series).split(series):
        part = draw_backward(model, observations.select(chosen), grid, draws)
        parts.append((part.z.to(observations.values), part.log_q.sum(0), part.gained.sum(0)))
    z = torch.cat([part[0] for part in parts], 2).movedim(0, 2)
    log_q, evidence = (torch.cat([part[i] for part in parts], -1) for i in (1, 2))
    return SmoothedDraws(z, log_q, evidence)


def _sample_in_pieces(model: LangevinModel, observations: Observations, grid: StateGrid, draws: int) -> SmoothedDraws:
    """The same for long series."""
    device = observations.values.device
    shape = (draws, observations.n_series, observations.n_times, model.dynamics.dim)
    z = torch.full(shape, torch.nan).to(observations.values)
    log_q = torch.zeros(draws, observations.n_series, dtype=torch.float64, device=device)
    evidence = torch.zeros(observations.n_series, dtype=torch.float64, device=device)
    for piece in smoothed_pieces(model, observations, grid, draws):
        z[:, piece.series, piece.begin : piece.end] = piece.z.movedim(0, 1).to(z)
        log_q[:, piece.series] += piece.log_q
        evidence[piece.series] += piece.gained
    return SmoothedDraws(z, log_q, evidence)
