"""The gradient flow of a reduced energy, by an adaptive Rosenbrock method on many points at once."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.surface import Floats, ReducedEnergy

_GAMMA = 1.0 / (2.0 + np.sqrt(2.0))
_E32 = 6.0 + np.sqrt(2.0)
_MOST_CURVED = 0.3  # of 1 / |negative curvature|: a longer step would cross the pole of (1 + gamma h H)^-1


class GradientFlow:
    """Points that move along ``dz/dt = -grad(beta U)``, each by its own step in time.

    The modified Rosenbrock pair of orders 2 and 3 (Shampine and Reichelt 1997): stable in stiff valleys, one
    Hessian a step. Its error estimate is kept below ``tolerance`` in every step.

    Args:
        surface: Reduced energy.
        points: Where the points start, ``(n, d)``.
        tolerance: Largest error of a step, in units of the coordinates.
    """

    def __init__(self, surface: ReducedEnergy, points: Floats, *, tolerance: float) -> None:
        self._surface, self._tolerance = surface, tolerance
        self.position = points.copy()
        self._gradient, self._hessian = surface.slope_and_curvature(points)
        size = np.linalg.norm(self._gradient, axis=-1)
        stiffness = np.linalg.norm(self._hessian, axis=(-2, -1))
        self._step = 1.0 / np.maximum(stiffness, size / np.sqrt(tolerance))

    def keep(self, which: np.ndarray) -> None:
        """Go on with some of the points only."""
        self.position, self._step = self.position[which], self._step[which]
        self._gradient, self._hessian = self._gradient[which], self._hessian[which]

    def advance(self) -> None:
        """One attempted step of every point; those with too large an error stay where they are."""
        force, step = -self._gradient, self._step[:, None]
        unit = np.eye(force.shape[-1])
        inverse = np.linalg.inv(unit + _GAMMA * step[..., None] * self._hessian)
        first = _times(inverse, force)
        half = -self._surface.gradient(self.position + 0.5 * step * first)
        second = _times(inverse, half - first) + first
        trial = self.position + step * second
        gradient, hessian = self._surface.slope_and_curvature(trial)
        third = _times(inverse, -gradient - _E32 * (second - half) - 2.0 * (first - force))
        error = np.linalg.norm(step / 6.0 * (first - 2.0 * second + third), axis=-1) / self._tolerance
        good = error <= 1.0
        growth = 0.8 / np.cbrt(np.maximum(error, 1e-6))
        self._step = self._step * np.clip(np.where(np.isfinite(error), growth, 0.1), 0.1, 5.0)
        self.position[good], self._gradient[good], self._hessian[good] = trial[good], gradient[good], hessian[good]
        # where the energy curves downwards (1 + gamma h H) must stay invertible
        deepest = np.linalg.norm(np.minimum(np.linalg.eigvalsh(self._hessian), 0.0), axis=-1)
        self._step = np.minimum(self._step, _MOST_CURVED / (_GAMMA * np.maximum(deepest, 1e-300)))


def _times(matrix: Floats, vector: Floats) -> Floats:
    return np.asarray(np.einsum("nij,nj->ni", matrix, vector))
