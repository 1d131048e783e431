"""Long records: time series that stay where they are and are read a stretch at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_langevin.observations.checks import ObservationError, named
from pyro_langevin.observations.observation_rows import ObservationRows
from pyro_langevin.observations.observations import SAME_GAP, Observations
from pyro_langevin.observations.parquet_rows import ParquetRows
from pyro_langevin.observations.record_containers import rows_of
from pyro_langevin.observations.record_scan import scan
from pyro_langevin.observations.record_windows import RecordWindows
from pyro_langevin.observations.row_reader import RowReader
from pyro_langevin.observations.row_sources import ROWS_AT_ONCE, EqualGaps, JoinedRows, RowSource

_THINNED_ROWS = 10_000_000  # of a record, from which windows of distant rows are taken
_THINNED_AT_ONCE = 2_000_000  # rows that one such window may span ...
_FEWEST = 3  # ... and the rows that it has in any case


class LongRecord:
    """Observed values that are too many to be loaded; :func:`~pyro_langevin.fit` takes it like ``Observations``.

    It is read once, in pieces, when it is made: everything that is checked of :class:`Observations` is checked then.
    Afterwards only what is asked for is read.

    Args:
        values: Anything with a shape that slices like NumPy (``np.load(file, mmap_mode="r")``, a zarr array, an h5py
            dataset), ``(time,)`` or ``(time, obs_dim)`` (one series) or ``(series, time, obs_dim)``; or a list of
            such ``(time,)`` or ``(time, obs_dim)``, one a series, of any lengths. NaN = missing. It must not change.
        times: One number, the gap between rows; or ``(time,)`` for all series or ``(series, time)`` (padded with NaN
            where a series ends), of the same kind as the values; or a list with one entry a series.
        series_names: One name per series.
        channels: One name per channel.
        time_unit: Unit of ``times``, for tables and figures.

    Attributes:
        n_values: Number of observed values.
        has_empty_rows: Whether nothing was observed in some row.
        typical_gap: Median time between neighbouring rows, in the data's time unit; of at most a million of them.
        fingerprint: Of all values and times.

    Raises:
        ObservationError: As :class:`Observations`, or if an entry of ``values`` has no shape.

    Example:
        >>> import numpy as np
        >>> record = LongRecord(np.random.default_rng(0).normal(size=(4, 5000)).T, 0.1)
        >>> record
        LongRecord(1 series, 5000 rows, 4 channels, typical gap 0.1)
        >>> record.windows(1000).select(torch.tensor([4])).origin.tolist()
        [[0, 4000]]
    """

    def __init__(
        self,
        values: Any,
        times: Any = 1.0,
        *,
        series_names: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        time_unit: str = "",
    ) -> None:
        self._set(rows_of(values, times), series_names, channels, time_unit)

    def _set(
        self, source: RowSource, series_names: Sequence[str] | None, channels: Sequence[str] | None, time_unit: str
    ) -> None:
        names = named(series_names, [str(i) for i in range(len(source.lengths))], "series_names")
        labels = named(channels, [f"y{c}" for c in range(source.obs_dim)], "channels")
        self._reader = RowReader(source, names, labels, time_unit)
        found = scan(source, names, labels)
        self.n_values, self.typical_gap, self.fingerprint = found.n_values, found.typical_gap, found.fingerprint
        self.has_empty_rows = found.has_empty_rows
        self._extreme_gaps = found.shortest_gap, found.longest_gap

    @classmethod
    def from_parquet(
        cls,
        files: str | Path | Sequence[str | Path],
        *,
        values: Sequence[str],
        times: str | float = 1.0,
        series_names: Sequence[str] | None = None,
        time_unit: str = "",
    ) -> LongRecord:
        """A record in Parquet files, one a series, read a row group at a time.

        A random stretch costs the reading of its row group, so that groups of some 10,000 rows are read fastest.

        Args:
            files: One file a series.
            values: Names of the columns with the values, one a channel; null = missing.
            times: Name of the column with the times, or the gap between rows.
            series_names: One name per series; those of the files when omitted.
            time_unit: Unit of the times.

        Raises:
            ObservationError: As the class; or a column is not there.
            ImportError: Without pyarrow.
        """
        paths = [Path(file) for file in ([files] if isinstance(files, (str, Path)) else files)]
        if not paths or isinstance(values, str) or not values:
            raise ObservationError(
                f"from_parquet: expected files and a list of columns, got {len(paths)} files and {values!r}"
            )
        made = object.__new__(cls)
        names = [path.stem for path in paths] if series_names is None else series_names
        made._set(JoinedRows([ParquetRows(path, values, times) for path in paths]), names, values, time_unit)
        return made

    @classmethod
    def of(cls, observations: Observations) -> LongRecord:
        """The same view of observations in memory; none of their values is copied."""
        made = object.__new__(cls)
        made._set(
            ObservationRows(observations), observations.series_names, observations.channels, observations.time_unit
        )
        return made

    @property
    def lengths(self) -> Tensor:
        """Rows of each series, ``(series,)``."""
        return self._reader.lengths

    @property
    def series_names(self) -> list[str]:
        """One name per series."""
        return self._reader.series_names

    @property
    def channels(self) -> list[str]:
        """One name per channel."""
        return self._reader.channels

    @property
    def time_unit(self) -> str:
        """Unit of the times."""
        return self._reader.time_unit

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.lengths)

    @property
    def n_times(self) -> int:
        """Number of rows of the longest series."""
        return int(self.lengths.max())

    @property
    def n_rows(self) -> int:
        """Number of rows of all series."""
        return int(self.lengths.sum())

    @property
    def obs_dim(self) -> int:
        """Number of channels."""
        return self._reader.source.obs_dim

    @property
    def longest_gap(self) -> float:
        """Longest time between neighbouring rows of a series, in the data's time unit."""
        return self._extreme_gaps[1]

    @property
    def has_equal_gaps(self) -> bool:
        """Whether all gaps between neighbouring rows are the typical one, within 1 %."""
        return all(abs(gap / self.typical_gap - 1.0) < SAME_GAP for gap in self._extreme_gaps)

    def with_equal_gaps(self) -> LongRecord:
        """The same rows on times that are free of what rounding or jitter puts on equal gaps.

        Raises:
            ObservationError: If the gaps are not equal within 1 %.
        """
        if not self.has_equal_gaps:
            raise ObservationError(
                f"with_equal_gaps: expected all gaps within {SAME_GAP:.0%} of {self.typical_gap:.4g}, got others"
            )
        made = copy.copy(self)
        made._reader = replace(self._reader, source=EqualGaps(self._reader.source, self.typical_gap))
        return made

    def to(self, device: torch.device | str) -> LongRecord:
        """The same record, whose stretches are put on a device once they are read."""
        made = copy.copy(self)
        made._reader = replace(self._reader, device=torch.device(device))
        return made

    def windows(self, length: int) -> RecordWindows:
        """Windows of ``length`` rows, one after the other, read when they are selected."""
        return RecordWindows(self._reader, length, gaps=self.has_empty_rows)

    def stretches(self, series: Tensor, first: Tensor, length: int) -> Observations:
        """Stretches of ``length`` rows that start at rows ``first`` of ``series``, padded where a series ends.

        Args:
            series: ``(n,)``.
            first: ``(n,)``, at least two rows before the end of the series.
            length: Rows of a stretch.
        """
        return self._reader.read(series, first, length)

    def sample(self, rows: int, *, length: int = 1000, generator: torch.Generator | None = None) -> Observations:
        """Random stretches of ``length`` rows, about ``rows`` in all; the whole record where it has no more.

        Args:
            rows: Rows that are read.
            length: Rows of a stretch.
            generator: Says which; the global state when omitted.
        """
        windows = self.windows(min(length, self.n_times))
        chosen = torch.randperm(windows.n_series, generator=generator)[: max(1, -(-rows // windows.n_times))]
        return windows.select(chosen.sort().values)

    def chunks(self, length: int = 1000) -> Iterator[Observations]:
        """All stretches of ``length`` rows in order, as many at a time as fit into bounded memory."""
        windows = self.windows(min(length, self.n_times))
        for chosen in torch.arange(windows.n_series).split(max(1, ROWS_AT_ONCE // windows.n_times)):
            yield windows.select(chosen)

    def thinned_windows(self, stride: int, length: int, most_rows: int) -> Observations:
        """Windows of ``length`` rows that are ``stride`` apart, at random, of about ``most_rows`` rows in all.

        Random stretches of ``stride * length`` rows are read, up to ten million rows in all, and from each as many of
        its first rows on as are needed.

        Raises:
            ObservationError: If no series is long enough.
        """
        width = max(_FEWEST, min(length, _THINNED_AT_ONCE // stride))
        whole = self.windows(min(stride * width, self.n_times))
        most = max(1, most_rows // width)
        count = max(1, min(whole.n_series, most, _THINNED_ROWS // whole.n_times))
        chosen = torch.randperm(whole.n_series)[:count].sort().values
        each, found = -(-most // count), []
        for part in chosen.split(max(1, ROWS_AT_ONCE // whole.n_times)):
            thinned = whole.select(part).thinned(stride)
            found.append(thinned.select(torch.randperm(thinned.n_series)[: each * len(part)]))
        return Observations.concatenated(found).windows(found[0].n_times)

    def __repr__(self) -> str:
        unit = f" {self.time_unit}" if self.time_unit else ""
        missing = self.n_rows * self.obs_dim - self.n_values
        return (
            f"LongRecord({self.n_series} series, {self.n_rows} rows, {self.obs_dim} channel"
            f"{'s' if self.obs_dim > 1 else ''}, typical gap {self.typical_gap:.4g}{unit}"
            f"{f', {missing} values missing' if missing else ''})"
        )
