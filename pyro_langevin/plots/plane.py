"""The plane of a landscape: its grid, and what is drawn on it, in coordinates of one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.guide_quality import best_chain
from pyro_langevin.diagnostics.layout import Draws, group
from pyro_langevin.plots.canvas import state_badge

__all__ = ["Plane", "plane_of"]

VISITED = 1500
"""Points of the posterior paths that are shown."""
DRAWS = 5
"""Draws that they are taken from: all of a long record's would be gigabytes."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One seed's landscape on a plane.

    Attributes:
        chain: position of the seed, that with the best ELBO.
        x: (x,), y: (y,), the grid.
        potential: (y, x), in kT above its lowest point.
        minimum: (state, 2), NaN where the seed lacks the state.
        origin: (latent_dim,), latent point at ``shift`` in the plane.
        shift: (2,).
        projection: (2, latent_dim), orthogonal projection of latent displacements; None if not known.
        cut: whether the landscape has more dimensions, of which this plane is a cut.
        labels: names of the two axes.
    """

    chain: int
    x: np.ndarray
    y: np.ndarray
    potential: np.ndarray
    minimum: np.ndarray
    origin: np.ndarray
    shift: np.ndarray
    projection: np.ndarray | None
    cut: bool
    labels: tuple[str, str]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Latent points (..., latent_dim) as seen in the plane, (..., 2); NaN where that is not known."""
        if self.projection is None:
            return np.full((*points.shape[:-1], 2), np.nan)
        return np.asarray(self.shift + (points - self.origin) @ self.projection.T)

    def badges(self, ax: Axes, labels: list[str]) -> None:
        """Labels of the states at their minima, inside the axes only."""
        for state, label in enumerate(labels):
            if np.isfinite(self.minimum[state]).all():
                state_badge(ax, float(self.minimum[state, 0]), float(self.minimum[state, 1]), label, state)

    def visited(self, idata: Draws) -> np.ndarray:
        """Points of the seed's posterior paths, (point, 2), evenly through draws, series and times."""
        posterior = group(idata, "posterior")
        if "z" not in posterior:  # draws may be kept without their paths
            return np.empty((0, 2))
        z = posterior["z"].isel(chain=self.chain)
        z = z.isel(draw=np.unique(np.linspace(0, z.sizes["draw"] - 1, DRAWS).astype(int)))
        points = z.transpose(..., "latent_dim").values.reshape(-1, z.sizes["latent_dim"])
        points = self.project(points)
        points = points[np.isfinite(points).all(1)]
        return np.asarray(points[np.linspace(0, len(points) - 1, min(VISITED, len(points))).astype(int)])


def plane_of(idata: Draws, landscape: xr.Dataset) -> Plane:
    """The plane of the seed with the best ELBO among those that have one.

    In more than two dimensions the plane is a cut through three minima, given by the minima's places in latent space
    and in the plane: the projection is the linear map of least norm that takes the ones to the others, which is the
    orthogonal one.
    """
    usable = landscape["beta_potential"].notnull().any(("x", "y")).values
    chain = best_chain(idata)
    if not usable[chain] and usable.any():
        chain = int(np.flatnonzero(usable)[0])
    mine = landscape.isel(chain=chain)
    potential = mine["beta_potential"].transpose("y", "x").values
    latent = group(idata, "states", "minimum")["minimum"].isel(chain=chain).transpose("state", "latent_dim").values
    cut = "minimum_in_plane" in mine
    if cut:
        minimum = mine["minimum_in_plane"].transpose("state", "axis").values
        origin, shift, projection = _projection(latent, minimum)
        labels = ("first direction in the plane", "second direction in the plane")
    else:
        minimum, origin, shift, projection = latent, np.zeros(2), np.zeros(2), np.eye(2)
        labels = ("latent coordinate 1", "latent coordinate 2")
    return Plane(
        chain, mine["grid_x"].values, mine["grid_y"].values, potential - np.nanmin(potential), minimum, origin, shift,
        projection, cut, labels,
    )


def _projection(latent: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    known = np.flatnonzero(np.isfinite(latent).all(1) & np.isfinite(place).all(1))
    if len(known) < 3:
        return np.zeros(latent.shape[1]), np.zeros(2), None
    first, rest = known[0], known[1:]
    moves = latent[rest] - latent[first]
    if np.linalg.matrix_rank(place[rest] - place[first]) < 2:
        return latent[first], place[first], None
    return latent[first], place[first], (np.linalg.pinv(moves) @ (place[rest] - place[first])).T
