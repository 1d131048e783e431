"""Resampling of particles."""

from __future__ import annotations

import torch
from torch import Tensor


def systematic_parents(share: Tensor) -> Tensor:
    """Parents ``(particle, *batch)`` by shares of that shape: one draw places an even comb on the cumulated shares."""
    cumulated = share.movedim(0, -1).cumsum(-1).contiguous()
    n = share.shape[0]
    comb = torch.arange(n, dtype=share.dtype, device=share.device)
    comb = (comb + torch.rand_like(cumulated[..., :1])) / n * cumulated[..., -1:]
    return torch.searchsorted(cumulated, comb.contiguous()).clamp_max(n - 1).movedim(-1, 0)
