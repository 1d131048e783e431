"""Where the seeds' one-dimensional landscapes are drawn: over the data, not over coordinates of their own."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.guide_quality import best_chain
from pyro_langevin.diagnostics.layout import Draws, group
from pyro_langevin.plots.data import clearest_channel

__all__ = ["line_positions"]


def line_positions(idata: Draws, landscape: xr.Dataset) -> tuple[np.ndarray, np.ndarray, str]:
    """Where grid and minima of each chain are drawn, (chain, point) and (chain, state), and the axis' name.

    A linear emission is given by the states' minima and locations; chains that are not drawn are NaN.
    """
    states = group(idata, "states", "minimum", "location")
    grid = landscape["grid"].transpose("chain", "point").values
    latent = states["minimum"].transpose("chain", "state", "latent_dim").values[..., 0]
    channel = clearest_channel(idata)
    location = states["location"].transpose("chain", "state", "channel").values[..., channel]
    place = np.full(grid.shape, np.nan)
    for chain in range(len(grid)):
        known = np.flatnonzero(np.isfinite(latent[chain]) & np.isfinite(location[chain]))
        order = known[np.argsort(latent[chain][known])]
        steps = np.diff(location[chain][order])
        if len(order) > 1 and ((steps > 0).all() or (steps < 0).all()):
            place[chain] = _through(grid[chain], latent[chain][order], location[chain][order])
    if np.isfinite(place).all(1).any():
        return place, location, str(states["channel"].values[channel])
    best = best_chain(idata)
    place[best] = grid[best]
    return place, latent, "latent coordinate"


def _through(x: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Piecewise linear through the knots, the end pieces carried on."""
    piece = np.clip(np.searchsorted(knots, x) - 1, 0, len(knots) - 2)
    slope = np.diff(values) / np.diff(knots)
    return np.asarray(values[piece] + slope[piece] * (x - knots[piece]))
