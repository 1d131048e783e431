"""Committor of the posterior paths: which state each moment of the data is on its way to."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from pyro_langevin.diagnostics.layout import Draws, group, state_labels

__all__ = ["committor"]


def committor(idata: Draws) -> xr.DataArray:
    """Probability to reach each state's core before any other's, from where the path is, (series, time, state).

    The learned dynamics' committor on its grid (Onsager 1938), read off by linear interpolation at the posterior
    positions and averaged over draws and seeds (Monte Carlo); positions beyond the grid take its edge. It sums to one
    over states, is near one inside a core, and near one half on top of a barrier between two states: unlike
    :func:`~pyro_langevin.diagnostics.state_probability` it knows how far a passage has come. It looks forward from the
    position alone, not at the data that follow. A state that a seed lacks counts as zero there. NaN beyond a series'
    length.

    Raises:
        ValueError: the draws hold no committor on a line or a plane (it is computed in one and two latent dimensions).
    """
    labels = state_labels(idata)
    z = group(idata, "posterior", "z")["z"].transpose("chain", "draw", "series", "time", "latent_dim")
    landscape = group(idata, "landscape", "committor")
    latent = z.sizes["latent_dim"]
    if landscape.attrs.get("plane") or latent > 2:
        raise ValueError(
            f"committor: expected draws of one or two latent dimensions, got {latent}, where a committor is held on a "
            "plane through three minima only; use state_probability, or draw that plane with plot_committor"
        )
    values = z.values
    total = np.zeros((*values.shape[2:4], len(labels)))
    for chain, positions in enumerate(values):
        points = positions.reshape(-1, latent)
        for state, field in enumerate(_fields(landscape.isel(chain=chain))):
            if np.isfinite(field[-1]).all():
                total[..., state] += _read(field, points).reshape(positions.shape[:3]).mean(0)
    constant = group(idata, "constant_data", "time", "length")
    inside = np.arange(values.shape[3]) < constant["length"].values[:, None]
    mean = np.where(inside[..., None], total / len(values), np.nan)
    times = constant["time"].transpose("series", "time").values
    return xr.DataArray(
        mean,
        dims=("series", "time", "state"),
        coords={"series": constant["series"].values, "state": labels, "t": (("series", "time"), times)},
        name="committor",
    )


Field = tuple[np.ndarray, ...]


def _fields(landscape: xr.Dataset) -> list[Field]:
    """For each state the axes of the grid and the values on it, the axes in the order of the latent dimensions."""
    if "grid" in landscape:
        values = landscape["committor"].transpose("state", "point").values
        return [(landscape["grid"].values, value) for value in values]
    values = landscape["committor"].transpose("state", "x", "y").values
    return [(landscape["grid_x"].values, landscape["grid_y"].values, value) for value in values]


def _read(field: Field, points: np.ndarray) -> np.ndarray:
    """Values at points (point, latent_dim); NaN of NaN."""
    *axes, values = field
    held = [np.clip(points[:, i], axis[0], axis[-1]) for i, axis in enumerate(axes)]
    if len(axes) == 1:
        return np.asarray(np.interp(held[0], axes[0], values))
    reader = RegularGridInterpolator(tuple(axes), values)
    known = np.isfinite(points).all(1)
    result = np.full(len(points), np.nan)
    result[known] = reader(np.stack(held, -1)[known])
    return result
