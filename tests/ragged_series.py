"""Series of different lengths on irregular times, with values missing."""

from __future__ import annotations

import torch

import pyro_langevin as pl

LENGTHS, CHANNELS = (7, 3, 5, 7), 2


def ragged() -> pl.Observations:
    """Four series of different lengths on irregular times, a quarter of the values missing."""
    values = [torch.randn(n, CHANNELS).cumsum(0) for n in LENGTHS]
    masks = [torch.rand(n, CHANNELS) < 0.75 for n in LENGTHS]
    for mask in masks:
        mask[0] = True
    times = [5.0 + (0.1 + torch.rand(n)).cumsum(0) for n in LENGTHS]
    return pl.Observations(values, times, mask=masks)


def single(data: pl.Observations, i: int) -> pl.Observations:
    """Series ``i`` by itself, without padding."""
    n = int(data.lengths[i])
    return pl.Observations(data.values[i, None, :n], data.times[i, None, :n], mask=data.mask[i, None, :n])
