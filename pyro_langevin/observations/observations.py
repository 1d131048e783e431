"""Observations: noisy time series on their own times, with every check of user input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_langevin.observations.checks import ObservationError, check_channels, check_series, named
from pyro_langevin.observations.containers import Series, read_series
from pyro_langevin.observations.window_places import continued, place_parts, place_windows, window_counts

_PARTS = ("values", "times", "mask", "lengths", "origin")
LONG = 5000  #: rows of a series beyond which nothing that is fitted walks along it from end to end
SAME_GAP = 0.01  #: relative difference below which two gaps are one


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Observations:
    """Observed values ``(series, time, obs_dim)`` with their times, missing entries and lengths.

    Series may differ in times, gaps and length: shorter ones are padded, and the padding is masked, on times
    that go on with the series' last gap. Times are kept in float64 and in the user's unit.

    Args:
        values: An array or tensor ``(time,)`` or ``(time, obs_dim)`` (one series) or
            ``(series, time, obs_dim)``; a pandas Series or DataFrame (index = times, columns = channels);
            an xarray DataArray with the dimension ``time`` and perhaps ``series`` and ``channel``; or a list
            of these with one entry per series, of any lengths. NaN = missing.
        times: ``(time,)`` for all series, ``(series, time)`` (padded with NaN where a series ends), or a list
            with one array per series. Default: the container's own, else 0, 1, 2, ...
        mask: True where observed; shaped like ``values``, or without the channel axis. A value is missing if
            the mask or a NaN says so.
        series_names: One name per series.
        channels: One name per channel.
        time_unit: Unit of ``times``, for tables and figures.

    Attributes:
        values: ``(series, time, obs_dim)``, default dtype, 0 where missing.
        times: ``(series, time)``, float64, strictly increasing, also in the padding.
        mask: ``(series, time, obs_dim)``, True = observed.
        lengths: ``(series,)`` numbers of rows before the padding.
        origin: ``(series, 2)``: which series and row of the data it was cut from each one starts at.

    Raises:
        ObservationError: Nothing observed, infinite or non-numeric values, times that do not increase
            strictly, a series with fewer than two rows, a channel that is missing or constant throughout,
            or shapes that do not fit each other. The message is one line and names the place and the fix.

    Example:
        >>> observations = Observations(np.random.default_rng(0).normal(size=(4, 50, 3)))
        >>> observations
        Observations(4 series, 50 times, 3 channels, typical gap 1)
        >>> observations.windows(20).lengths.tolist()[:3]
        [20, 20, 10]
    """

    values: Tensor
    times: Tensor
    mask: Tensor
    lengths: Tensor
    origin: Tensor
    series_names: list[str]
    channels: list[str]
    time_unit: str

    def __init__(
        self,
        values: Any,
        times: Any = None,
        *,
        mask: Any = None,
        series_names: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        time_unit: str = "",
    ) -> None:
        series = read_series(values, times, mask)
        names = named(series_names, [entry.name or str(i) for i, entry in enumerate(series)], "series_names")
        n_channels = series[0].values.shape[1]
        labels = named(channels, list(series[0].channels) or [f"y{c}" for c in range(n_channels)], "channels")
        for entry, name in zip(series, names, strict=True):
            check_series(entry.values, entry.times, name, len(labels))
        padded, padded_times = _padded(series)
        observed = ~np.isnan(padded)
        numbers = torch.as_tensor(np.where(observed, padded, 0.0), dtype=torch.get_default_dtype())
        mask_tensor = torch.as_tensor(observed)
        check_channels(numbers, mask_tensor, labels)
        lengths = torch.tensor([len(entry.times) for entry in series])
        origin = torch.stack([torch.arange(len(series)), torch.zeros(len(series), dtype=torch.long)], dim=-1)
        self._set(
            numbers, torch.as_tensor(padded_times), mask_tensor, lengths, origin, names, labels, time_unit
        )

    def _set(
        self,
        values: Tensor,
        times: Tensor,
        mask: Tensor,
        lengths: Tensor,
        origin: Tensor,
        series_names: list[str],
        channels: list[str],
        time_unit: str,
    ) -> None:
        found = (values, times, mask, lengths, origin, list(series_names), list(channels), time_unit)
        for name, value in zip(self.__dataclass_fields__, found, strict=True):
            object.__setattr__(self, name, value)  # the class is frozen

    @classmethod
    def of_parts(cls, *parts: Any) -> Observations:
        """Observations of parts that are known to be sound: a subset may well lack a channel."""
        made = object.__new__(cls)
        made._set(*parts)
        return made

    @property
    def n_series(self) -> int:
        """Number of series."""
        return self.values.shape[0]

    @property
    def n_times(self) -> int:
        """Number of rows of the longest series."""
        return self.values.shape[1]

    @property
    def obs_dim(self) -> int:
        """Number of channels."""
        return self.values.shape[2]

    @property
    def inside(self) -> Tensor:
        """Rows of each series before its padding, bool ``(series, time)``; rows without a value are among them."""
        return torch.arange(self.n_times, device=self.lengths.device) < self.lengths[:, None]

    @property
    def typical_gap(self) -> float:
        """Median time between neighbouring rows over all series, in the data's time unit."""
        gaps = self.times.diff(dim=-1)
        return float(gaps[self.inside[:, 1:]].median())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Observations:
        """The same observations on another device, ``values`` in another dtype; times stay in float64."""
        return self.of_parts(
            self.values.to(device=device, dtype=dtype),
            self.times.to(device=device),
            self.mask.to(device=device),
            self.lengths.to(device=device),
            self.origin.to(device=device),
            self.series_names,
            self.channels,
            self.time_unit,
        )

    def select(self, indices: Sequence[int] | Tensor | np.ndarray) -> Observations:
        """The series at ``indices`` (or where a bool mask is True), in that order, padding as it is."""
        chosen = torch.as_tensor(indices, device=self.lengths.device)
        chosen = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen.long().reshape(-1)
        names = [self.series_names[i] for i in chosen.tolist()]
        parts = (self.values, self.times, self.mask, self.lengths, self.origin)
        return self.of_parts(*(part[chosen] for part in parts), names, self.channels, self.time_unit)

    def select_channels(self, indices: Sequence[int]) -> Observations:
        """The channels at ``indices``, in that order, on all rows; a series may then have nothing observed."""
        chosen = list(indices)
        names = [self.channels[i] for i in chosen]
        parts = (self.values[..., chosen], self.times, self.mask[..., chosen], self.lengths, self.origin)
        return self.of_parts(*parts, self.series_names, names, self.time_unit)

    def without(self, hidden: Tensor) -> Observations:
        """The same rows with some values missing, to see what the others say of them.

        Args:
            hidden: True where a value is to be left out, broadcastable to ``(series, time, obs_dim)``. Whole channels
                may be, and a series may then have nothing observed.
        """
        mask = self.mask & ~torch.as_tensor(hidden, device=self.mask.device)
        parts = (self.values * mask, self.times, mask, self.lengths, self.origin)
        return self.of_parts(*parts, self.series_names, self.channels, self.time_unit)

    def windows(self, length: int, *, stride: int | None = None) -> Observations:
        """Windows of ``length`` rows cut from every series, for minibatches.

        Windows start every ``stride`` rows (default ``length``: no row is used twice) until one reaches the
        end of the series; the last may be shorter and is then padded. A lone last row is left out, and so is
        a window in which nothing was observed. ``origin`` says which series and row each one starts at.

        Raises:
            ObservationError: If ``length`` is below 2, ``stride`` below 1, or no window is left.
        """
        step = length if stride is None else stride
        counts = window_counts(self.lengths, length, step)
        numbers = torch.arange(int(counts.sum()), device=counts.device)
        source, first = place_windows(counts, numbers, step)
        found = self.stretches(source, first, length)
        kept = found.mask.flatten(1).any(dim=1)
        if not kept.any():
            raise ObservationError(
                "windows: expected some observed values, got windows without any; check the mask"
            )
        return found if bool(kept.all()) else found.select(kept)

    def stretches(self, series: Tensor, first: Tensor, length: int) -> Observations:
        """Stretches of ``length`` rows that start at rows ``first`` of ``series``, padded where a series ends.

        Args:
            series: ``(n,)``.
            first: ``(n,)``, at least two rows before the end of the series.
            length: Rows of a stretch.
        """
        series, first = series.to(self.lengths.device), first.to(self.lengths.device)
        rows = first[:, None] + torch.arange(length, device=first.device)
        lengths = (self.lengths[series] - first).clamp(max=length)
        beyond = torch.arange(length, device=first.device) >= lengths[:, None]
        place = series[:, None], rows.clamp(max=self.n_times - 1)
        mask = self.mask[place] & ~beyond[..., None]
        places = zip(series.tolist(), first.tolist(), lengths.tolist(), strict=True)
        names = [f"{self.series_names[i]}[{a}:{a + n}]" for i, a, n in places]
        origin = torch.stack([self.origin[series, 0], self.origin[series, 1] + first], dim=-1)
        times = continued(self.times[place], lengths)
        parts = (self.values[place] * mask, times, mask, lengths, origin)
        return self.of_parts(*parts, names, self.channels, self.time_unit)

    def cut_at_gaps(self, longest: float) -> Observations:
        """Series cut in two wherever neighbouring rows are further apart than ``longest``; lone rows are left out.

        For records with breaks: across a break that is long against the dwell times nothing is remembered, and a path
        through it costs as many steps as if it had been observed.

        Args:
            longest: In the unit of the times.

        Raises:
            ObservationError: If no two neighbouring rows are left.
        """
        series, first, lengths = place_parts(self.times, self.lengths, longest)
        if len(series) == 0:
            raise ObservationError(
                f"cut_at_gaps: expected rows that are at most {longest:.4g} apart, got a typical gap of "
                f"{self.typical_gap:.4g}; cut at longer gaps"
            )
        found = self.stretches(series, first, int(lengths.max()))
        inside = torch.arange(found.n_times, device=lengths.device) < lengths[:, None]
        mask = found.mask & inside[..., None]
        names = [
            self.series_names[i] if n == int(self.lengths[i]) else f"{self.series_names[i]}[{a}:{a + n}]"
            for i, a, n in zip(series.tolist(), first.tolist(), lengths.tolist(), strict=True)
        ]
        parts = (found.values * mask, continued(found.times, lengths), mask, lengths, found.origin)
        return self.of_parts(*parts, names, self.channels, self.time_unit)

    def thinned(self, stride: int) -> Observations:
        """Every ``stride``-th row, from each of the ``stride`` first rows on: all data, at a longer lag.

        Series that would be left with fewer than two rows are left out.

        Raises:
            ObservationError: If ``stride`` is below 1 or no series is long enough.
        """
        if stride < 1 or self.n_times <= stride:
            raise ObservationError(
                f"thinned: expected a stride from 1 to {self.n_times - 1}, got {stride}; use longer series"
            )
        pieces = []
        width = -(-self.n_times // stride)
        for first in range(stride):
            lengths = (self.lengths - first + stride - 1) // stride
            rows = (first + stride * torch.arange(width, device=lengths.device)).clamp_max(self.n_times - 1)
            beyond = torch.arange(width, device=lengths.device) >= lengths[:, None]
            mask = self.mask[:, rows] & ~beyond[..., None]
            origin = self.origin + torch.tensor([0, first], device=lengths.device)
            names = [f"{name}[{first}::{stride}]" for name in self.series_names]
            times = continued(self.times[:, rows], lengths.clamp_min(2))
            parts = (self.values[:, rows] * mask, times, mask, lengths, origin)
            made = self.of_parts(*parts, names, self.channels, self.time_unit)
            pieces.append(made.select(lengths >= 2))
        return Observations.concatenated(pieces)

    @classmethod
    def concatenated(cls, pieces: Sequence[Observations]) -> Observations:
        """The series of several observations of the same channels, padded alike."""
        joined = [torch.cat([getattr(piece, part) for piece in pieces]) for part in _PARTS]
        names = [name for piece in pieces for name in piece.series_names]
        return cls.of_parts(*joined, names, pieces[0].channels, pieces[0].time_unit)

    def thinned_windows(self, stride: int, length: int, most_rows: int) -> Observations:
        """Windows of ``length`` rows that are ``stride`` apart, at random where they have more than ``most_rows``.

        Raises:
            ObservationError: If no series is longer than the stride.
        """
        thinned = self.thinned(stride)
        windows = thinned.windows(min(length, thinned.n_times))
        most = max(1, most_rows // windows.n_times)
        if windows.n_series <= most:
            return windows
        return windows.select(torch.randperm(windows.n_series)[:most])

    @property
    def n_values(self) -> int:
        """Number of observed values."""
        return int(self.mask.sum())

    @property
    def longest_gap(self) -> float:
        """Longest time between neighbouring rows of a series, in the data's time unit."""
        return float(self.times.diff(dim=-1)[self.inside[:, 1:]].max())

    @property
    def fingerprint(self) -> str:
        """Of values, times and mask."""
        digest = hashlib.sha256()
        for part in (self.values, self.times, self.mask):
            digest.update(np.ascontiguousarray(part.cpu().numpy()).data)
        return digest.hexdigest()[:12]

    @property
    def has_equal_gaps(self) -> bool:
        """Whether all gaps between neighbouring rows are the typical one, within 1 %."""
        gaps = self.times.diff(dim=-1)
        return bool(((gaps / self.typical_gap - 1.0).abs() * self.inside[:, 1:] < SAME_GAP).all())

    def with_equal_gaps(self) -> Observations:
        """The same rows on times that are free of what rounding or jitter puts on equal gaps.

        Raises:
            ObservationError: If the gaps are not equal within 1 %.
        """
        if not self.has_equal_gaps:
            raise ObservationError(
                f"with_equal_gaps: expected all gaps within {SAME_GAP:.0%} of {self.typical_gap:.4g}, got others"
            )
        steps = torch.arange(self.n_times, dtype=self.times.dtype, device=self.times.device)
        times = self.times[:, :1] + self.typical_gap * steps
        parts = (self.values, times, self.mask, self.lengths, self.origin)
        return self.of_parts(*parts, self.series_names, self.channels, self.time_unit)

    def __repr__(self) -> str:
        unit = f" {self.time_unit}" if self.time_unit else ""
        missing = int(self.lengths.sum()) * self.obs_dim - int(self.mask.sum())
        return (
            f"Observations({self.n_series} series, {self.n_times} times, {self.obs_dim} channel"
            f"{'s' if self.obs_dim > 1 else ''}, typical gap {self.typical_gap:.4g}{unit}"
            f"{f', {missing} values missing' if missing else ''})"
        )


def _padded(series: list[Series]) -> tuple[np.ndarray, np.ndarray]:
    n_times = max(len(entry.times) for entry in series)
    values = np.full((len(series), n_times, series[0].values.shape[1]), np.nan)
    times = np.empty((len(series), n_times))
    for i, entry in enumerate(series):
        n = len(entry.times)
        values[i, :n] = entry.values
        times[i, :n] = entry.times
        times[i, n:] = entry.times[-1] + (entry.times[-1] - entry.times[-2]) * np.arange(1, n_times - n + 1)
    return values, times
