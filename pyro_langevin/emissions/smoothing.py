"""Smoothing of single noisy values over neighbouring rows, as wide as the data ask for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d

#: Standard deviations of the latent space by which states scatter around smoothed values, roughly. Without it the guide
#: of a fit to sparse counts needed twice the steps (a double well, twelve channels of 0.1 events a bin).
SMOOTHING_BLUR = 0.5

_WIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # rows
_REACH = 3  # widths to either side
_LEAST_GAIN = 1e-3


def smoothed(values: Tensor, mask: Tensor, mean: Tensor, prior_rows: Tensor) -> Tensor:
    """Local means of each channel, ``(series, time, channel)``.

    A Gaussian kernel over rows, its width chosen so that the *other* rows around each value predict it best; the
    narrowest where no width predicts better than the mean does. The mean over all data enters as so many rows of
    prior observations, which keeps local means off the ends of their range.

    Args:
        values: ``(series, time, channel)``, 0 where missing.
        mask: True where observed.
        mean: Mean of each channel.
        prior_rows: Weight of the mean in each channel, in rows.
    """
    seen = mask.to(values)
    variance = ((values - mean).square() * seen).sum((0, 1)).clamp_min(1e-12)
    best, least = _WIDTHS[0], 1.0 - _LEAST_GAIN
    for width in _WIDTHS:
        others = _kernel(values, width, own=0.0)
        misfit = (values - _local_mean(values, seen, others, mean, prior_rows)).square() * seen
        error = float((misfit.sum((0, 1)) / variance).mean())
        if error < least:
            best, least = width, error
    return _local_mean(values, seen, _kernel(values, best, own=1.0), mean, prior_rows)


def _kernel(values: Tensor, width: float, own: float) -> Tensor:
    reach = min(int(_REACH * width), values.shape[1] - 1)
    rows = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    kernel = (-0.5 * (rows / width).square()).exp()
    kernel[reach] = own
    return kernel


def _local_mean(values: Tensor, seen: Tensor, kernel: Tensor, mean: Tensor, prior_rows: Tensor) -> Tensor:
    total = _weighted_sum(values * seen, kernel) + prior_rows * mean
    return total / (_weighted_sum(seen, kernel) + prior_rows)


def _weighted_sum(values: Tensor, kernel: Tensor) -> Tensor:
    lines = values.movedim(-1, 1).flatten(0, 1).unsqueeze(1)
    summed = conv1d(lines, kernel[None, None], padding=len(kernel) // 2)
    return summed.squeeze(1).unflatten(0, (values.shape[0], values.shape[2])).movedim(1, -1)
