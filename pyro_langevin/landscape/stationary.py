"""Occupancy of the states under the Boltzmann law, by several estimators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape.annealing import annealed_occupancy
from pyro_langevin.landscape.importance import importance_occupancy
from pyro_langevin.landscape.minimum_bumps import harmonic_occupancy
from pyro_langevin.landscape.quadrature import occupancy_1d
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats


@dataclass(frozen=True, eq=False)
class StationaryOccupancy:
    """Probability of each state under ``exp(-beta U)``, by several estimators; the first is the one to trust.

    Attributes:
        estimator: Names, ``(e,)``.
        value: ``(n, e)``, columns sum to one.
        error: Standard errors ``(n, e)``: zero for quadrature, NaN where there is no telling.
        effective_samples: Effective number of samples of the sampled estimators, ``(e,)``: infinite for quadrature, NaN
            for harmonic weights.
    """

    estimator: tuple[str, ...]
    value: Floats
    error: Floats
    effective_samples: Floats

    @property
    def occupancy(self) -> Floats:
        """By the estimator to trust, ``(n,)``."""
        return self.value[:, 0]

    @property
    def standard_error(self) -> Floats:
        """Of the estimator to trust, ``(n,)``."""
        return self.error[:, 0]

    @property
    def disagreement(self) -> Floats:
        """Largest difference of any state's occupancy from that of the estimator to trust, ``(e,)``."""
        return np.asarray(np.abs(self.value - self.value[:, :1]).max(0))

    @property
    def z(self) -> Floats:
        """That difference in standard errors, the largest of any state, ``(e,)``; NaN where an error is not known."""
        apart = np.abs(self.value - self.value[:, :1])
        error = np.sqrt(self.error**2 + self.error[:, :1] ** 2)
        ratio = np.divide(apart, error, out=np.zeros_like(apart), where=(error > 0) | np.isnan(error))
        return np.asarray(ratio.max(0))


def stationary_occupancy(
    landscape: Landscape, *, samples: int = 10_000, seed: int = 0
) -> StationaryOccupancy:
    """Occupancy of the states under the Boltzmann law, by two estimators and Laplace's approximation.

    Up to three dimensions ``integral`` (quadrature to 1e-8 on a line; above the sum over the grid, of the order of
    5e-4, the cells along dividing lines) and ``sampled``: importance sampling from Student-t bumps at the minima.
    Above, ``tempered`` (annealed from the bumps to the potential, its error from independent replicas) and
    ``importance`` (the bumps alone). Last ``laplace``: harmonic weights of the minima, whose error nobody knows.

    Where the first two differ by more than their errors, the states do not hold all that matters, or more samples are
    needed.

    Args:
        landscape: The landscape.
        samples: Number of samples of each sampled estimator.
        seed: Seed of the samples.
    """
    generator = np.random.default_rng(seed)
    sampled = importance_occupancy(landscape, samples, generator)
    laplace = harmonic_occupancy(landscape)
    if landscape.grid is None:
        names = "tempered", "importance", "laplace"
        annealed = annealed_occupancy(landscape, samples, generator)
        first, error, effective = annealed.value, annealed.error, annealed.effective_samples
    else:
        names = "integral", "sampled", "laplace"
        first = occupancy_1d(landscape) if landscape.dim == 1 else occupancy_on_grid(landscape.grid, landscape.n_states)
        error, effective = np.zeros_like(first), np.inf
    return StationaryOccupancy(
        estimator=names,
        value=np.stack([first, sampled.value, laplace], -1),
        error=np.stack([error, sampled.error, np.full_like(laplace, np.nan)], -1),
        effective_samples=np.array([effective, sampled.effective_samples, np.nan]),
    )


def occupancy_on_grid(grid: EnergyGrid, states: int) -> Floats:
    """Probability of each state by the sum over cells, ``(states,)``."""
    weight = np.bincount(grid.basin.ravel(), np.exp(-grid.energy).ravel(), minlength=states)
    return np.asarray(weight / weight.sum())
