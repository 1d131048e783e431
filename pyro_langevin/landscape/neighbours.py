"""Points of known state, by which their surroundings are judged."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pyro_langevin.landscape.surface import Floats, Integers

_COUNTS = (4, 6, 8, 12, 16, 24, 32, 48)  # neighbours that must agree: the least that errs seldom enough
_MOST_ERRORS = 3e-4  # of all points
_FAR = 0.999  # quantile of the neighbours' distance beyond which a point has no neighbours


class LabelledPoints:
    """Points whose states the gradient flow has told, and the judgement of their neighbourhoods.

    A point takes the state of its neighbours where a number of them agree and are near. The number is the least for
    which no more than 3 in 10,000 of the points, each judged by the others, get a wrong state.

    Args:
        points: ``(n, d)``, drawn as those to be judged.
        states: ``(n,)``.
    """

    def __init__(self, points: Floats, states: Integers) -> None:
        self._scale = np.maximum(points.std(0), 1e-12)
        self._states = states
        self._scaled = points / self._scale
        self._tree = cKDTree(self._scaled)
        self._count, self._far = self._calibrated()

    def __len__(self) -> int:
        return len(self._states)

    def add(self, points: Floats, states: Integers) -> None:
        """Further points of known state; these may lie near the dividing surfaces only."""
        self._scaled = np.concatenate([self._scaled, points / self._scale])
        self._states = np.concatenate([self._states, states])
        self._tree = cKDTree(self._scaled)

    def judge(self, points: Floats) -> Integers:
        """State that all near neighbours of points ``(n, d)`` share, -1 where they do not, ``(n,)``."""
        if not self._count:
            return np.full(len(points), -1, dtype=np.int64)
        distance, index = self._tree.query(points / self._scale, k=self._count)
        around = self._states[index]
        sure = (around == around[:, :1]).all(-1) & (distance[:, -1] <= self._far)
        return np.where(sure, around[:, 0], -1)

    def _calibrated(self) -> tuple[int, float]:
        most = min(_COUNTS[-1], len(self) - 1)
        distance, index = self._tree.query(self._scaled, k=most + 1)
        around = self._states[index[:, 1:]]  # the first is the point itself
        for count in _COUNTS:
            if count > most:
                break
            agree = (around[:, :count] == around[:, :1]).all(-1)
            wrong = agree & (around[:, 0] != self._states)
            if wrong.mean() <= _MOST_ERRORS:
                return count, float(np.quantile(distance[:, count], _FAR))
        return 0, 0.0
