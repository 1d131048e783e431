"""Where windows start, in series of any lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.observations.checks import ObservationError


def window_counts(lengths: Tensor, length: int, stride: int) -> Tensor:
    """Number of windows of ``length`` rows, ``stride`` apart, in series of so many rows, ``(series,)``.

    They start at row 0 and every ``stride`` rows until one reaches the end; none has fewer than two rows.

    Raises:
        ObservationError: If ``length`` is below 2 or ``stride`` below 1.
    """
    if length < 2 or stride < 1:
        raise ObservationError(
            f"windows: expected length >= 2 and stride >= 1, got length {length} and stride {stride}"
        )
    reaching = (lengths - length + stride - 1).div(stride, rounding_mode="floor")
    with_two_rows = (lengths - 2).div(stride, rounding_mode="floor")
    return 1 + torch.minimum(reaching, with_two_rows).clamp_min(0)


def place_windows(counts: Tensor, numbers: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Series and first row of windows, by their numbers in order of series and row.

    Args:
        counts: Windows of every series, ``(series,)``.
        numbers: Which windows, ``(n,)``.
        stride: Rows from one to the next.

    Returns:
        Both ``(n,)``.
    """
    ends = counts.cumsum(0)
    series = torch.searchsorted(ends, numbers, right=True)
    return series, (numbers - ends[series] + counts[series]) * stride


def place_parts(times: Tensor, lengths: Tensor, longest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Series, first row and length of the parts between gaps longer than ``longest``; lone rows are no part.

    Args:
        times: ``(series, time)``.
        lengths: Rows of every series, ``(series,)``.
        longest: In the unit of the times.

    Returns:
        Each ``(part,)``.
    """
    begins = torch.arange(times.shape[1], device=times.device) < lengths[:, None]
    begins[:, 1:] &= times.diff(dim=-1) > longest
    series, first = begins.nonzero(as_tuple=True)
    last = series.diff(append=series[-1:] + 1) > 0  # these go to the end of their series
    rows = torch.where(last, lengths[series], first.roll(-1)) - first
    return series[rows > 1], first[rows > 1], rows[rows > 1]


def continued(times: Tensor, lengths: Tensor) -> Tensor:
    """Times ``(series, time)`` whose entries beyond ``lengths`` go on with the last gap before it."""
    last = times.gather(1, lengths[:, None] - 1)
    gap = last - times.gather(1, lengths[:, None] - 2)
    beyond = torch.arange(1, times.shape[1] + 1, device=times.device) - lengths[:, None]
    return torch.where(beyond > 0, last + gap * beyond, times)
