"""What observations must satisfy before anything is fitted to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


class ObservationError(ValueError):
    """Time series that cannot be used as they are: what was expected, what came and the fix, in one line."""


def named(given: Sequence[str] | None, default: list[str], what: str) -> list[str]:
    """The given names, or the default ones; raises if their number is wrong."""
    if given is None:
        return default
    if isinstance(given, str) or len(given) != len(default):
        raise ObservationError(f"{what}: expected {len(default)} names, got {given!r}; give one name each")
    return [str(name) for name in given]


def check_series(values: np.ndarray, times: np.ndarray, name: str, obs_dim: int) -> None:
    """Raises if one series (NaN = missing) is too short, unobserved, infinite or out of order in time."""
    n_times, n_channels = values.shape
    if n_channels != obs_dim:
        raise ObservationError(
            f"observations: expected {obs_dim} channels in every series, got {n_channels} in series "
            f"{name!r}; mark a channel that a series lacks as missing (NaN)"
        )
    if n_times < 2:
        raise too_short(n_times, name)
    check_finite([values], name)
    if np.isnan(values).all():
        raise unobserved(name)
    check_times([times], name)


def too_short(n_times: int, name: str) -> ObservationError:
    """The error of a series with fewer than two rows."""
    return ObservationError(
        f"observations: expected at least two rows in every series, got {n_times} (one observation or "
        f"none) in series {name!r}; drop it"
    )


def unobserved(name: str) -> ObservationError:
    """The error of a series without any observed value."""
    return ObservationError(
        f"observations: expected observed values in every series, got none in series {name!r}; drop it"
    )


def check_finite(pieces: Iterable[np.ndarray], name: str) -> None:
    """Raises if a value of a series, given in pieces ``(time, obs_dim)``, is infinite."""
    rows, found, first = 0, 0, None
    for values in pieces:
        infinite = np.argwhere(np.isinf(values))
        if len(infinite) and first is None:
            row, channel = infinite[0]
            first = values[row, channel], rows + row, channel
        found += len(infinite)
        rows += len(values)
    if first is not None:
        raise ObservationError(
            f"observations: expected finite values, got {first[0]} at row {first[1]} of channel "
            f"{first[2]} in series {name!r} ({found} in all); mark such entries as missing (NaN)"
        )


def check_times(pieces: Iterable[np.ndarray], name: str) -> None:
    """Raises if the times of a series, given in pieces ``(time,)``, are not finite or do not increase strictly."""
    rows, wrong, first, last = 0, 0, None, np.zeros(0)
    for times in pieces:
        if not np.isfinite(times).all():
            row = int(np.flatnonzero(~np.isfinite(times))[0])
            raise ObservationError(
                f"times: expected finite times, got {times[row]} at row {rows + row} of series {name!r}; remove the row"
            )
        joined = np.concatenate([last, times])
        back = np.flatnonzero(np.diff(joined) <= 0)
        if len(back) and first is None:
            first = rows - len(last) + int(back[0]), joined[back[0]], joined[back[0] + 1]
        wrong += len(back)
        rows, last = rows + len(times), times[-1:]
    if first is None:
        return
    if first[1] == first[2]:
        fault, fix = "repeated", "remove repeated rows or average them"
    else:
        fault, fix = "decreasing", "sort the rows by time"
    raise ObservationError(
        f"times: expected strictly increasing times, got {fault} times in series {name!r}: "
        f"{first[1]:.10g} at row {first[0]}, then {first[2]:.10g} ({wrong} such steps); {fix}"
    )


def check_channels(values: Tensor, mask: Tensor, channels: Sequence[str]) -> None:
    """Raises if a channel was never observed or never varies over all series."""
    seen = [values[..., index][mask[..., index]] for index in range(len(channels))]
    check_ranges(
        [float(found.min()) if len(found) else math.nan for found in seen],
        [float(found.max()) if len(found) else math.nan for found in seen],
        channels,
        values.dtype,
    )


def check_ranges(lowest: Sequence[float], highest: Sequence[float], channels: Sequence[str], kept: torch.dtype) -> None:
    """Raises if a channel was never observed, never varies, or leaves the range of the numbers it is kept in.

    Args:
        lowest: Least observed value of every channel; NaN where there is none.
        highest: Greatest.
        channels: Their names.
        kept: What the values are kept in.
    """
    limits = torch.finfo(kept)
    for low, high, channel in zip(lowest, highest, channels, strict=True):
        largest = max(abs(low), abs(high))
        if largest > limits.max:
            raise ObservationError(
                f"observations: expected values within the range of {kept}, got larger ones; rescale them"
            )
        if math.isnan(largest):
            raise ObservationError(
                f"observations: expected observed values in every channel, got none in channel {channel!r}; drop it"
            )
        # A spread of rounding size is none: the channel would be divided by it when it is standardised.
        if high - low <= 8 * limits.eps * largest:
            raise ObservationError(
                f"observations: expected channels that vary, got the constant {low:.6g} in "
                f"channel {channel!r}; drop it"
            )
