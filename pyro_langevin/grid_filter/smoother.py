"""Exact posterior paths of a model with a state of one or two dimensions: filter forward, sample backward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.evidence import propagator_of, run_filter
from pyro_langevin.grid_filter.overlapping import Cuts, RowNumbers
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LONG, Observations

_NUMBERS_AT_ONCE = 20_000_000  # probabilities held in memory together
_IN_PIECES_AT_ONCE = 8_000_000  # the same for long series, where the draws themselves are large
_PIECE = 1000  # rows of a long series that are drawn together
_FIRST_OVERLAP = 60  # rows on either side, doubled until paths agree at the cuts
_PROBE, _PROBE_DRAWS = 40, 10  # pieces and draws in which they must
_APART = 0.002  # share of paths that may be in different cells on the two sides of a cut


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
    series = max(1, _NUMBERS_AT_ONCE // (observations.n_times * _size(model, grid)))
    parts = []
    for chosen in torch.arange(observations.n_series).split(series):
        part = _sample(model, observations.select(chosen), grid, draws)
        parts.append((part.z.to(observations.values), part.log_q.sum(0), part.gained.sum(0)))
    z = torch.cat([part[0] for part in parts], 2).movedim(0, 2)
    log_q, evidence = (torch.cat([part[i] for part in parts], -1) for i in (1, 2))
    return SmoothedDraws(z, log_q, evidence)


def _size(model: LangevinModel, grid: StateGrid) -> int:
    """Numbers that a law is made of."""
    return propagator_of(model, grid).start(torch.ones(len(grid.points))).numel()


def _sample_in_pieces(model: LangevinModel, observations: Observations, grid: StateGrid, draws: int) -> SmoothedDraws:
    """The same for long series."""
    device = observations.values.device
    numbers = RowNumbers(int(torch.randint(2**31, ())), draws, _PIECE, device)
    cuts = _agreeing_cuts(model, observations, grid, numbers.seed)
    at_once = max(1, _IN_PIECES_AT_ONCE // (cuts.width * _size(model, grid)))
    shape = (draws, observations.n_series, observations.n_times, model.dynamics.dim)
    z = torch.full(shape, torch.nan).to(observations.values)
    log_q = torch.zeros(draws, observations.n_series, dtype=torch.float64, device=device)
    evidence = torch.zeros(observations.n_series, dtype=torch.float64, device=device)
    for first in range(0, len(cuts), at_once):
        some = cuts[first : first + at_once]
        part = _sample(model, some.read(observations), grid, draws, numbers.of(some))
        places = zip(*(where.tolist() for where in (some.series, some.start, some.begin, some.end)), strict=True)
        for window, (series, start, begin, end) in enumerate(places):
            kept = slice(begin - start, end - start)
            z[:, series, begin:end] = part.z[kept, :, window].movedim(0, 1).to(z)
            log_q[:, series] += part.log_q[kept, :, window].sum(0)
            evidence[series] += part.gained[kept, window].sum()
    return SmoothedDraws(z, log_q, evidence)


def _agreeing_cuts(model: LangevinModel, observations: Observations, grid: StateGrid, seed: int) -> Cuts:
    """Pieces with an overlap in which paths of neighbouring windows become one."""
    longest = int(observations.lengths.argmax())
    probed = observations.select([longest])
    numbers = RowNumbers(seed, _PROBE_DRAWS, _PIECE, observations.values.device)
    overlap = _FIRST_OVERLAP
    while True:
        cuts = Cuts.of(probed.lengths, _PIECE, overlap)[:_PROBE]
        drawn = _sample(model, cuts.read(probed), grid, _PROBE_DRAWS, numbers.of(cuts)).index
        before, after = cuts.begin[1:] - cuts.start[:-1], cuts.begin[1:] - cuts.start[1:]
        window = torch.arange(len(before))
        apart = drawn[before, :, window] != drawn[after, :, window + 1]
        if float(apart.double().mean()) <= _APART or overlap >= _PIECE:
            return Cuts.of(observations.lengths, _PIECE, overlap)
        overlap = min(2 * overlap, _PIECE)


@dataclass(frozen=True, eq=False)
class _Drawn:
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


def _sample(
    model: LangevinModel, observations: Observations, grid: StateGrid, draws: int, uniform: Tensor | None = None
) -> _Drawn:
    """Draw a few series, with uniform random numbers ``(time, draw, series)`` where they are given."""
    filtered = run_filter(model, observations, grid)
    propagator = filtered.advance.propagator
    at_once = max(1, _NUMBERS_AT_ONCE // filtered.law[0].numel())
    last = observations.n_times - 1
    index, z, log_q = [], [], []
    for number in torch.arange(draws).split(at_once):
        weight = filtered.law[-1].clamp_min(0.0).expand(len(number), -1, -1)
        found = [_draw(weight, None if uniform is None else uniform[last, number])]
        for k in reversed(range(last)):
            weight = (filtered.law[k] * filtered.advance.towards(found[-1][0], k)).clamp_min(0.0)
            found.append(_draw(weight, None if uniform is None else uniform[k, number]))
        index.append(torch.stack([one[0] for one in reversed(found)]))
        z.append(propagator.place(index[-1]))
        log_q.append(torch.stack([one[1] for one in reversed(found)]))
    density = torch.cat(log_q, 1) - math.log(propagator.volume)
    return _Drawn(torch.cat(index, 1), torch.cat(z, 1), density, filtered.gained)


def _draw(weight: Tensor, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """Index drawn along the last axis, in proportion to weights, and the log of its probability."""
    total = weight.cumsum(-1)
    level = total[..., -1:]
    uniform = torch.rand_like(level) if uniform is None else uniform.unsqueeze(-1)
    index = torch.searchsorted(total, uniform * level).clamp_max(weight.shape[-1] - 1)
    return index.squeeze(-1), (weight.gather(-1, index) / level).log().squeeze(-1)
