"""A plane in a space of more dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FLAT = 1e-6  # of the extent: nearer to a line, three points span no plane


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane with orthonormal axes.

    Attributes:
        origin: ``(dim,)``.
        axes: ``(2, dim)``.
    """

    origin: np.ndarray
    axes: np.ndarray

    @classmethod
    def whole(cls, dim: int) -> Plane:
        """The plane of the first two coordinates."""
        return cls(np.zeros(dim), np.eye(dim)[:2])

    @classmethod
    def through(cls, corners: np.ndarray) -> Plane | None:
        """The plane through three points ``(3, dim)``, its first axis from the first to the second; None on a line."""
        if len(corners) < 3:
            return None
        first, second = corners[1:3] - corners[0]
        one = first / np.linalg.norm(first)
        across = second - (second @ one) * one
        if np.linalg.norm(across) < _FLAT * np.linalg.norm(second):
            return None
        return cls(corners[0], np.stack([one, across / np.linalg.norm(across)]))

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Coordinates ``(*batch, 2)`` of the points of the plane nearest to ``points`` ``(*batch, dim)``."""
        return np.asarray((points - self.origin) @ self.axes.T)

    def points(self, coordinates: np.ndarray) -> np.ndarray:
        """Points ``(*batch, dim)`` with these coordinates."""
        return np.asarray(self.origin + coordinates @ self.axes)
