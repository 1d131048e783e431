"""Paths in a Pyro program of a user's own."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.optim import Adam  # type: ignore[attr-defined]
from ragged_series import CHANNELS
from torch import Tensor, nn
from traces import log_density

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def test_a_plain_pyro_program_with_a_hand_made_guide() -> None:
    pyro.set_rng_seed(2)
    times = torch.tensor([0.0, 0.3, 0.5, 1.1, 1.5])
    dynamics = pl.Overdamped(pl.QuadraticPotential(1, stiffness=1.0))
    initial = dist.Normal(torch.zeros(1), 1.0).to_event(1)
    decoder = nn.Linear(1, CHANNELS)
    n_series = 50
    truth = pl.LangevinPath(pl.Overdamped(pl.QuadraticPotential(1), friction=0.2), initial, times)
    y = truth.sample(torch.Size([n_series])) @ torch.tensor([[2.0, -1.0]]) + 0.2 * torch.randn(n_series, 5, CHANNELS)

    def model(y: Tensor | None = None) -> Tensor:
        pyro.module("dynamics", dynamics)
        pyro.module("decoder", decoder)
        with pyro.plate("series", n_series):
            z = pyro.sample("z", pl.LangevinPath(dynamics, initial, times))
            pyro.sample("y", dist.Normal(decoder(z), 0.3).to_event(2), obs=y)
        return z

    def guide(y: Tensor) -> Tensor:
        loc = pyro.param("loc", lambda: torch.zeros(5, n_series, 1))
        memory = pyro.param("memory", lambda: torch.full((4, 1, 1), 0.5), constraint=dist.constraints.unit_interval)
        deviation = pyro.param("deviation", lambda: torch.full((5, 1, 1), 0.4), constraint=dist.constraints.positive)
        with pyro.plate("series", n_series):
            path = pl.GaussMarkovPath(
                loc, memory.expand(4, n_series, 1), deviation.expand(5, n_series, 1), pl.TimeGrid(times)
            )
            return pyro.sample("z", path)

    svi = SVI(model, guide, Adam({"lr": 0.03}), Trace_ELBO())
    losses = [svi.step(y) for _ in range(150)]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert dynamics.diffusion.item() > 1.5  # started at 1, true 5 in the latent's own scale
    with torch.no_grad():
        prior = Predictive(model, num_samples=30)()
        spread = prior["y"].flatten(0, 2).std(0) / y.flatten(0, 1).std(0)
    assert prior["z"].shape == (30, n_series, 5, 1) and prior["y"].shape == (30, n_series, 5, CHANNELS)
    assert bool((spread > 0.5).all()) and bool((spread < 2.0).all())


def test_a_path_in_a_subsampling_plate_is_unbiased() -> None:
    times, n_series = torch.tensor([0.0, 0.4, 1.0]), 6
    dynamics = pl.Overdamped(pl.QuadraticPotential(2))
    initial = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    z = torch.randn(n_series, 3, 2)

    def program(rows: Tensor) -> None:
        with pyro.plate("series", n_series, subsample=rows):
            pyro.sample("z", pl.LangevinPath(dynamics, initial, times), obs=z[rows])

    parts = [log_density(program, torch.tensor(rows)) for rows in ([0, 4], [1, 2], [5, 3])]
    whole = pl.LangevinPath(dynamics, initial, times).log_prob(z).sum()
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
