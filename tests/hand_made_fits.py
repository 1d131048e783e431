"""Fits that nobody had to make: models with their true parameters, or damaged ones, as ``fit`` returns them."""

from __future__ import annotations

import math

import numpy as np
import torch

import pyro_langevin as pl
from pyro_langevin.potentials import Potential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training import FittedMember

CELLS = {1: 160, 2: 50}


def fitted(*models: pl.LangevinModel, grid: pl.StateGrid | None) -> pl.FitResult:
    """A fit that nobody had to make."""
    guides = [pl.SteeredGuide(model, pl.RecurrentEncoder(obs_dim=model.emission.obs_dim, hidden=4)) for model in models]
    return pl.FitResult([FittedMember(i, m, g, grid=grid) for i, (m, g) in enumerate(zip(models, guides, strict=True))])


def start(loc: float, scale: float) -> pl.MixtureInitial:
    initial = pl.MixtureInitial(1, 1)
    with torch.no_grad():
        initial.centres.fill_(loc)
        initial.log_widths.fill_(math.log(scale))
    return initial


def well_model(barrier: float) -> pl.LangevinModel:
    emission = pl.GaussianEmission(1, 1)
    emission.noise = torch.tensor([0.3])
    assert isinstance(emission.decoder, torch.nn.Linear)
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.zero_()
    return pl.LangevinModel(pl.Overdamped(DoubleWell(barrier)), emission, initial=start(0.0, 1.0), max_step=0.05)


def well_data(n_series: int = 6, n_times: int = 60) -> pl.Observations:
    """Series of different lengths from 4 (z^2 - 1)^2, from both wells, seen with noise .3, a row missing."""
    wells = torch.tensor([[1.0], [-1.0]]).repeat(n_series, 1)[:n_series]
    random = np.random.default_rng(1)
    z = pl.simulate(
        pl.Overdamped(DoubleWell(4.0)), 0.2 * torch.arange(n_times), initial=wells, max_step=0.02,
        n_paths=n_series,
    ).numpy()  # fmt: skip
    values = [path[: n_times - 7 * (i % 4)] for i, path in enumerate(z + 0.3 * random.standard_normal(z.shape))]
    values[0][5] = np.nan
    return pl.Observations(values, [0.2 * np.arange(len(one)) for one in values])


def known_fit(
    potential: Potential, observations: pl.Observations, *, noise: float, diffusion: float = 1.0
) -> pl.FitResult:
    """A "fit" whose potential, diffusion and noise are given; latent coordinates are the channels themselves."""
    dim = potential.dim
    points = observations.values[observations.mask.all(-1)]
    emission, initial = pl.GaussianEmission(dim, dim), pl.MixtureInitial(dim, 8)
    with torch.no_grad():
        emission.decoder.weight.copy_(torch.eye(dim))
        emission.decoder.bias.zero_()
        emission.noise = torch.full((dim,), noise)
    initial.initialise(points[:: max(1, len(points) // 4000)])
    model = pl.LangevinModel(pl.Overdamped(potential, friction=1.0 / diffusion), emission, initial=initial)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(dim))
    grid = pl.StateGrid.covering(points, size=CELLS[dim])
    return pl.FitResult([FittedMember(0, model, guide, [0.0], ["evidence"], grid=grid)])


def diffused(
    gradient: object, *, n_series: int, n_times: int, gap: float, noise: float, seed: int, start: float = -1.0
) -> pl.Observations:
    """Noisy positions of a unit diffusion; half the series start at ``start`` and half at its mirror image."""
    random = np.random.default_rng(seed)
    first = np.where(np.arange(n_series) % 2 == 0, start, -start)[:, None]
    path = pl.datasets.simulate_overdamped(gradient, first, n_times=n_times, gap=gap, seed=random)  # type: ignore[arg-type]
    return pl.Observations(path + noise * random.normal(size=path.shape), gap * np.arange(n_times))


#: Covers the double well.
GRID = pl.StateGrid.around(-2.2, 2.2, size=150, margin=0.0)
