"""Every emission in a model: training, draws, the exact evidence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from emission_cases import EMISSIONS, LATENT, SERIES, every_emission, gappy
from pyro.infer import Predictive, Trace_ELBO
from torch import nn

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_emission
@pytest.mark.parametrize("guide_class", [pl.SteeredGuide, pl.GaussMarkovGuide])
def test_a_model_trains_with_it(name: str, guide_class: type[Any]) -> None:
    build, values = EMISSIONS[name]
    data = gappy(values()[:, :6])
    model = pl.LangevinModel(pl.Overdamped(pl.MixturePotential(LATENT, 2)), build())
    guide = guide_class(model, pl.RecurrentEncoder(data.obs_dim, 5), hidden=8)
    guide.initialise(data, model.initialise(data))
    many = Trace_ELBO(num_particles=60, vectorize_particles=True, max_plate_nesting=1)
    one = Trace_ELBO(max_plate_nesting=1)
    with torch.no_grad():
        single = torch.tensor([one.loss(model, guide, data) for _ in range(30)])
        together = torch.tensor([many.loss(model, guide, data) for _ in range(3)])
    error = single.std() * (1.0 / 30.0 + 1.0 / 180.0) ** 0.5
    assert abs(together.mean() - single.mean()) < 5.0 * error
    trained = nn.ModuleList([model, guide])
    optimiser = torch.optim.Adam(trained.parameters(), lr=0.03)
    for _ in range(15):
        optimiser.zero_grad()
        many.differentiable_loss(model, guide, data).backward()
        optimiser.step()
    with torch.no_grad():
        assert many.loss(model, guide, data) < together.mean() - 5.0 * single.std() / 60.0**0.5
    assert Predictive(model, guide=guide, num_samples=3)(data)["z"].shape == (3, SERIES, 6, LATENT)


@every_emission
def test_a_fit_ends_in_draws_with_its_parameters(name: str) -> None:
    build, values = EMISSIONS[name]
    torch.set_default_dtype(torch.float32)
    data = gappy(values()[:, :12].float())
    emission = build()
    model = pl.LangevinModel(pl.Overdamped(pl.MixturePotential(LATENT, 3)), emission, max_step=0.5)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(data.obs_dim, 5), hidden=8)
    result = pl.fit(model, guide, data, steps=4, progress=False)
    drawn = pl.posterior(result, data, draws=3)
    reported = emission.parameters_in_data_units()
    assert reported and set(reported) <= set(drawn.posterior.data_vars)
    for parameter, (dims, value) in reported.items():
        found = drawn.posterior[parameter]
        assert found.dims == ("chain", "draw", *dims)
        torch.testing.assert_close(torch.from_numpy(found.values[0, 2]).float(), value.detach())
    assert drawn.states.location.shape[-1] == data.obs_dim


@every_emission
def test_the_exact_evidence_takes_it_in_one_dimension(name: str) -> None:
    """Rows so far apart that their states are independent: the evidence is a product of integrals."""
    data = pl.Observations(EMISSIONS[name][1]()[:, :8], 20.0 * torch.arange(8.0))
    emission = EMISSIONS[name][0](latent_dim=1)
    model = pl.LangevinModel(pl.Overdamped(pl.QuadraticPotential(1), friction=1.0), emission)
    model.initialise(data)
    grid = pl.StateGrid.around(-5.0, 5.0, size=400, margin=0.2)
    evidence = pl.grid_log_evidence(model, data, grid)
    evidence.sum().backward()
    assert all(bool(p.grad is not None and p.grad.isfinite().all()) for p in emission.parameters())
    with torch.no_grad():
        points = grid.points
        stationary = (-model.dynamics.potential.energy(points) / torch.as_tensor(model.dynamics.temperature)).softmax(0)
        law = stationary[:, None].repeat(1, 8)
        law[:, 0] = model.initial().log_prob(points).softmax(0)
        table = emission.log_likelihood_table(points, data.values, data.mask)
        expected = (table + law.log()[:, None]).logsumexp(0).sum(-1)
    torch.testing.assert_close(evidence, expected, rtol=1e-5, atol=1e-5)
