"""Minima of a reduced energy, and in one dimension the maxima between them."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.descent import descend, is_stationary
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.surface import Floats, LandscapeError, ReducedEnergy

_MOST_STARTS = 256  # descents from the starts; more would find the same minima


def thinned(points: Floats) -> Floats:
    """At most 256 of the points, evenly spread over their order."""
    if len(points) <= _MOST_STARTS:
        return points
    return points[np.linspace(0, len(points) - 1, _MOST_STARTS).astype(int)]


def minima_from_starts(surface: ReducedEnergy, starts: Floats, *, radius: float) -> Floats:
    """Distinct minima ``(n, d)`` that descents from ``starts`` reach."""
    points = descend(surface, starts, radius=radius)
    points = points[is_stationary(surface, points, index=0)]
    return distinct(points, surface(points), tolerance=1e-4 * radius) if len(points) else points


def minima_on_grid(surface: ReducedEnergy, grid: EnergyGrid, starts: Floats) -> Floats:
    """Distinct minima ``(n, d)`` from every cell lower than its neighbours, and from ``starts``."""
    lowest = np.ones(grid.energy.shape, dtype=bool)
    padded = np.pad(grid.energy, 1, constant_values=np.inf)
    for shift in np.ndindex(*(3,) * grid.dim):
        window = tuple(slice(s, s + n) for s, n in zip(shift, grid.energy.shape, strict=True))
        lowest &= grid.energy <= padded[window]
    candidates = np.concatenate([grid.points[lowest.ravel()], starts])
    return minima_from_starts(surface, candidates, radius=2.0 * float(grid.spacing.max()))


def distinct(points: Floats, energies: Floats, *, tolerance: float) -> Floats:
    """Points that differ by more than ``tolerance``, the lowest of each cluster kept."""
    kept: list[Floats] = []
    for index in np.argsort(energies, kind="stable"):
        if all(np.linalg.norm(points[index] - other) > tolerance for other in kept):
            kept.append(points[index])
    return np.array(kept).reshape(-1, points.shape[-1])


def stationary_points_1d(surface: ReducedEnergy, grid: EnergyGrid) -> tuple[Floats, Floats]:
    """All minima ``(n,)`` and the maxima ``(n - 1,)`` between them, to machine precision.

    Every change of sign of the gradient on the grid is bisected, so nothing wider than two grid cells is
    missed.
    """
    axis = grid.axes[0]
    rising = surface.gradient(axis[:, None])[:, 0] >= 0
    changes = np.flatnonzero(rising[1:] != rising[:-1])
    low, high = axis[changes], axis[changes + 1]
    for _ in range(60):
        middle = 0.5 * (low + high)
        before = (surface.gradient(middle[:, None])[:, 0] >= 0) == rising[changes]
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    is_minimum = ~rising[changes]
    if not is_minimum.any() or not (is_minimum[0] and is_minimum[-1]):
        raise LandscapeError(
            "landscape: the potential does not confine: its force points outwards at the edge"
        )
    points = 0.5 * (low + high)
    return points[is_minimum], points[~is_minimum]
