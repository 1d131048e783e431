"""Occupancy by importance sampling from bumps at the minima."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape.minimum_bumps import bumps_at_minima
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats


@dataclass(frozen=True, eq=False)
class SampledOccupancy:
    """Occupancy from samples.

    Attributes:
        value: ``(n,)``, sums to one.
        error: Standard error, ``(n,)``.
        effective_samples: Effective number of samples behind it.
    """

    value: Floats
    error: Floats
    effective_samples: float


def importance_occupancy(
    landscape: Landscape, samples: int, generator: np.random.Generator
) -> SampledOccupancy:
    """Occupancy by importance sampling from Student-t bumps at the minima; Monte Carlo."""
    bumps = bumps_at_minima(landscape)
    points = bumps.draw(samples, generator)
    log_ratio = bumps.energy(points) - landscape.surface(points)
    ratio = np.exp(log_ratio - log_ratio.max())
    inside = landscape.basin(points)[:, None] == np.arange(landscape.n_states)
    value = (ratio[:, None] * inside).sum(0) / ratio.sum()
    # delta method for a ratio of means
    error = np.sqrt(((ratio[:, None] * (inside - value)) ** 2).sum(0)) / ratio.sum()
    return SampledOccupancy(value, error, float(ratio.sum() ** 2 / (ratio**2).sum()))
