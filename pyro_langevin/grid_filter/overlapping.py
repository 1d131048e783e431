"""Long series cut into windows that overlap, so that posterior paths of all of them can be drawn side by side.

What a window lacks before its first and after its last row is forgotten within the overlaps. But paths that are drawn
in two windows must also meet at the cut between them: drawn independently they would seem to hop there wherever the
data leave the state in doubt. So every row has its own random numbers, the same in all windows. Two backward draws with
the same numbers coalesce, and from there on they are one path. Whether they did by the cut is seen there, which is how
the overlap is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.observations import LongRecord, Observations


@dataclass(frozen=True, eq=False)
class Cuts:
    """Windows of equal length around pieces of the series that are kept, piece after piece.

    Attributes:
        series: Series of every window, ``(window,)``.
        start: Its first row.
        begin: First row of the piece that is kept.
        end: Row after its last.
        width: Rows of a window.
    """

    series: Tensor
    start: Tensor
    begin: Tensor
    end: Tensor
    width: int

    @classmethod
    def of(cls, lengths: Tensor, piece: int, overlap: int) -> Cuts:
        """Pieces of ``piece`` rows with ``overlap`` rows on either side, where there are so many."""
        lengths = lengths.cpu()
        counts = (lengths + piece - 1).div(piece, rounding_mode="floor")
        series = torch.repeat_interleave(torch.arange(len(lengths)), counts)
        number = torch.arange(len(series)) - (counts.cumsum(0) - counts)[series]
        begin = number * piece
        width = min(piece + 2 * overlap, int(lengths.max()))
        latest = (lengths[series] - width).clamp_min(0)
        start = (begin - overlap).clamp_min(0).minimum(latest)
        return cls(series, start, begin, (begin + piece).minimum(lengths[series]), width)

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, chosen: slice) -> Cuts:
        return Cuts(self.series[chosen], self.start[chosen], self.begin[chosen], self.end[chosen], self.width)

    def split(self, at_once: int) -> Iterator[Cuts]:
        """So many windows at a time."""
        for first in range(0, len(self), at_once):
            yield self[first : first + at_once]

    def kept(self) -> list[slice]:
        """Rows of every window that are kept."""
        return [
            slice(begin - start, end - start)
            for start, begin, end in zip(self.start.tolist(), self.begin.tolist(), self.end.tolist(), strict=True)
        ]

    def of_series(self, series: int) -> Cuts:
        """The windows of one series."""
        own = self.series == series
        return Cuts(self.series[own], self.start[own], self.begin[own], self.end[own], self.width)

    def read(self, observations: Observations | LongRecord) -> Observations:
        """The windows as series."""
        return observations.stretches(self.series, self.start, self.width)


@dataclass(frozen=True)
class RowNumbers:
    """Uniform random numbers that belong to rows: the same whenever they are asked for.

    Attributes:
        seed: Says which.
        draws: Numbers of every row.
        block: Rows whose numbers are made together.
        device: Where they are made.
    """

    seed: int
    draws: int
    block: int
    device: torch.device

    def of(self, cuts: Cuts) -> Tensor:
        """Numbers of all rows of windows, ``(row, draw, window)``, float64."""
        made: dict[tuple[int, int], Tensor] = {}
        windows = []
        for series, start in zip(cuts.series.tolist(), cuts.start.tolist(), strict=True):
            first, last = start // self.block, (start + cuts.width - 1) // self.block
            for number in range(first, last + 1):
                if (series, number) not in made:
                    made[series, number] = self._block(series, number)
            rows = torch.cat([made[series, number] for number in range(first, last + 1)])
            windows.append(rows[start - first * self.block :][: cuts.width])
            made = {key: numbers for key, numbers in made.items() if key >= (series, first)}
        return torch.stack(windows, -1)

    def _block(self, series: int, number: int) -> Tensor:
        generator = torch.Generator(self.device)
        generator.manual_seed(hash((self.seed, series, number)) % 2**62)
        shape = self.block, self.draws
        return torch.rand(shape, dtype=torch.float64, generator=generator, device=self.device)
