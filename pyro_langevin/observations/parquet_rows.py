"""Rows of a Parquet file, read a row group at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.containers import as_numbers
from pyro_langevin.observations.row_sources import RowSource

try:
    from pyarrow import parquet
except ImportError:
    parquet = None

_GROUPS_KEPT = 4  # in memory: windows that are neighbours are mostly in one


class ParquetRows(RowSource):
    """One series in named columns of a Parquet file.

    Args:
        path: The file.
        columns: Columns with the values, one a channel; null = missing.
        clock: Column with the times, or the gap between rows.

    Raises:
        ObservationError: If a column is not there, the file is empty, or the gap is not positive.
        ImportError: Without pyarrow.
    """

    def __init__(self, path: Path, columns: Sequence[str], clock: str | float) -> None:
        if parquet is None:
            raise ImportError("from_parquet: needs pyarrow; install it with pip install 'pyro-langevin[datasets]'")
        self._file = parquet.ParquetFile(path)
        self._columns, self._clock = list(columns), clock
        self._read = [*columns, clock] if isinstance(clock, str) else list(columns)
        known = self._file.schema_arrow.names
        absent = [name for name in self._read if name not in known]
        if absent:
            raise ObservationError(f"from_parquet: expected the columns {absent} in {path}, got {known}; name others")
        if not isinstance(clock, str) and not clock > 0.0:
            raise ObservationError(f"times: expected a positive gap, got {clock}; give it in the data's time unit")
        self.obs_dim = len(self._columns)
        groups = self._file.metadata
        self._ends = np.cumsum([groups.row_group(i).num_rows for i in range(groups.num_row_groups)], dtype=np.int64)
        self.lengths = self._ends[-1:] if len(self._ends) else np.zeros(1, dtype=np.int64)
        self._group = functools.lru_cache(maxsize=_GROUPS_KEPT)(self._group_of)

    def _group_of(self, number: int) -> np.ndarray:
        """All columns of a row group, ``(time, columns)``."""
        table = self._file.read_row_group(number, columns=self._read, use_threads=False)
        return np.stack([as_numbers(table[name].to_numpy(), f"column {name!r}") for name in self._read], -1)

    def _rows(self, begin: int, end: int) -> np.ndarray:
        first, last = np.searchsorted(self._ends, [begin, end - 1], side="right").tolist()
        found = []
        for number in range(first, last + 1):
            start = int(self._ends[number - 1]) if number > 0 else 0
            found.append(self._group(number)[max(begin - start, 0) : end - start])
        return np.concatenate(found) if len(found) > 1 else found[0]

    def values(self, series: int, begin: int, end: int) -> np.ndarray:
        return self._rows(begin, end)[:, : self.obs_dim]

    def times(self, series: int, begin: int, end: int) -> np.ndarray:
        if isinstance(self._clock, str):
            return self._rows(begin, end)[:, -1]
        return self._clock * np.arange(begin, end)
