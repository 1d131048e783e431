"""Student-t bumps at the minima: a law that can be drawn from and that covers the Boltzmann law's wells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, Integers

_FREEDOM = 6.0  # degrees of freedom: heavier tails than any confining well's


@dataclass(frozen=True, eq=False)
class MinimumBumps:
    """Mixture of Student-t laws with the local covariance of each minimum.

    Attributes:
        centre: Minima, ``(n, dim)``.
        factor: Cholesky factors of the Hessians there, ``(n, dim, dim)``.
        share: Weights, ``(n,)``.
    """

    centre: Floats
    factor: Floats
    share: Floats

    def draw(self, count: int, generator: np.random.Generator) -> Floats:
        """Independent points ``(count, dim)``."""
        return self._around(generator.choice(len(self.share), count, p=self.share), generator)

    def draw_evenly(self, count: int, generator: np.random.Generator) -> Floats:
        """Points ``(count, dim)`` of which each bump has its share to one point, in the order of the bumps."""
        marks = (np.arange(count) + generator.random()) / count
        return self._around(np.searchsorted(np.cumsum(self.share)[:-1], marks), generator)

    def _around(self, source: Integers, generator: np.random.Generator) -> Floats:
        count = len(source)
        scale = np.sqrt(_FREEDOM / generator.chisquare(_FREEDOM, count))
        noise = generator.standard_normal((count, self.centre.shape[1])) * scale[:, None]
        factor = np.swapaxes(self.factor[source], -1, -2)
        return np.asarray(self.centre[source] + np.linalg.solve(factor, noise[..., None])[..., 0])

    def energy(self, points: Floats) -> Floats:
        """Minus the log of the density, up to a constant, ``(m,)``."""
        return -np.asarray(np.logaddexp.reduce(self._log_terms(points)[0], axis=-1))

    def gradient(self, points: Floats) -> Floats:
        """Gradient of the energy, ``(m, dim)``."""
        terms, offset = self._log_terms(points)
        share = np.exp(terms - np.logaddexp.reduce(terms, axis=-1, keepdims=True))
        pull = (_FREEDOM + points.shape[-1]) * share / (_FREEDOM + (offset**2).sum(-1))
        return np.asarray(np.einsum("mk,mki,kji->mj", pull, offset, self.factor))

    def _log_terms(self, points: Floats) -> tuple[Floats, Floats]:
        """Log of each bump's part ``(m, n)``, and whitened offsets ``(m, n, dim)``."""
        dim = points.shape[-1]
        offset = np.einsum("kji,mkj->mki", self.factor, points[:, None] - self.centre)
        log_det = np.log(np.diagonal(self.factor, axis1=-2, axis2=-1)).sum(-1)
        tail = 0.5 * (_FREEDOM + dim) * np.log1p((offset**2).sum(-1) / _FREEDOM)
        return np.log(self.share) + log_det - tail, offset


def bumps_at_minima(landscape: Landscape) -> MinimumBumps:
    """Bumps with weights half harmonic and half even: rare states get samples enough for their own error."""
    hessian = landscape.surface.slope_and_curvature(landscape.minimum)[1]
    share = 0.5 * harmonic_occupancy(landscape) + 0.5 / landscape.n_states
    return MinimumBumps(landscape.minimum, np.asarray(np.linalg.cholesky(hessian), dtype=np.float64), share)


def harmonic_occupancy(landscape: Landscape) -> Floats:
    """Laplace's approximation of the occupancy ``(n,)``, by ``exp(-beta U) / sqrt(det H)`` at the minima.

    Its error is not known.
    """
    hessian = landscape.surface.slope_and_curvature(landscape.minimum)[1]
    log_weight = -landscape.beta_energy - 0.5 * np.linalg.slogdet(hessian)[1]
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())
