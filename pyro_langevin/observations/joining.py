"""Channels that were measured at different times, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.observations import Observations

_SAME_TIME = 1e-6  # of the shortest gap: times that differ by rounding are one


def join_channels(groups: Sequence[Observations]) -> Observations:
    """Groups of channels of the same series on the union of their times; missing where a group was not measured.

    Times closer than a millionth of the shortest gap are taken for one. Channels of the same name in several groups are
    told apart by the number of their group, as in ``0.y0``.

    Args:
        groups: Observations of the same series (by name), each with its own channels and times.

    Raises:
        ObservationError: No groups, other series in one of them, or times in different units.

    Example:
        >>> fast = Observations(np.sin(np.arange(6.0)), np.arange(6.0), channels=["current"])
        >>> slow = Observations([3.0, 1.0], [0.5, 4.0], channels=["events"])
        >>> joined = join_channels([fast, slow])
        >>> joined
        Observations(1 series, 7 times, 2 channels, typical gap 1, 6 values missing)
        >>> joined.channels
        ['current', 'events']
    """
    if not groups:
        raise ObservationError("join_channels: expected at least one group of channels, got none; pass [a, b]")
    names = groups[0].series_names
    units = {group.time_unit for group in groups} - {""}
    for i, group in enumerate(groups):
        if sorted(group.series_names) != sorted(names):
            raise ObservationError(
                f"join_channels: expected the series of group 0 ({_listed(names)}) in every group, got "
                f"{_listed(group.series_names)} in group {i}; name the series alike (series_names=...) or select them"
            )
    if len(set(names)) < len(names):
        raise ObservationError(
            "join_channels: expected series of different names, got repeated ones; rename them (series_names=...)"
        )
    if len(units) > 1:
        raise ObservationError(
            f"join_channels: expected times in one unit, got {' and '.join(sorted(units))}; convert them first"
        )
    orders = [[group.series_names.index(name) for name in names] for group in groups]
    joined = [
        _joined([_series(group, order[k]) for group, order in zip(groups, orders, strict=True)])
        for k in range(len(names))
    ]
    return Observations(
        [values for _, values in joined],
        [times for times, _ in joined],
        series_names=names,
        channels=_channels(groups),
        time_unit=next(iter(units), ""),
    )


def _series(group: Observations, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of one series, NaN where missing."""
    n = int(group.lengths[i])
    values = np.where(group.mask[i, :n].cpu(), group.values[i, :n].cpu(), np.nan)
    return group.times[i, :n].cpu().numpy(), values


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Union of the times, and the values side by side."""
    tolerance = _SAME_TIME * min(np.diff(times).min() for times, _ in parts)
    everything = np.sort(np.concatenate([times for times, _ in parts]))
    union = everything[np.diff(everything, prepend=-np.inf) > tolerance]
    values = np.full((len(union), sum(own.shape[1] for _, own in parts)), np.nan)
    begin = 0
    for times, own in parts:
        rows = np.searchsorted(union, times + tolerance, side="right") - 1
        values[rows, begin : begin + own.shape[1]] = own
        begin += own.shape[1]
    return union, values


def _channels(groups: Sequence[Observations]) -> list[str]:
    count = Counter(name for group in groups for name in group.channels)
    return [
        name if count[name] == 1 else f"{i}.{name}" for i, group in enumerate(groups) for name in group.channels
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
