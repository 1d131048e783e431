"""Fits that need no fitting: models set to the truth, or damaged on purpose, with the exact posterior's grid."""

from __future__ import annotations

import numpy as np
import torch

import pyro_langevin as pl
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.potentials import Potential
from pyro_langevin.training.result import FittedMember

CELLS = {1: 160, 2: 50}


def known_fit(
    potential: Potential, observations: pl.Observations, *, noise: float, diffusion: float = 1.0
) -> pl.FitResult:
    """A "fit" whose potential, diffusion and noise are given; latent coordinates are the channels themselves."""
    dim = potential.dim
    points = observations.values[observations.mask.all(-1)]
    emission, initial = pl.GaussianEmission(dim, dim), MixtureInitial(dim, 8)
    with torch.no_grad():
        emission.decoder.weight.copy_(torch.eye(dim))
        emission.decoder.bias.zero_()
        emission.noise = torch.full((dim,), noise)
    initial.initialise(points[:: max(1, len(points) // 4000)])
    model = pl.LangevinModel(pl.Overdamped(potential, friction=1.0 / diffusion), emission, initial=initial)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(dim))
    grid = pl.StateGrid.covering(points, size=CELLS[dim])
    return pl.FitResult([FittedMember(0, model, guide, [0.0], ["evidence"], 0, grid)])


def diffused(
    gradient: object, *, n_series: int, n_times: int, gap: float, noise: float, seed: int, start: float = -1.0
) -> pl.Observations:
    """Noisy positions of a unit diffusion; half the series start at ``start`` and half at its mirror image."""
    random = np.random.default_rng(seed)
    first = np.where(np.arange(n_series) % 2 == 0, start, -start)[:, None]
    path = pl.datasets.simulate_overdamped(gradient, first, n_times=n_times, gap=gap, seed=random)  # type: ignore[arg-type]
    return pl.Observations(path + noise * random.normal(size=path.shape), gap * np.arange(n_times))
