"""Windows of the rows of a source, read into observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyro_langevin.observations.observations import Observations
from pyro_langevin.observations.row_sources import RowSource
from pyro_langevin.observations.window_places import continued


@dataclass(frozen=True, eq=False)
class RowReader:
    """What makes observations of rows that are read.

    Attributes:
        source: The rows.
        series_names: One name per series.
        channels: One name per channel.
        time_unit: Unit of the times.
        device: Where the observations are put.
    """

    source: RowSource
    series_names: list[str]
    channels: list[str]
    time_unit: str
    device: torch.device = torch.device("cpu")

    @property
    def lengths(self) -> Tensor:
        """Rows of each series, ``(series,)``."""
        return torch.from_numpy(self.source.lengths)

    def read(self, series: Tensor, first: Tensor, length: int) -> Observations:
        """Windows of ``length`` rows that start at rows ``first`` of ``series``, padded where a series ends.

        Args:
            series: ``(n,)``.
            first: ``(n,)``.
            length: Rows of a window.
        """
        lengths = (self.lengths[series] - first).clamp_max(length)
        places = list(zip(series.tolist(), first.tolist(), lengths.tolist(), strict=True))
        values = np.full((len(places), length, self.source.obs_dim), np.nan)
        times = np.zeros((len(places), length))
        for window in np.lexsort((first.numpy(), series.numpy())).tolist():  # neighbours one after the other
            number, begin, rows = places[window]
            values[window, :rows] = self.source.values(number, begin, begin + rows)
            times[window, :rows] = self.source.times(number, begin, begin + rows)
        observed = ~np.isnan(values)
        found = Observations.of_parts(
            torch.as_tensor(np.where(observed, values, 0.0), dtype=torch.get_default_dtype()),
            continued(torch.from_numpy(times), lengths),
            torch.from_numpy(observed),
            lengths,
            torch.stack([series, first], -1),
            [f"{self.series_names[i]}[{a}:{a + n}]" for i, a, n in places],
            self.channels,
            self.time_unit,
        )
        return found if self.device.type == "cpu" else found.to(device=self.device)
