"""Basins of the gradient flow without a grid, for more than three dimensions."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pyro_langevin.landscape.descent import descend
from pyro_langevin.landscape.gradient_flow import GradientFlow
from pyro_langevin.landscape.neighbours import LabelledPoints
from pyro_langevin.landscape.surface import Floats, Integers, ReducedEnergy
from pyro_langevin.landscape.trapping import TrappingEllipsoids

_MOST_STEPS = 400
_ERROR = 0.01  # of a flow step, in standard deviations of the narrowest well
_FLOWED = 8192  # points that are flowed before any is judged by its neighbours
_MOST_KNOWN = 60_000
_AT_ONCE = 65_536
_JUDGED_AT = (4, 8, 16)  # steps of a flow after which it is looked for neighbours again


class FlowBasins:
    """State of a point by its gradient flow, or by points near it that have flowed.

    A flow ends as soon as it enters an ellipsoid around a minimum that no flow leaves. Up to 8192 points are all
    flowed. Of more, a random 8192 are, and the others take the state of their neighbours where these agree; the rest,
    near the dividing surfaces, are flowed and become neighbours in turn. Wrong for about 3 in 10,000 points then.

    Args:
        surface: Reduced energy.
        minima: All minima, ``(n, d)``.
        owner: State that each minimum belongs to after merging, ``(n,)``.
    """

    def __init__(self, surface: ReducedEnergy, minima: Floats, owner: Integers) -> None:
        self._surface, self._minima, self._owner = surface, minima, owner
        stiffest = np.linalg.eigvalsh(surface.slope_and_curvature(minima)[1]).max()
        self._tolerance = _ERROR / float(np.sqrt(stiffest))
        self._known: LabelledPoints | None = None

    @cached_property
    def _traps(self) -> TrappingEllipsoids:
        return TrappingEllipsoids(self._surface, self._minima)

    def __call__(self, points: Floats) -> Integers:
        """State of points ``(n, d)``, ``(n,)``."""
        if (self._owner == self._owner[0]).all():
            return np.full(len(points), self._owner[0], dtype=np.int64)
        inside = self._traps.owner(points)
        state = np.where(inside >= 0, self._owner[inside], -1)
        left = np.flatnonzero(state < 0)
        if len(left) <= _FLOWED:
            state[left] = self.flowed(points[left])
            return state
        left = np.random.default_rng(0).permutation(left)  # the first are to be typical of all
        if self._known is None:
            first, left = left[:_FLOWED], left[_FLOWED:]
            state[first] = self.flowed(points[first])
            self._known = LabelledPoints(points[first], state[first])
        size = _FLOWED
        while len(left):
            now, left = left[:size], left[size:]
            state[now] = self._judged(self._known, points[now])
            size = min(2 * size, _AT_ONCE)
        return state

    def flowed(self, points: Floats, known: LabelledPoints | None = None) -> Integers:
        """State of points ``(n, d)`` by the flow of each, ``(n,)``, or by ``known`` points that it comes among."""
        state = np.full(len(points), -1, dtype=np.int64)
        moving = np.arange(len(points))
        flow = GradientFlow(self._surface, points, tolerance=self._tolerance)
        for step in range(_MOST_STEPS):
            inside = self._traps.owner(flow.position)
            found = np.where(inside >= 0, self._owner[inside], -1)
            if known is not None and step in _JUDGED_AT:
                found = np.where(found >= 0, found, known.judge(flow.position))
            arrived = found >= 0
            state[moving[arrived]] = found[arrived]
            moving = moving[~arrived]
            if not len(moving):
                return state
            if arrived.any():
                flow.keep(~arrived)
            flow.advance()
        # on a dividing surface, or on the way to a minimum that is not in the list
        ends = descend(self._surface, flow.position, radius=10.0 * self._tolerance / _ERROR)
        state[moving] = self._owner[self._traps.deviations(ends).argmin(-1)]
        return state

    def _judged(self, known: LabelledPoints, points: Floats) -> Integers:
        state = known.judge(points)
        open_ = np.flatnonzero(state < 0)
        state[open_] = self.flowed(points[open_], known)
        if len(known) < _MOST_KNOWN:
            known.add(points[open_], state[open_])
        return state
