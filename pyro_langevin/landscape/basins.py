"""Finding the states of a potential: minima, passes, basins, and the merging of shallow ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from pyro_langevin.landscape.cores import core_depths, core_edges
from pyro_langevin.landscape.flow_basins import FlowBasins
from pyro_langevin.landscape.grid_basins import flow_basins
from pyro_langevin.landscape.minima import (
    minima_from_starts,
    minima_on_grid,
    stationary_points_1d,
    thinned,
)
from pyro_langevin.landscape.passes import Pass, PassNetwork, lowest_pass, merge_shallow, without_redundant
from pyro_langevin.landscape.region import EnergyGrid, find_region, make_grid
from pyro_langevin.landscape.saddles import passes_1d, passes_on_grid
from pyro_langevin.landscape.search import search
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.strings import neighbouring_pairs, passes_by_strings
from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError, ReducedEnergy, as_points
from pyro_langevin.potentials.base import Potential

_WINDOW = 15.0  # kT above the lowest minimum up to which minima are states
_ABOVE_WINDOW = 5.0  # kT more up to which minima are sought: ways between states may lead over them
_HEIGHT = {1: 36.0, 2: 20.0, 3: 18.0}  # kT up to which the grid reaches: e^-36 is below float64's resolution
_CELLS_PER_WIDTH = 6.0  # grid cells in the standard deviation of the narrowest well
_CELLS = {1: (20_001, 20_001), 2: (160, 320), 3: (48, 60)}  # least and most cells a dimension


def find_landscape(
    potential: Potential,
    starts: ArrayLike,
    *,
    temperature: float = 1.0,
    merge_below: float = 1.0,
    beyond_starts: bool = True,
) -> Landscape:
    """States of a potential.

    One dimension: every minimum and maximum up to 36 kT. Two and three: every minimum wider than a grid cell
    in the region up to 20 (18) kT around the starts; flow basins of the grid's cells. More: the minima
    that a search from the starts finds, out over saddles and down from random points. Shallow basins are merged,
    and minima more than 15 kT above the lowest are no states.

    Args:
        potential: The potential; a copy is evaluated in float64.
        starts: Points ``(*batch, dim)``, such as posterior means of the path: one near every state.
        temperature: k_B T in the units of the potential.
        merge_below: Least depth of a state, kT.
        beyond_starts: In one dimension, whether wells beyond the outermost that hold a start are states. A
            learned potential may have one where no path ever was, of which the data know nothing; the line then ends
            at the barrier before it. Above three dimensions, whether wells are sought where neither descents from
            the starts nor the ways between these lead.

    Raises:
        LandscapeError: If the potential does not confine, or starts are of another dimension or not finite.
    """
    surface = ReducedEnergy(potential, temperature=temperature)
    points, _ = as_points(starts, surface.dim)
    points = thinned(points[np.isfinite(points).all(-1)])
    if not len(points):
        raise LandscapeError("landscape: expected at least one finite start point, got none")
    if not merge_below >= 0:
        raise LandscapeError(f"landscape: merge_below must not be negative, got {merge_below}")
    if surface.dim == 1:
        return _line(surface, points, merge_below, beyond_starts)
    if surface.dim <= 3:
        return _plane_or_space(surface, points, merge_below)
    return _high_dimension(surface, points, merge_below, beyond_starts)


def _line(surface: ReducedEnergy, starts: Floats, merge_below: float, beyond_starts: bool) -> Landscape:
    low, high = find_region(surface, starts, height=_HEIGHT[1])
    grid = make_grid(surface, low, high, np.array([_CELLS[1][1]]))
    minima, maxima = stationary_points_1d(surface, grid)
    held = np.searchsorted(maxima, starts[:, 0])
    first, last = int(held.min()), int(held.max())
    if not beyond_starts and last - first < len(maxima):
        low = maxima[[first - 1]] if first > 0 else low
        high = maxima[[last]] if last < len(maxima) else high
        grid = make_grid(surface, low, high, np.array([_CELLS[1][1]]))
        minima, maxima = minima[first : last + 1], maxima[first:last]
    landscape, owner = _merged(surface, minima[:, None], passes_1d(surface, maxima), merge_below, grid)
    grid = _with_basins(grid, landscape, np.searchsorted(landscape.saddle[:, 0], grid.axes[0]))
    return replace(
        landscape, grid=grid, core_edge=core_edges(grid, landscape.beta_energy, landscape.core_depth)
    )


def _plane_or_space(surface: ReducedEnergy, starts: Floats, merge_below: float) -> Landscape:
    extent = float(np.ptp(starts, axis=0).max()) or 1.0
    wells = minima_from_starts(surface, starts, radius=0.1 * extent)
    if not len(wells):
        raise LandscapeError(
            "landscape: no descent from the starts met a minimum; the potential may not confine"
        )
    low, high = find_region(surface, wells, height=_HEIGHT[surface.dim])
    hessian = surface.slope_and_curvature(wells)[1]
    narrowest = np.diagonal(hessian, axis1=-2, axis2=-1).max(0)
    least, most = _CELLS[surface.dim]
    counts = np.clip((high - low) * np.sqrt(narrowest) * _CELLS_PER_WIDTH, least, most)
    counts = 2.0 * np.ceil(
        0.5 * counts
    )  # even: the dividing line of a symmetric potential runs between cells
    grid = make_grid(surface, low, high, counts)
    minima = minima_on_grid(surface, grid, wells)
    grid = EnergyGrid(grid.axes, grid.energy, flow_basins(surface, grid, minima, height=_HEIGHT[surface.dim]))
    passes = without_redundant(surface(minima), passes_on_grid(surface, grid, minima))
    landscape, owner = _merged(surface, minima, passes, merge_below, grid)
    return replace(landscape, grid=_with_basins(grid, landscape, owner[grid.basin]))


def _high_dimension(surface: ReducedEnergy, starts: Floats, merge_below: float, beyond_starts: bool) -> Landscape:
    extent = float(np.ptp(starts, axis=0).max()) or 1.0
    minima = minima_from_starts(surface, starts, radius=0.1 * extent)
    if not len(minima):
        raise LandscapeError(
            "landscape: no descent from the starts met a minimum; the potential may not confine"
        )
    # half the median width of the wells, across their softest mode
    radius = 0.5 / float(np.sqrt(np.median(np.linalg.eigvalsh(surface.slope_and_curvature(minima)[1])[:, 0])))
    saddles = np.empty((0, surface.dim))
    if beyond_starts:
        minima, saddles = search(surface, minima, height=_WINDOW + _ABOVE_WINDOW, radius=radius)
    minima, passes = passes_by_strings(surface, minima, saddles, neighbouring_pairs(minima), radius=radius)
    landscape, owner = _merged(surface, minima, passes, merge_below, None)
    return replace(landscape, flow=FlowBasins(surface, minima, owner))


def _with_basins(grid: EnergyGrid, landscape: Landscape, basin: Integers) -> EnergyGrid:
    """Grid with states, and energies relative to the lowest minimum."""
    lowest = float(landscape.surface(landscape.minimum).min())
    return EnergyGrid(grid.axes, grid.energy - lowest, np.asarray(basin, dtype=np.int64))


def _merged(
    surface: ReducedEnergy, minima: Floats, passes: list[Pass], merge_below: float, grid: EnergyGrid | None
) -> tuple[Landscape, Integers]:
    """Landscape of the merged basins, and the state of each minimum ``(len(minima),)``."""
    energies = surface(minima)
    owner, left = merge_shallow(energies, passes, merge_below=merge_below, window=_WINDOW)
    chosen = np.unique(owner)
    chosen = chosen[np.argsort(minima[chosen, 0], kind="stable")]
    state = {int(k): n for n, k in enumerate(chosen)}
    left = [replace(item, joins=(state[item.joins[0]], state[item.joins[1]])) for item in left]
    left.sort(key=lambda item: (min(item.joins), max(item.joins)))
    state_of = np.array([state[int(k)] for k in owner], dtype=np.int64)
    lowest = energies[chosen].min()
    height = lowest_pass(energies[chosen], left)
    barrier = height - energies[chosen][:, None]
    return (
        Landscape(
            minimum=minima[chosen],
            beta_energy=energies[chosen] - lowest,
            beta_barrier=barrier,
            saddle=np.array([item.location for item in left]).reshape(-1, surface.dim),
            saddle_beta_energy=np.array([item.energy for item in left]) - lowest,
            saddle_joins=np.array([sorted(item.joins) for item in left], dtype=np.int64).reshape(-1, 2),
            saddle_exact=np.array([item.exact for item in left], dtype=bool),
            core_depth=core_depths(barrier, surface.dim),
            core_edge=None,
            grid=grid,
            surface=surface,
            network=PassNetwork(minima, passes, state_of, [int(k) for k in chosen]),
        ),
        state_of,
    )
