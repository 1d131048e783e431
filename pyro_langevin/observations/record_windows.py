"""Windows of a long record, read when they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.observations import Observations
from pyro_langevin.observations.row_reader import RowReader
from pyro_langevin.observations.window_places import place_windows, window_counts


class RecordWindows:
    """Windows of equal length, one after the other, of all series of a record.

    They are those of :meth:`Observations.windows`, in the same order: the last of a series may be shorter, a lone last
    row is left out, and so are windows in which nothing was observed.

    Args:
        reader: What reads the record.
        length: Rows of a window.
        gaps: Whether there are rows in which nothing was observed: then everything is read once more.

    Raises:
        ObservationError: If ``length`` is below 2.

    Attributes:
        n_series: Number of windows, each of which is read as a series.
        n_times: Rows of a window.
    """

    def __init__(self, reader: RowReader, length: int, *, gaps: bool) -> None:
        self._reader = reader
        self.n_times = length
        self._counts = window_counts(reader.lengths, length, length)
        self._kept = self._observed() if gaps else None
        self.n_series = int(self._counts.sum()) if self._kept is None else len(self._kept)

    def _observed(self) -> Tensor:
        """Numbers of the windows in which something was observed: one more reading."""
        seen = np.zeros(int(self._counts.sum()), dtype=bool)
        first = (self._counts.cumsum(0) - self._counts).numpy()
        counts = self._counts.numpy()
        for block in self._reader.source.blocks():
            series, rows = np.nonzero(~np.isnan(block.values).all(-1))
            series, window = series + block.series, (rows + block.row) // self.n_times
            inside = window < counts[series]  # a lone last row is in none
            seen[(first[series] + window)[inside]] = True
        return torch.from_numpy(np.flatnonzero(seen))

    def select(self, indices: Tensor) -> Observations:
        """The windows at ``indices``, read, in that order.

        Raises:
            ObservationError: If there is no such window.
        """
        numbers = torch.as_tensor(indices, device="cpu").long().reshape(-1)
        if len(numbers) == 0 or int(numbers.min()) < 0 or int(numbers.max()) >= self.n_series:
            raise ObservationError(
                f"windows: expected indices from 0 to {self.n_series - 1}, got "
                f"{numbers.tolist()[:5]}; there are {self.n_series} windows"
            )
        numbers = numbers if self._kept is None else self._kept[numbers]
        series, first = place_windows(self._counts, numbers, self.n_times)
        return self._reader.read(series, first, self.n_times)
