"""Neighbourhoods of the minima that no gradient flow leaves."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.surface import Floats, Integers, ReducedEnergy

_RAYS = 128  # directions in which the reach of a minimum is probed at first,
_ROUNDS, _WORST = 5, 16  # and rounds of as many more around those in which it is least
_RADII = np.linspace(0.25, 4.0, 16)  # of the ellipsoids, in standard deviations
_SAFETY = 0.85  # for the directions that were not probed
_BALL_RAYS, _BALL_RADII = 64, 12


class TrappingEllipsoids:
    """Ellipsoids around the minima, of the shape of the well, that the gradient flow crosses inwards only.

    An ellipsoid is as large as the flow is seen to lower ``(z - m)^T H (z - m)`` along some hundred rays, random ones
    first, then ever nearer to the worst; less a seventh. What lies in one belongs to its minimum.

    Args:
        surface: Reduced energy.
        minima: Minima ``(n, d)``.
    """

    def __init__(self, surface: ReducedEnergy, minima: Floats) -> None:
        self.minima = minima
        hessian = surface.slope_and_curvature(minima)[1]
        self._root = np.swapaxes(np.linalg.cholesky(hessian), -1, -2)  # |root (z - m)| in standard deviations
        self.reach = np.array([self._probed(surface, m, h) for m, h in zip(minima, hessian, strict=True)])

    @staticmethod
    def _probed(surface: ReducedEnergy, minimum: Floats, hessian: Floats) -> float:
        generator, dim = np.random.default_rng(0), len(minimum)
        values, vectors = np.linalg.eigh(hessian)
        rays = np.concatenate([np.eye(dim), -np.eye(dim), generator.standard_normal((_RAYS, dim))])
        good = len(_RADII)
        for round_ in range(_ROUNDS + 1):
            rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
            offset = _RADII[:good, None, None] * (rays / np.sqrt(values) @ vectors.T)
            gradient = surface.gradient((minimum + offset).reshape(-1, dim)).reshape(offset.shape)
            # one for a harmonic well, negative where the flow leaves
            pull = (gradient * (offset @ hessian)).sum(-1) / ((offset @ hessian) ** 2).sum(-1)
            inwards = (pull > 0).all(-1)
            good = int(np.argmin(inwards)) if not inwards.all() else good
            if not good:
                return 0.2 * float(_RADII[0])
            worst = rays[np.argsort(pull[:good].min(0))[:_WORST]]
            spread = generator.standard_normal((_RAYS // _WORST, _WORST, dim)) / np.sqrt(dim)
            rays = (worst + 0.6 / (1.0 + round_) * spread).reshape(-1, dim)
        return _SAFETY * float(_RADII[good - 1])

    def deviations(self, points: Floats) -> Floats:
        """Distance of points ``(n, d)`` from every minimum in its standard deviations, ``(n, minima)``."""
        pairs = zip(self.minima, self._root, strict=True)
        return np.stack([np.linalg.norm((points - m) @ root.T, axis=-1) for m, root in pairs], -1)

    def owner(self, points: Floats) -> Integers:
        """Minimum in whose ellipsoid points ``(n, d)`` lie, ``(n,)``; -1 outside all."""
        relative = self.deviations(points) / self.reach
        nearest = relative.argmin(-1)
        return np.where(relative.min(-1) < 1.0, nearest, -1)


def inward_reach(surface: ReducedEnergy, minima: Floats) -> Floats:
    """Radius of a ball around each minimum in which the force points inwards in all directions probed."""
    generator = np.random.default_rng(0)
    direction = generator.standard_normal((_BALL_RAYS, minima.shape[1]))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    apart = np.linalg.norm(minima[:, None] - minima, axis=-1)
    np.fill_diagonal(apart, np.inf)
    widths = 1.0 / np.sqrt(np.linalg.eigvalsh(surface.slope_and_curvature(minima)[1])[:, 0])
    reach = np.empty(len(minima))
    for index, minimum in enumerate(minima):
        furthest = min(0.5 * float(apart[index].min()), 3.0 * float(widths[index]))
        radii = furthest * (1.0 + np.arange(_BALL_RADII)) / _BALL_RADII
        points = minimum + radii[:, None, None] * direction
        gradient = surface.gradient(points.reshape(-1, minima.shape[1])).reshape(points.shape)
        inwards = ((gradient * direction).sum(-1) > 0).all(-1)
        good = int(np.argmin(inwards)) if not inwards.all() else _BALL_RADII
        reach[index] = 0.8 * radii[good - 1] if good else 0.4 * radii[0]
    return reach
