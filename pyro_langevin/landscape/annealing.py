"""Samples of the Boltzmann law by annealing from bumps at the minima, in any dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from pyro_langevin.landscape.importance import SampledOccupancy
from pyro_langevin.landscape.minimum_bumps import MinimumBumps, bumps_at_minima
from pyro_langevin.landscape.replicas import jackknife
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, LandscapeError, ReducedEnergy

_REPLICAS = 20
_KEEP = 0.8  # effective share of the samples after each rung
_MOST_RUNGS = 200
_MOVES = 2  # trajectories a rung ...
_LEAPS = 5  # ... of so many steps
_STRIDE = 0.6  # first step, in units of the stiffest direction's width
_ACCEPTANCE = 0.8


@dataclass(frozen=True, eq=False)
class AnnealedSamples:
    """Samples of the Boltzmann law ``exp(-beta U)`` from independent replicas.

    Attributes:
        points: ``(replica, m, dim)``, equally weighted within a replica.
        log_evidence: Log of each replica's estimate of the normalisation, up to one constant, ``(replica,)``.
        effective_samples: Product over rungs of the share that survived, times the number of samples.
    """

    points: Floats
    log_evidence: Floats
    effective_samples: float

    @property
    def weight(self) -> Floats:
        """Weight of each replica, ``(replica,)``; sums to one."""
        weight = np.exp(self.log_evidence - self.log_evidence.max())
        return np.asarray(weight / weight.sum())


def annealed_samples(landscape: Landscape, samples: int, generator: np.random.Generator) -> AnnealedSamples:
    """Samples of the Boltzmann law by sequential Monte Carlo from bumps at the minima.

    The energy turns from the bumps' into the potential's over a ladder whose rungs each keep four fifths of the
    effective samples; at each, samples are drawn anew by their weights and moved by Hamiltonian Monte Carlo. No barrier
    has to be crossed: weights of states come from the ladder (Neal 2001; Del Moral, Doucet and Jasra 2006).

    Args:
        landscape: The landscape.
        samples: In all, over 20 replicas.
        generator: Source of randomness.

    Raises:
        LandscapeError: If the potential is too unlike its harmonic wells.
    """
    size = max(2, samples // _REPLICAS)
    bumps = bumps_at_minima(landscape)
    # in order of the bumps, and drawn anew systematically: the counts of states then hardly fluctuate
    points = np.concatenate([bumps.draw_evenly(size, generator) for _ in range(_REPLICAS)])
    stiffest = np.linalg.norm(bumps.factor, ord=2, axis=(-2, -1)).max()
    law = _Ladder(bumps, landscape.surface, 0.0, _STRIDE / float(stiffest))
    evidence, survived = np.zeros(_REPLICAS), 1.0
    for _ in range(_MOST_RUNGS):
        gap = (landscape.surface(points) - bumps.energy(points)).reshape(_REPLICAS, size)
        rise = _next_rung(gap, 1.0 - law.share)
        log_weight = -rise * gap
        evidence += np.logaddexp.reduce(log_weight, axis=-1) - np.log(size)
        survived *= _effective(log_weight)
        law.share = min(1.0, law.share + rise)
        points = points[_resampled(log_weight, generator)]
        for _ in range(_MOVES):
            points = law.moved(points, generator)
        if law.share >= 1.0:
            return AnnealedSamples(points.reshape(_REPLICAS, size, -1), evidence, survived * _REPLICAS * size)
    raise LandscapeError(
        f"occupancy: {_MOST_RUNGS} rungs do not lead from harmonic wells to the potential; it is too unlike them"
    )


def annealed_occupancy(landscape: Landscape, samples: int, generator: np.random.Generator) -> SampledOccupancy:
    """Occupancy by annealing from bumps at the minima; Monte Carlo, its error by the jackknife over replicas."""
    drawn = annealed_samples(landscape, samples, generator)
    basin = landscape.basin(drawn.points)
    inside = (basin[..., None] == np.arange(landscape.n_states)).mean(1)
    weight = drawn.weight[:, None]
    value = (weight * inside).sum(0)
    without = (value - weight * inside) / (1.0 - weight)
    return SampledOccupancy(value, jackknife(without), drawn.effective_samples)


def _next_rung(gap: Floats, left: float) -> float:
    """How far to climb, at most ``left``, so that enough samples survive."""

    def excess(rise: float) -> float:
        return _effective(-rise * gap) - _KEEP

    return left if excess(left) >= 0 else float(brentq(excess, 0.0, left, xtol=1e-6 * left))


def _effective(log_weight: Floats) -> float:
    """Effective share of all samples ``(replica, m)``."""
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.mean() ** 2 / (weight**2).mean())


def _resampled(log_weight: Floats, generator: np.random.Generator) -> np.ndarray:
    """Rows drawn by weight within each replica ``(replica, m)``, systematically (Kitagawa 1996), ``(replica * m,)``."""
    replicas, size = log_weight.shape
    weight = np.exp(log_weight - log_weight.max(-1, keepdims=True))
    climbed = np.cumsum(weight, -1) / weight.sum(-1, keepdims=True)
    marks = (np.arange(size) + generator.random((replicas, 1))) / size
    rows = [np.searchsorted(one[:-1], mark) for one, mark in zip(climbed, marks, strict=True)]
    return np.concatenate([row + k * size for k, row in enumerate(rows)])


@dataclass(eq=False)
class _Ladder:
    """The law between the bumps and the potential, and the length of the steps on it."""

    bumps: MinimumBumps
    surface: ReducedEnergy
    share: float
    stride: float

    def energy(self, points: Floats) -> Floats:
        return (1.0 - self.share) * self.bumps.energy(points) + self.share * self.surface(points)

    def gradient(self, points: Floats) -> Floats:
        return (1.0 - self.share) * self.bumps.gradient(points) + self.share * self.surface.gradient(points)

    def moved(self, points: Floats, generator: np.random.Generator) -> Floats:
        """Points after one trajectory of Hamiltonian Monte Carlo each; adapts the step for the next."""
        momentum = generator.standard_normal(points.shape)
        stride = self.stride * generator.uniform(0.7, 1.3)  # no resonance with a well's own frequency
        before = self.energy(points) + 0.5 * (momentum**2).sum(-1)
        position = points
        momentum = momentum - 0.5 * stride * self.gradient(position)
        for leap in range(_LEAPS):
            position = position + stride * momentum
            momentum = momentum - (1.0 if leap < _LEAPS - 1 else 0.5) * stride * self.gradient(position)
        after = self.energy(position) + 0.5 * (momentum**2).sum(-1)
        accepted = np.log(generator.random(len(points))) < before - after
        self.stride *= float(np.exp(0.5 * (accepted.mean() - _ACCEPTANCE)))
        return np.where(accepted[:, None], position, points)
