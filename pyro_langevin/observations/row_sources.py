"""Where the rows of a long record come from: anything that slices like NumPy, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.containers import as_numbers

ROWS_AT_ONCE = 250_000  # read together


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of neighbouring series that were read together.

    Attributes:
        series: Number of the first series.
        row: Number of the first row.
        values: ``(series, time, obs_dim)``, float64, NaN where missing.
        times: ``(series, time)``, float64.
    """

    series: int
    row: int
    values: np.ndarray
    times: np.ndarray


class RowSource:
    """Series that are read when they are asked for.

    Attributes:
        lengths: Rows of each series, ``(series,)``, int64.
        obs_dim: Number of channels.
    """

    lengths: np.ndarray
    obs_dim: int

    def values(self, series: int, begin: int, end: int) -> np.ndarray:
        """Rows ``begin`` to ``end`` of a series, ``(time, obs_dim)``, float64, NaN where missing."""
        raise NotImplementedError(f"{type(self).__name__} must define values(series, begin, end)")

    def times(self, series: int, begin: int, end: int) -> np.ndarray:
        """Their times, ``(time,)``, float64."""
        raise NotImplementedError(f"{type(self).__name__} must define times(series, begin, end)")

    def blocks(self) -> Iterator[Block]:
        """All rows once, in order of series and time."""
        for series, length in enumerate(self.lengths.tolist()):
            for begin, end in pieces(length):
                values, times = self.values(series, begin, end), self.times(series, begin, end)
                yield Block(series, begin, values[None], times[None])


def pieces(length: int) -> Iterator[tuple[int, int]]:
    """Begin and end of pieces of so many rows that are read one after the other."""
    for begin in range(0, length, ROWS_AT_ONCE):
        yield begin, min(begin + ROWS_AT_ONCE, length)


class ArrayRows(RowSource):
    """Rows of one array ``(time,)``, ``(time, obs_dim)`` or ``(series, time, obs_dim)``.

    Args:
        array: Anything with a shape that slices like NumPy.
        clock: The times: one gap for all rows, or an array ``(time,)`` or ``(series, time)``, padded with NaN.

    Raises:
        ObservationError: If the shapes do not fit each other.
    """

    def __init__(self, array: Any, clock: Any) -> None:
        shape = tuple(array.shape)
        if not 1 <= len(shape) <= 3 or 0 in shape:
            raise ObservationError(
                "observations: expected (time,), (time, obs_dim) or (series, time, obs_dim), "
                f"got {shape}; reshape the values"
            )
        # a plain view of a memory map loads nothing either, and is sliced ten times faster
        self._array = np.asarray(array) if isinstance(array, np.memmap) else array
        self._clock = clock
        self._stacked = len(shape) == 3
        series, rows = shape[:2] if self._stacked else (1, shape[0])
        self.obs_dim = 1 if len(shape) == 1 else shape[-1]
        self._clock_axes = 0 if np.ndim(clock) == 0 else len(clock.shape)
        if self._clock_axes == 0 and not float(clock) > 0.0:
            raise ObservationError(f"times: expected a positive gap, got {clock}; give it in the data's time unit")
        if self._clock_axes > 0 and tuple(clock.shape) not in ((rows,), (series, rows)):
            raise ObservationError(
                f"times: expected one gap, ({rows},) for all series or ({series}, {rows}), got {tuple(clock.shape)}; "
                "give one time per row of the values"
            )
        self.lengths = np.full(series, rows, dtype=np.int64)
        if self._clock_axes == 2:
            for first in range(0, series, self._together):
                known = ~np.isnan(as_numbers(clock[first : first + self._together], "times"))
                self.lengths[first : first + self._together] = rows - known[:, ::-1].argmax(1)

    @property
    def _together(self) -> int:
        """Whole series that are read at once."""
        return max(1, ROWS_AT_ONCE // int(self.lengths.max(initial=1)))

    def values(self, series: int, begin: int, end: int) -> np.ndarray:
        rows = self._array[series, begin:end] if self._stacked else self._array[begin:end]
        return as_numbers(rows, "observations").reshape(end - begin, self.obs_dim)

    def times(self, series: int, begin: int, end: int) -> np.ndarray:
        if self._clock_axes == 0:
            return float(self._clock) * np.arange(begin, end)
        return as_numbers(self._clock[series, begin:end] if self._clock_axes == 2 else self._clock[begin:end], "times")

    def blocks(self) -> Iterator[Block]:
        if not self._stacked or self._together == 1 or len(set(self.lengths.tolist())) > 1:
            yield from super().blocks()
            return
        rows = int(self.lengths[0])
        for first in range(0, len(self.lengths), self._together):
            values = as_numbers(self._array[first : first + self._together], "observations")
            if self._clock_axes == 2:
                times = as_numbers(self._clock[first : first + self._together], "times")
            else:
                times = np.broadcast_to(self.times(0, 0, rows), values.shape[:2])
            yield Block(first, 0, values, times)


class JoinedRows(RowSource):
    """Series of several sources, one after the other."""

    def __init__(self, parts: Sequence[RowSource]) -> None:
        widths = sorted({part.obs_dim for part in parts})
        if len(widths) != 1:
            raise ObservationError(
                f"observations: expected the same channels in every series, got {widths} of them; mark a channel "
                "that a series lacks as missing (NaN)"
            )
        self._place = [(part, i) for part in parts for i in range(len(part.lengths))]
        self.lengths = np.concatenate([part.lengths for part in parts])
        self.obs_dim = widths[0]

    def values(self, series: int, begin: int, end: int) -> np.ndarray:
        part, own = self._place[series]
        return part.values(own, begin, end)

    def times(self, series: int, begin: int, end: int) -> np.ndarray:
        part, own = self._place[series]
        return part.times(own, begin, end)


@dataclass(frozen=True, eq=False)
class EqualGaps(RowSource):
    """The rows of another source on times that are one gap apart."""

    source: RowSource
    gap: float

    @property
    def lengths(self) -> np.ndarray:
        return self.source.lengths

    @property
    def obs_dim(self) -> int:
        return self.source.obs_dim

    def values(self, series: int, begin: int, end: int) -> np.ndarray:
        return self.source.values(series, begin, end)

    def times(self, series: int, begin: int, end: int) -> np.ndarray:
        return float(self.source.times(series, 0, 1)[0]) + self.gap * np.arange(begin, end)
