"""Basins of the gradient flow on a grid, two and three dimensions."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from pyro_langevin.landscape.descent import flow_by_arc_length, implicit_step
from pyro_langevin.landscape.gradient_flow import GradientFlow
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.surface import Floats, Integers, ReducedEnergy
from pyro_langevin.landscape.trapping import inward_reach

_STRIDE = 1.2  # cells a flow step covers
_MOST_STRIDES = 200  # of the cells along a dividing line
_FLOW_ERROR = 0.02  # of a cell: error of a step in the flow of points beside a dividing line
_MOST_FLOW_STEPS = 100
_UNKNOWN, _HIGH = -1, -2  # marks of cells without a basin


def flow_basins(surface: ReducedEnergy, grid: EnergyGrid, minima: Floats, *, height: float) -> Integers:
    """Index of the minimum that the gradient flow reaches from each cell, shape of the grid.

    Each cell is flowed a little more than one cell width and takes the basin of the cells around its end,
    once these agree. Where that spreads no further (along dividing lines, across narrow valleys), cells are
    flowed on. Cells more than ``height`` kT above the lowest minimum take the nearest basin.
    """
    shape = grid.energy.shape
    basin = np.full(grid.energy.size, _UNKNOWN, dtype=np.int64)
    centres = grid.points
    for index, (minimum, reach) in enumerate(zip(minima, inward_reach(surface, minima), strict=True)):
        basin[_block(grid, minimum)] = index
        basin[np.linalg.norm(centres - minimum, axis=-1) < reach] = index
    ceiling = float(surface(minima).min()) + height
    basin[(basin < 0) & ~(grid.energy.ravel() < ceiling)] = _HIGH
    unknown = np.flatnonzero(basin == _UNKNOWN)
    stride = _STRIDE * float(grid.spacing.min())
    points = centres[unknown]
    for _ in range(_MOST_STRIDES):
        if not len(unknown):
            break
        points = _flowed(surface, points, stride)
        corners, spreading = _corners(grid, points), True
        while spreading:
            found, agreed = _agreement(basin, corners)
            basin[unknown[agreed]] = found[agreed]
            spreading = bool(agreed.any())
            unknown, points, corners = unknown[~agreed], points[~agreed], corners[~agreed]
    return _filled(basin.reshape(shape))


def state_on_grid(surface: ReducedEnergy, grid: EnergyGrid, points: Floats) -> Integers:
    """State of points ``(n, d)`` by the cells around them and, beside dividing lines, by their flow, ``(n,)``.

    A point takes the state of the cell centres that enclose it where these agree; the others flow until they do.
    """
    basin = grid.basin.ravel()
    corners = _corners(grid, points)
    state = basin[corners[:, 0]]
    moving = np.flatnonzero((basin[corners] != state[:, None]).any(-1))
    flow = GradientFlow(surface, points[moving], tolerance=_FLOW_ERROR * float(grid.spacing.min()))
    for _ in range(_MOST_FLOW_STEPS):
        if not len(moving):
            return state
        flow.advance()
        around = basin[_corners(grid, flow.position)]
        apart = (around != around[:, :1]).any(-1)
        state[moving[~apart]] = around[~apart, 0]
        moving = moving[apart]
        flow.keep(apart)
    state[moving] = basin[grid.nearest(flow.position)]
    return state


def _flowed(surface: ReducedEnergy, points: Floats, stride: float) -> Floats:
    """Points after one stride: Runge-Kutta, or an implicit step where a stiff valley folds that back."""
    ends = flow_by_arc_length(surface, points, stride)
    folded = np.flatnonzero(np.linalg.norm(ends - points, axis=-1) < 0.8 * stride)
    if len(folded):
        gradient, hessian = surface.slope_and_curvature(points[folded])
        ends[folded] = points[folded] + implicit_step(gradient, hessian, np.full(len(folded), stride))
    return ends


def _block(grid: EnergyGrid, minimum: Floats) -> Integers:
    """Flat indices of the cells around a minimum, nearer than two cell widths."""
    centre = np.rint(grid.coordinates(minimum[None]))[0].astype(int)
    ranges = [np.arange(max(c - 1, 0), min(c + 2, n)) for c, n in zip(centre, grid.energy.shape, strict=True)]
    cells = np.meshgrid(*ranges, indexing="ij")
    return np.ravel_multi_index(tuple(c.ravel() for c in cells), grid.energy.shape).astype(np.int64)


def _corners(grid: EnergyGrid, points: Floats) -> Integers:
    """Flat indices ``(n, 2**d)`` of the cells whose centres enclose each point."""
    base = np.floor(grid.coordinates(points)).astype(np.int64)
    base = np.minimum(base, np.array(grid.energy.shape) - 2)
    offsets = np.stack(np.meshgrid(*[[0, 1]] * grid.dim, indexing="ij"), -1).reshape(-1, grid.dim)
    cells = base[:, None, :] + offsets
    return np.ravel_multi_index(tuple(np.moveaxis(cells, -1, 0)), grid.energy.shape).astype(np.int64)


def _agreement(basin: Integers, corners: Integers) -> tuple[Integers, np.ndarray]:
    """Basin of the corners below the height of interest, and whether they agree."""
    around = basin[corners]
    found = around.max(-1)
    same = (around == found[:, None]) | (around == _HIGH)
    return found, (found >= 0) & same.all(-1)


def _filled(basin: Integers) -> Integers:
    """Cells still unknown (on a dividing line exactly) take the nearest known basin."""
    missing = basin < 0
    if not missing.any():
        return basin
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(basin[tuple(nearest)], dtype=np.int64)
