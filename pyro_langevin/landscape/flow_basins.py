"""Basins of the gradient flow without a grid, for more than three dimensions."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.descent import descend, implicit_step
from pyro_langevin.landscape.surface import Floats, Integers, ReducedEnergy

_MOST_STEPS = 400
_RAYS = 64  # directions in which the reach of a minimum is probed
_REACHES = 12


class FlowBasins:
    """State of a point by its gradient flow.

    A flow ends as soon as it enters a ball around a minimum in which the energy rises outwards in every
    direction probed. Costs one Hessian a step and point: use it for up to some 10,000 points.

    Args:
        surface: Reduced energy.
        minima: All minima, ``(n, d)``.
        owner: State that each minimum belongs to after merging, ``(n,)``.
    """

    def __init__(self, surface: ReducedEnergy, minima: Floats, owner: Integers) -> None:
        self._surface, self._minima, self._owner = surface, minima, owner
        self._reach = inward_reach(surface, minima)
        self._stride = 0.5 * float(self._reach.min())

    def __call__(self, points: Floats) -> Integers:
        """State of points ``(n, d)``, ``(n,)``."""
        state = np.full(len(points), -1, dtype=np.int64)
        moving, position = np.arange(len(points)), points.copy()
        for _ in range(_MOST_STEPS):
            nearest, inside = self._caught(position)
            state[moving[inside]] = self._owner[nearest[inside]]
            moving, position = moving[~inside], position[~inside]
            if not len(moving):
                return state
            gradient, hessian = self._surface.slope_and_curvature(position)
            position = position + implicit_step(gradient, hessian, np.full(len(position), self._stride))
        ends = descend(self._surface, position, radius=self._stride)
        state[moving] = self._owner[self._caught(ends)[0]]
        return state

    def _caught(self, points: Floats) -> tuple[Integers, np.ndarray]:
        distance = np.linalg.norm(points[:, None] - self._minima, axis=-1) / self._reach
        return distance.argmin(-1), distance.min(-1) < 1.0


def inward_reach(surface: ReducedEnergy, minima: Floats) -> Floats:
    """Radius of a ball around each minimum in which the force points inwards in all directions probed."""
    generator = np.random.default_rng(0)
    direction = generator.standard_normal((_RAYS, minima.shape[1]))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    apart = np.linalg.norm(minima[:, None] - minima, axis=-1)
    np.fill_diagonal(apart, np.inf)
    widths = 1.0 / np.sqrt(np.linalg.eigvalsh(surface.slope_and_curvature(minima)[1])[:, 0])
    reach = np.empty(len(minima))
    for index, minimum in enumerate(minima):
        furthest = min(0.5 * float(apart[index].min()), 3.0 * float(widths[index]))
        radii = furthest * (1.0 + np.arange(_REACHES)) / _REACHES
        points = minimum + radii[:, None, None] * direction
        gradient = surface.gradient(points.reshape(-1, minima.shape[1])).reshape(points.shape)
        inwards = ((gradient * direction).sum(-1) > 0).all(-1)
        good = int(np.argmin(inwards)) if not inwards.all() else _REACHES
        reach[index] = 0.8 * radii[good - 1] if good else 0.4 * radii[0]
    return reach
