"""Observed values in standard units, as guides read them where some are missing."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.observations import Observations


def standardised(observations: Observations, shift: Tensor, scale: Tensor) -> Tensor:
    """Values in standard units, 0 where missing, ``(series, time, obs_dim)``."""
    return (observations.values - shift) / scale * observations.mask


def interpolated(observations: Observations, shift: Tensor, scale: Tensor) -> Tensor:
    """Values in standard units, ``(series, time, obs_dim)``; what is missing lies on a line between what was seen.

    Before the first and after the last value of a channel it is that value, and 0 in a channel without any.
    """
    values, mask = standardised(observations, shift, scale), observations.mask
    if bool(mask.all()):
        return values
    n_times = observations.n_times
    row = torch.arange(n_times, device=mask.device).reshape(1, -1, 1)
    before = torch.where(mask, row, -1).cummax(1).values
    after = torch.where(mask, row, n_times).flip(1).cummin(1).values.flip(1)
    # beyond the ends only one side has a value; where there is none at all, any row does: values are 0 there
    first = torch.where(before < 0, after, before).clamp_max(n_times - 1)
    last = torch.where(after == n_times, first, after)
    times = observations.times.unsqueeze(-1).expand(mask.shape)
    since, whole = times - times.gather(1, first), times.gather(1, last) - times.gather(1, first)
    share = torch.where(whole > 0, since / whole.clamp_min(1e-300), 0.0).to(values)
    return torch.lerp(values.gather(1, first), values.gather(1, last), share)
