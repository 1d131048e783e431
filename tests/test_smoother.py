"""Exact posterior paths against closed forms: linear-Gaussian smoothing, Bayes' rule and the evidence."""

from __future__ import annotations

import resource

import pytest
import torch
from linear_gaussian import OrnsteinUhlenbeck
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyro_langevin.datasets import DOUBLE_WELL
from pyro_langevin.dynamics import Overdamped
from pyro_langevin.emissions import GaussianEmission
from pyro_langevin.grid_filter import StateGrid, grid_log_evidence, sample_smoothed
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.potentials import QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell

SIGMAS = 4.5


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def linear(dim: int) -> tuple[LangevinModel, OrnsteinUhlenbeck]:
    """An Ornstein-Uhlenbeck process seen directly, with noise, in every coordinate."""
    stiffness = torch.tensor([[1.4, 0.5], [0.5, 1.0]])[:dim, :dim]
    centre, covariance = torch.tensor([0.3, -0.1])[:dim], 0.4 * torch.eye(dim)
    process = OrnsteinUhlenbeck(stiffness, centre, 0.8, 1.2, torch.zeros(dim), covariance)
    emission = GaussianEmission(dim, dim)
    initial = MixtureInitial(dim, 1)
    with torch.no_grad():
        emission.decoder.weight.copy_(torch.eye(dim))
        emission.decoder.bias.zero_()
        emission.noise = torch.full((dim,), 0.5)
        initial.centres.zero_()
        initial.log_widths.fill_(0.5 * torch.tensor(0.4).log())
    potential = QuadraticPotential(dim, centre, stiffness=stiffness)
    dynamics = Overdamped(potential, friction=torch.tensor(0.8), temperature=torch.tensor(1.2))
    return LangevinModel(dynamics, emission, initial=initial), process


def grid_over(dim: int) -> StateGrid:
    if dim == 1:
        return StateGrid.around(-4.5, 4.5, size=300, margin=0.0)
    return StateGrid.covering(torch.cartesian_prod(*[torch.linspace(-4.0, 4.0, 60)] * 2), size=1100)


def exact_smoother(process: OrnsteinUhlenbeck, times: Tensor, values: Tensor) -> MultivariateNormal:
    prior = process.path_law(times)
    gain = prior.covariance_matrix @ torch.linalg.inv(prior.covariance_matrix + 0.25 * torch.eye(values.numel()))
    mean = prior.mean + gain @ (values.flatten() - prior.mean)
    covariance = prior.covariance_matrix - gain @ prior.covariance_matrix
    return MultivariateNormal(mean, 0.5 * (covariance + covariance.mT))


@pytest.mark.parametrize(("dim", "uniform"), [(1, True), (1, False), (2, True)])
def test_draws_of_a_linear_model_follow_the_exact_smoother(dim: int, uniform: bool) -> None:
    model, process = linear(dim)
    times = 0.4 * torch.arange(12.0) if uniform else (0.1 + torch.rand(12)).cumsum(0)
    values = torch.randn(12, dim)
    law = exact_smoother(process, times, values)
    grid = grid_over(dim)
    draws = sample_smoothed(model, Observations(values[None], times), grid, 3000)
    z = draws.z[:, 0].flatten(1)
    error = law.variance.sqrt() / len(z) ** 0.5
    cell = grid.spacing**2 / 12
    assert float(((z.mean(0) - law.mean) / (error + 0.1 * cell)).abs().max()) < SIGMAS
    # a state is uniform in its cell, which adds the cell's own variance
    torch.testing.assert_close(z.T.cov(), law.covariance_matrix + cell * torch.eye(12 * dim), rtol=0.0, atol=0.04)


def test_a_path_has_the_posterior_density_of_bayes_rule() -> None:
    """log q = log p(z, y) - log p(y), with the closed-form transition density of the process."""
    model, process = linear(1)
    times, values = 0.5 * torch.arange(6.0), torch.randn(6, 1)
    draws = sample_smoothed(model, Observations(values[None], times), grid_over(1), 200)
    z = draws.z[:, 0, :, 0]
    joint = process.path_law(times).log_prob(z)
    joint = joint + torch.distributions.Normal(z, 0.5).log_prob(values[:, 0]).sum(-1)
    difference = joint - draws.log_evidence - draws.log_q[:, 0]
    # states lie anywhere in their cells while q is that of the centres: unbiased up to second order
    assert abs(float(difference.mean())) < SIGMAS * float(difference.std()) / 200**0.5 + 0.02


def test_the_evidence_is_that_of_the_filter() -> None:
    model, _ = linear(1)
    data = Observations([torch.randn(5, 1), torch.randn(8, 1)])
    grid = grid_over(1)
    found = sample_smoothed(model, data, grid, 2).log_evidence
    torch.testing.assert_close(found, grid_log_evidence(model, data, grid).detach())


def test_a_padded_series_is_drawn_like_the_series_alone() -> None:
    model, _ = linear(1)
    short, long = torch.randn(5, 1), torch.randn(9, 1)
    grid = grid_over(1)
    together = sample_smoothed(model, Observations([short, long]), grid, 4000).z[:, 0, :5, 0]
    alone = sample_smoothed(model, Observations([short]), grid, 4000).z[:, 0, :, 0]
    error = (together.var(0) / 4000 + alone.var(0) / 4000).sqrt()
    assert float(((together.mean(0) - alone.mean(0)) / error).abs().max()) < SIGMAS


def test_unobserved_paths_hop_as_the_double_well_does() -> None:
    """With nothing seen but noise, the posterior is the prior: its autocorrelation decays at the known rate."""
    model = LangevinModel(Overdamped(DoubleWell(), friction=1.0), GaussianEmission(1, 1))
    values = torch.full((1, 60, 1), torch.nan)
    values[0, :2, 0] = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        model.emission.noise = torch.tensor([1e6])
    z = sample_smoothed(model, Observations(values, 0.5 * torch.arange(60.0)), StateGrid.around(-2.2, 2.2), 4000).z
    side = z[:, 0, :, 0].sign()
    lags = torch.arange(5, 30)
    pairs = torch.stack([(side[:, 20:-lag] * side[:, 20 + lag :]).mean() for lag in lags])
    slope = torch.linalg.lstsq(torch.stack([lags * 0.5, torch.ones(25)], -1), pairs.log()[:, None]).solution[0]
    assert -1.0 / float(slope) == pytest.approx(DOUBLE_WELL.timescales[0], rel=0.12)


@pytest.mark.slow
def test_drawing_many_long_series_takes_memory_for_the_weights_of_one_row() -> None:
    """At 14 MB a row: where each row left a hole of its own size in memory, this took 20 GB."""
    torch.set_default_dtype(torch.float32)
    model = LangevinModel(Overdamped(QuadraticPotential(1)), GaussianEmission(1, 1))
    data = Observations(torch.randn(75, 2000, 1))
    model.initialise(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    drawn = sample_smoothed(model, data, StateGrid.around(-4.0, 4.0, size=240, margin=0.0), 100).z
    assert drawn.shape == (100, 75, 2000, 1)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20 < 2.0  # GB
