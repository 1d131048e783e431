"""Occupancy of the states under the Boltzmann law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape.quadrature import occupancy_1d
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats

_FREEDOM = 6.0  # degrees of freedom of the proposals: heavier tails than any confining well's


@dataclass(frozen=True, eq=False)
class StationaryOccupancy:
    """Probability of each state under ``exp(-beta U)``.

    Attributes:
        occupancy: ``(n,)``, sums to one.
        standard_error: Monte Carlo error ``(n,)``; zero for quadrature.
        effective_samples: Effective number of samples behind it; infinite for quadrature.
    """

    occupancy: Floats
    standard_error: Floats
    effective_samples: float


def stationary_occupancy(
    landscape: Landscape, *, samples: int = 10_000, seed: int = 0
) -> StationaryOccupancy:
    """Occupancy of the states under the Boltzmann law.

    Quadrature in one dimension (1e-8), the grid in two and three (of the order of 5e-4, the cells along
    dividing lines), and above importance sampling from Student-t bumps at the minima, with its Monte Carlo
    error.

    Args:
        landscape: The landscape.
        samples: Number of samples above three dimensions.
        seed: Seed of the samples.
    """
    if landscape.dim == 1:
        return _exact(occupancy_1d(landscape))
    if landscape.grid is not None:
        return _exact(occupancy_on_grid(landscape.grid, landscape.n_states))
    return _importance_sampled(landscape, samples, np.random.default_rng(seed))


def occupancy_on_grid(grid: EnergyGrid, states: int) -> Floats:
    """Probability of each state by the sum over cells, ``(states,)``."""
    weight = np.bincount(grid.basin.ravel(), np.exp(-grid.energy).ravel(), minlength=states)
    return np.asarray(weight / weight.sum())


def _exact(value: Floats) -> StationaryOccupancy:
    return StationaryOccupancy(value, np.zeros_like(value), np.inf)


def _importance_sampled(
    landscape: Landscape, samples: int, generator: np.random.Generator
) -> StationaryOccupancy:
    dim, minima = landscape.dim, landscape.minimum
    _, hessian = landscape.surface.slope_and_curvature(minima)
    roots = np.linalg.cholesky(hessian)  # z = minimum + root^-T t has the local covariance
    log_det = 2.0 * np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(-1)
    log_weight = -landscape.beta_energy - 0.5 * log_det
    # half by the Laplace weights, half evenly: rare states get samples enough for their own error
    share = np.exp(log_weight - log_weight.max())
    share = 0.5 * share / share.sum() + 0.5 / len(share)
    source = generator.choice(len(share), samples, p=share)
    scale = np.sqrt(_FREEDOM / generator.chisquare(_FREEDOM, samples))
    noise = generator.standard_normal((samples, dim)) * scale[:, None]
    points = minima[source] + np.linalg.solve(np.swapaxes(roots[source], -1, -2), noise[..., None])[..., 0]
    offset = np.einsum("kij,nki->nkj", roots, points[:, None] - minima)
    log_proposal = 0.5 * log_det - 0.5 * (_FREEDOM + dim) * np.log1p((offset**2).sum(-1) / _FREEDOM)
    log_ratio = -landscape.surface(points) - np.logaddexp.reduce(np.log(share) + log_proposal, axis=-1)
    ratio = np.exp(log_ratio - log_ratio.max())
    basin = landscape.basin(points)
    inside = basin[:, None] == np.arange(landscape.n_states)
    value = (ratio[:, None] * inside).sum(0) / ratio.sum()
    # delta method for a ratio of means
    error = np.sqrt(((ratio[:, None] * (inside - value)) ** 2).sum(0)) / ratio.sum()
    return StationaryOccupancy(value, error, float(ratio.sum() ** 2 / (ratio**2).sum()))
