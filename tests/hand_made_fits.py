"""Fits that nobody had to make: models with their true parameters, as ``fit`` returns them."""

from __future__ import annotations

import math

import numpy as np
import torch

import pyro_langevin as pl
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training import FittedMember


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


#: Covers the double well.
GRID = pl.StateGrid.around(-2.2, 2.2, size=150, margin=0.0)
