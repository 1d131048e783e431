"""What observations must satisfy before anything is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence

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
        raise ObservationError(
            f"observations: expected at least two rows in every series, got {n_times} (one observation or "
            f"none) in series {name!r}; drop it"
        )
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        row, channel = infinite[0]
        raise ObservationError(
            f"observations: expected finite values, got {values[row, channel]} at row {row} of channel "
            f"{channel} in series {name!r} ({len(infinite)} in all); mark such entries as missing (NaN)"
        )
    if np.isnan(values).all():
        raise ObservationError(
            f"observations: expected observed values in every series, got none in series {name!r}; drop it"
        )
    _check_times(times, name)


def _check_times(times: np.ndarray, name: str) -> None:
    if not np.isfinite(times).all():
        row = int(np.flatnonzero(~np.isfinite(times))[0])
        raise ObservationError(
            f"times: expected finite times, got {times[row]} at row {row} of series {name!r}; remove the row"
        )
    gaps = np.diff(times)
    wrong = np.flatnonzero(gaps <= 0)
    if not len(wrong):
        return
    row = int(wrong[0])
    if gaps[row] == 0:
        fault, fix = "repeated", "remove repeated rows or average them"
    else:
        fault, fix = "decreasing", "sort the rows by time"
    raise ObservationError(
        f"times: expected strictly increasing times, got {fault} times in series {name!r}: "
        f"{times[row]:.10g} at row {row}, then {times[row + 1]:.10g} ({len(wrong)} such steps); {fix}"
    )


def check_channels(values: Tensor, mask: Tensor, channels: Sequence[str]) -> None:
    """Raises if a channel was never observed or never varies over all series."""
    if not torch.isfinite(values).all():
        raise ObservationError(
            f"observations: expected values within the range of {values.dtype}, got larger ones; rescale them"
        )
    for index, channel in enumerate(channels):
        seen = values[..., index][mask[..., index]]
        if not len(seen):
            raise ObservationError(
                f"observations: expected observed values in every channel, got none in channel "
                f"{channel!r}; drop it"
            )
        # A spread of rounding size is none: the channel would be divided by it when it is standardised.
        if seen.max() - seen.min() <= 8 * torch.finfo(seen.dtype).eps * seen.abs().max():
            raise ObservationError(
                f"observations: expected channels that vary, got the constant {seen[0].item():.6g} in "
                f"channel {channel!r}; drop it"
            )
