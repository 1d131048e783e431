"""Posterior paths of long series, drawn in pieces side by side and handed over one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter.backward import draw_backward, numbers_of
from pyro_langevin.grid_filter.overlapping import Cuts, RowNumbers
from pyro_langevin.grid_filter.state_grid import StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations

_NUMBERS_AT_ONCE = 8_000_000  # probabilities held in memory together: the draws themselves are large here
_PIECE = 1000  # rows that are drawn together
_FIRST_OVERLAP = 60  # rows on either side, doubled until paths agree at the cuts
_PROBE, _PROBE_DRAWS = 40, 10  # pieces and draws in which they must
_APART = 0.002  # share of paths that may be in different cells on the two sides of a cut


@dataclass(frozen=True, eq=False)
class Piece:
    """Draws of some rows of one series.

    Attributes:
        series: Which.
        begin: First row.
        end: Row after the last.
        z: ``(row, draw, dim)``.
        log_q: Log density of the drawn rows given those after them, ``(draw,)``.
        gained: Log evidence of the rows given those before them, a scalar.
    """

    series: int
    begin: int
    end: int
    z: Tensor
    log_q: Tensor
    gained: Tensor


@torch.no_grad()
def smoothed_pieces(
    model: LangevinModel, observations: Observations | LongRecord, grid: StateGrid, draws: int
) -> Iterator[Piece]:
    """Draws from the exact posterior, piece after piece in the order of series and rows; neighbours fit together.

    Each piece of 1000 rows is filtered and drawn with so many rows around it (at least 60, at most 1000) that at the
    cuts not more than 2 in 1000 paths of a probe differ by a cell.

    Args:
        model: A model with one or two overdamped positions, or one underdamped.
        observations: The data; of a long record only the rows in hand are read.
        grid: Must cover all states that matter.
        draws: Number of independent paths.
    """
    seed = int(torch.randint(2**31, ()))
    cuts = _agreeing_cuts(model, observations, grid, seed)
    at_once = max(1, _NUMBERS_AT_ONCE // (cuts.width * numbers_of(model, grid)))
    for some in cuts.split(at_once):
        windows = some.read(observations)
        numbers = RowNumbers(seed, draws, _PIECE, windows.values.device)
        drawn = draw_backward(model, windows, grid, draws, numbers.of(some))
        for window, rows in enumerate(some.kept()):
            place = int(some.series[window]), int(some.begin[window]), int(some.end[window])
            log_q, gained = drawn.log_q[rows, :, window].sum(0), drawn.gained[rows, window].sum()
            yield Piece(*place, drawn.z[rows, :, window], log_q, gained)


def _agreeing_cuts(model: LangevinModel, observations: Observations | LongRecord, grid: StateGrid, seed: int) -> Cuts:
    """Pieces with an overlap in which paths of neighbouring windows become one."""
    longest = int(observations.lengths.argmax())
    overlap = _FIRST_OVERLAP
    while True:
        every = Cuts.of(observations.lengths, _PIECE, overlap)
        cuts = every.of_series(longest)[:_PROBE]
        windows = cuts.read(observations)
        numbers = RowNumbers(seed, _PROBE_DRAWS, _PIECE, windows.values.device)
        drawn = draw_backward(model, windows, grid, _PROBE_DRAWS, numbers.of(cuts)).index
        before, after = cuts.begin[1:] - cuts.start[:-1], cuts.begin[1:] - cuts.start[1:]
        window = torch.arange(len(before))
        apart = drawn[before, :, window] != drawn[after, :, window + 1]
        if len(cuts) == 1 or float(apart.double().mean()) <= _APART or overlap >= _PIECE:
            return every
        overlap = min(2 * overlap, _PIECE)
