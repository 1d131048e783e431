"""The region of a potential that matters, and grids over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError, ReducedEnergy

_COARSE = {1: 2001, 2: 81, 3: 33}  # points a dimension while the region is sought
_GROWTH = 0.3
_MOST_GROWTHS = 60


@dataclass(frozen=True, eq=False)
class EnergyGrid:
    """Reduced energy and basins on a regular grid of cell centres, 1 to 3 dimensions.

    Attributes:
        axes: Cell centres along each dimension, uniform.
        energy: Reduced energy relative to the lowest minimum, one axis a dimension.
        basin: State of each cell, -1 before they are assigned.
    """

    axes: tuple[Floats, ...]
    energy: Floats
    basin: Integers

    @property
    def dim(self) -> int:
        """Dimension of the space."""
        return len(self.axes)

    @property
    def spacing(self) -> Floats:
        """Cell widths ``(dim,)``."""
        return np.array([axis[1] - axis[0] for axis in self.axes])

    @property
    def points(self) -> Floats:
        """Cell centres ``(cells, dim)``, in the order of ``energy.ravel()``."""
        return np.stack([axis.ravel() for axis in np.meshgrid(*self.axes, indexing="ij")], -1)

    def coordinates(self, points: Floats) -> Floats:
        """Position of points ``(n, dim)`` in units of cells, clipped to the grid."""
        origin = np.array([axis[0] for axis in self.axes])
        return np.clip((points - origin) / self.spacing, 0.0, np.array(self.energy.shape) - 1.0)

    def nearest(self, points: Floats) -> Integers:
        """Flat index of the cell nearest to each point."""
        cells = np.rint(self.coordinates(points)).astype(np.int64)
        return np.ravel_multi_index(tuple(cells.T), self.energy.shape).astype(np.int64)


def find_region(surface: ReducedEnergy, points: Floats, *, height: float) -> tuple[Floats, Floats]:
    """Corners of a box that holds every place connected to ``points`` below ``height`` kT.

    The box that holds the points grows until the energy on each face is ``height`` above the lowest energy
    seen, and is then trimmed to the region below that height.

    Args:
        surface: Reduced energy of dimension 1 to 3.
        points: Points ``(n, dim)`` to start from; every deep well should have one near it.
        height: Height in kT above the lowest point.

    Returns:
        Lower and upper corner, ``(dim,)`` each.

    Raises:
        LandscapeError: If the potential does not confine.
    """
    low, high = points.min(0), points.max(0)
    pad = np.maximum(0.05 * (high - low), 0.05 * (1.0 + np.abs(high)) * (high - low < 1e-6))
    low, high = low - pad, high + pad
    lowest = float(surface(points).min())
    for _ in range(_MOST_GROWTHS):
        grid = make_grid(surface, low, high, np.full(surface.dim, _COARSE[surface.dim]))
        if not np.isfinite(grid.energy).any():
            break
        lowest = min(lowest, float(np.nanmin(grid.energy)))
        inside = ~(grid.energy > lowest + height)
        reach_low = np.array([np.take(inside, 0, axis).any() for axis in range(surface.dim)])
        reach_high = np.array([np.take(inside, -1, axis).any() for axis in range(surface.dim)])
        if not (reach_low.any() or reach_high.any()):
            return _trimmed(grid, inside, points[surface(points) < lowest + height])
        width = _GROWTH * (high - low)
        low, high = low - reach_low * width, high + reach_high * width
    raise LandscapeError(
        f"landscape: the energy does not rise by {height:g} kT around the data, even in a box of width "
        f"{np.max(high - low):.3g}; the potential must confine (add a quadratic or a mixture reference)"
    )


def make_grid(surface: ReducedEnergy, low: Floats, high: Floats, counts: Floats | Integers) -> EnergyGrid:
    """Grid of ``counts`` points a dimension from ``low`` to ``high``, with its energies."""
    axes = tuple(np.linspace(a, b, int(n)) for a, b, n in zip(low, high, counts, strict=True))
    shape = tuple(len(axis) for axis in axes)
    grid = EnergyGrid(axes, np.zeros(shape), np.full(shape, -1, dtype=np.int64))
    return EnergyGrid(axes, surface(grid.points).reshape(shape), grid.basin)


def _trimmed(grid: EnergyGrid, inside: np.ndarray, keep: Floats) -> tuple[Floats, Floats]:
    """Hull of the cells inside and of the points to keep, with one cell to spare."""
    low, high = np.empty(grid.dim), np.empty(grid.dim)
    for axis, values in enumerate(grid.axes):
        others = tuple(other for other in range(grid.dim) if other != axis)
        used = values[inside.any(axis=others)]
        used = np.concatenate([used, keep[:, axis]])
        low[axis], high[axis] = used.min(), used.max()
    return low - grid.spacing, high + grid.spacing
