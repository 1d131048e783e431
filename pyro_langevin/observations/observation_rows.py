"""Rows of observations in memory, read like those of a long record."""

from __future__ import annotations

import numpy as np

from pyro_langevin.observations.observations import Observations
from pyro_langevin.observations.row_sources import RowSource


class ObservationRows(RowSource):
    """The series of some observations; none of their values is copied before it is read."""

    def __init__(self, observations: Observations) -> None:
        self._values = observations.values.cpu().numpy()
        self._mask = observations.mask.cpu().numpy()
        self._times = observations.times.cpu().numpy()
        self.lengths = observations.lengths.cpu().numpy()
        self.obs_dim = observations.obs_dim

    def values(self, series: int, begin: int, end: int) -> np.ndarray:
        seen = self._mask[series, begin:end]
        return np.where(seen, self._values[series, begin:end], np.nan).astype(np.float64, copy=False)

    def times(self, series: int, begin: int, end: int) -> np.ndarray:
        return self._times[series, begin:end]
