"""Recrossings: how often the paths cross a basin's boundary for once that they change between cores."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.lagged_counts import count_pairs
from pyro_langevin.diagnostics.layout import Draws, group, state_labels

__all__ = ["recrossing"]


def recrossing(idata: Draws) -> xr.Dataset:
    """Crossings of each basin's boundary against transitions out of its core, at the observation times.

    A path that crosses the top of a barrier has not decided yet: it crosses many times before it settles. Counted
    crossings therefore overstate rates, the more the finer the paths are sampled; transitions between cores do not,
    and all rates of this package are counted on them. The ratio is one where states are left cleanly or observations
    are far apart. That it is large at a fine sampling is no fault; that it is large where barriers are low means that
    the states do not hold. Means over chains and draws.

    Returns:
        ``crossings``, ``transitions``, ``ratio`` (state from which they lead); the ratio is NaN without a transition.

    Raises:
        ValueError: the draws hold no ``visit``, the core visited last (written by ``posterior`` today).
    """
    labels = state_labels(idata)
    held = group(idata, "state_path", "state", "visit")
    series, first = np.nonzero(
        np.arange(held.sizes["time"] - 1) < np.asarray(group(idata, "constant_data")["length"].values)[:, None] - 1
    )
    pairs = (series, first, first + 1)
    left = {}
    for name in ("state", "visit"):
        paths = held[name].transpose("chain", "draw", "series", "time").values
        drawn, _ = count_pairs(paths.reshape(-1, *paths.shape[2:]), pairs, np.zeros(len(series), int), len(labels))
        mean = drawn.mean(0)
        left[name] = mean.sum(1) - mean.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(left["visit"] > 0.0, left["state"] / left["visit"], np.nan)
    return xr.Dataset(
        {
            "crossings": ("state", left["state"]),
            "transitions": ("state", left["visit"]),
            "ratio": ("state", ratio),
        },
        coords={"state": labels},
    )
