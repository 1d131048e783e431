"""Passes between the basins of a potential: exact in one dimension, by the grid in two and three."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.descent import beside, climb, descend, is_stationary
from pyro_langevin.landscape.gradient_flow import GradientFlow
from pyro_langevin.landscape.passes import Pass
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.surface import Floats, Integers, ReducedEnergy

_ASIDE = 0.05  # of the radius: where the flow from a saddle starts, and how near a minimum it ends
_SAME = 1e-2  # of the radius: minima nearer than this are one
_MOST_STEPS = 400


def passes_1d(surface: ReducedEnergy, maxima: Floats) -> list[Pass]:
    """Pass ``k`` between minima ``k`` and ``k + 1``: the maximum between them."""
    energies = surface(maxima[:, None])
    return [
        Pass((k, k + 1), float(e), np.array([x]), True)
        for k, (x, e) in enumerate(zip(maxima, energies, strict=True))
    ]


def passes_on_grid(surface: ReducedEnergy, grid: EnergyGrid, minima: Floats) -> list[Pass]:
    """Lowest pass between every two adjacent basins of a grid.

    The lowest pair of neighbouring cells of different basins is refined by eigenvector following to a
    saddle. Where that does not lead to a saddle that joins the same two basins (a grid too coarse, or basins
    that touch in a corner only), the grid's own estimate stands, exact to the energy difference of
    neighbouring cells.
    """
    lowest: dict[tuple[int, int], tuple[float, Floats]] = {}
    energy, flat_points = surface, grid.points.reshape(*grid.energy.shape, grid.dim)
    for axis in range(grid.dim):
        count = grid.energy.shape[axis]
        here, there = (np.arange(count - 1), np.arange(1, count))
        first, second = grid.basin.take(here, axis), grid.basin.take(there, axis)
        crossing = np.nonzero(first != second)
        height = np.maximum(grid.energy.take(here, axis), grid.energy.take(there, axis))[crossing]
        middle = 0.5 * (flat_points.take(here, axis) + flat_points.take(there, axis))[crossing]
        pairs = np.sort(np.stack([first[crossing], second[crossing]], -1), -1)
        order = np.argsort(height, kind="stable")
        unique, position = np.unique(pairs[order], axis=0, return_index=True)
        for pair, k in zip(unique, order[position], strict=True):
            key = (int(pair[0]), int(pair[1]))
            if key not in lowest or height[k] < lowest[key][0]:
                lowest[key] = (float(height[k]), middle[k])
    if not lowest:
        return []
    guesses = np.array([location for _, location in lowest.values()])
    exact, saddles = refine_saddles(surface, guesses, minima, list(lowest), radius=float(grid.spacing.max()))
    estimates = energy(guesses)
    refined = energy(saddles)
    return [
        Pass(pair, float(refined[k]), saddles[k], True)
        if exact[k]
        else Pass(pair, float(estimates[k]), guesses[k], False)
        for k, pair in enumerate(lowest)
    ]


def refine_saddles(
    surface: ReducedEnergy, guesses: Floats, minima: Floats, joins: list[tuple[int, int]], *, radius: float
) -> tuple[np.ndarray, Floats]:
    """Saddles near ``guesses`` ``(n, d)``, and whether each joins the two minima it should."""
    saddles = climb(surface, guesses, radius=radius)
    found = np.array([sorted(pair) for pair in joined_minima(surface, saddles, minima, radius=radius)])
    wanted = np.array([sorted(pair) for pair in joins])
    right = (found == wanted).all(-1) & is_stationary(surface, saddles, index=1)
    return right, saddles


def joined_minima(surface: ReducedEnergy, saddles: Floats, minima: Floats, *, radius: float) -> Integers:
    """Minima that the flow reaches from either side of each saddle, ``(n, 2)``; -1 for one not in the list."""
    return _in_list(_feet(surface, saddles, minima, radius), minima, radius).reshape(2, -1).T


def feet_of(
    surface: ReducedEnergy, saddles: Floats, minima: Floats, *, radius: float
) -> tuple[Floats, Integers]:
    """Minima with those added that the flow reaches from the saddles, and the two that each joins, ``(n, 2)``."""
    feet = _feet(surface, saddles, minima, radius)
    known = list(minima)
    for foot in feet[is_stationary(surface, feet, index=0)]:
        if min(float(np.linalg.norm(foot - other)) for other in known) > _SAME * radius:
            known.append(foot)
    every = np.array(known)
    return every, _in_list(feet, every, radius).reshape(2, -1).T


def _feet(surface: ReducedEnergy, saddles: Floats, minima: Floats, radius: float) -> Floats:
    """Where the flow ends on one side of each saddle, then on the other, ``(2 n, d)``."""
    position = beside(surface, saddles, _ASIDE * radius)
    flow = GradientFlow(surface, position, tolerance=1e-2 * radius)
    moving = np.arange(len(position))
    for _ in range(_MOST_STEPS):
        flow.advance()
        position[moving] = flow.position
        far = np.linalg.norm(flow.position[:, None] - minima, axis=-1).min(-1) > _ASIDE * radius
        moving = moving[far]
        if not len(moving):
            break
        flow.keep(far)
    return descend(surface, position, radius=_ASIDE * radius)


def _in_list(ends: Floats, minima: Floats, radius: float) -> Integers:
    distance = np.linalg.norm(ends[:, None] - minima, axis=-1)
    return np.where(distance.min(-1) < _SAME * radius, distance.argmin(-1), -1)
