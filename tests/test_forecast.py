"""The rest of a path given its beginning: exact densities, and forecasts with known answers."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import OrnsteinUhlenbeck
from pyro.contrib.forecast.util import prefix_condition as pyro_prefix_condition
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def prior(dim: int, times: Tensor | pl.TimeGrid, *batch: int) -> pl.LangevinPath:
    potential = pl.NeuralPotential(dim, 4)
    with torch.no_grad():
        potential.height.normal_()
    first = dist.Normal(torch.randn(*batch, dim), 0.5).to_event(1)
    return pl.LangevinPath(pl.Overdamped(potential, friction=0.5 + torch.rand(dim)), first, times)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("begun", [1, 3, 4])
def test_density_of_a_path_is_that_of_its_beginning_and_its_rest(dim: int, begun: int) -> None:
    times = torch.tensor([0.0, 0.1, 0.4, 0.5, 0.9])
    path = prior(dim, times, 3)
    z = torch.randn(7, 3, 5, dim)
    beginning, rest = z[..., :begun, :], z[..., begun:, :]
    whole = path.log_prob(z)
    # of the beginning alone: a path over the first times (of one point: the first state)
    if begun == 1:
        first = path.initial.log_prob(beginning[..., 0, :])
    else:
        first = pl.LangevinPath(path.source, path.initial, times[:begun]).log_prob(beginning)
    after = pl.prefix_condition(path, beginning)
    assert after.batch_shape == (7, 3) and after.event_shape == (5 - begun, dim)
    torch.testing.assert_close(first + after.log_prob(rest), whole)
    torch.testing.assert_close(pyro_prefix_condition(path, beginning).log_prob(rest), after.log_prob(rest))
    assert after.rsample(torch.Size([2])).shape == (2, 7, 3, 5 - begun, dim)
    forecast = after.rsample()
    (slope,) = torch.autograd.grad(forecast.sum(), [path.source.potential.weight])
    assert bool((slope != 0).any()) and bool(slope.isfinite().all())
    # in two goes
    if begun < 4:
        twice = pl.prefix_condition(after, rest[..., :1, :])
        once = pl.prefix_condition(path, z[..., : begun + 1, :])
        torch.testing.assert_close(twice.log_prob(rest[..., 1:, :]), once.log_prob(rest[..., 1:, :]))


def test_padded_series_rest_where_they_ended() -> None:
    grid = pl.TimeGrid(torch.rand(3, 5).cumsum(-1), torch.tensor([5, 2, 3]))
    path = prior(2, grid, 3)
    z = path.sample()
    after = pl.prefix_condition(path, z[:, :2])
    drawn = after.rsample(torch.Size([4]))
    assert torch.equal(drawn[:, 1], z[1, 1].expand(4, 3, 2))  # its two points are known already
    assert after.log_prob(z[:, 2:])[1] == 0.0
    alone = pl.LangevinPath(path.source, path.initial, grid)
    beginning = pl.LangevinPath(
        path.source, path.initial, pl.TimeGrid(grid.times[:, :2], torch.tensor([2, 2, 2]))
    ).log_prob(z[:, :2])
    torch.testing.assert_close(beginning + after.log_prob(z[:, 2:]), alone.log_prob(z))


def test_forecasts_of_a_linear_process_are_the_conditional_gaussian() -> None:
    process = OrnsteinUhlenbeck(
        torch.tensor([[1.2]]), torch.tensor([0.5]), 0.8, 1.3, torch.tensor([0.0]), torch.tensor([[0.6]])
    )
    times = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0, 1.8])
    dynamics = pl.Overdamped(pl.QuadraticPotential(1, 0.5, stiffness=1.2), friction=0.8, temperature=1.3)
    path = pl.LangevinPath(dynamics, dist.Normal(torch.zeros(1), math.sqrt(0.6)).to_event(1), times)
    known = torch.tensor([0.3, -0.8, 1.9])
    law = process.path_law(times)
    cross, block = law.covariance_matrix[3:, :3], law.covariance_matrix[:3, :3]
    gain = torch.linalg.solve(block, cross, left=False)
    mean = law.mean[3:] + gain @ (known - law.mean[:3])
    covariance = law.covariance_matrix[3:, 3:] - gain @ cross.mT
    after = pl.prefix_condition(path, known[:, None])
    z = torch.randn(9, 3)
    dense = torch.distributions.MultivariateNormal(mean, covariance)
    torch.testing.assert_close(after.log_prob(z[..., None]), dense.log_prob(z), rtol=1e-9, atol=1e-9)
    drawn = after.sample(torch.Size([20_000])).squeeze(-1)
    assert float(((drawn.mean(0) - mean) / (covariance.diagonal() / len(drawn)).sqrt()).abs().max()) < ALLOWED_ERRORS


def test_what_cannot_be_conditioned_is_refused() -> None:
    path = prior(1, torch.tensor([0.0, 0.1, 0.4]))
    for data in (torch.zeros(3, 1), torch.zeros(0, 1), torch.zeros(2, 2), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"expected data \(\*batch, n, 1\) with 1 <= n < 3 points"):
            pl.prefix_condition(path, data)
    said = pl.Messages(torch.zeros(2, 1), torch.zeros(2, 1, 1))
    steered = pl.SteeredPath(path.source, path.initial, torch.tensor([0.0, 0.1, 0.4]), said)
    with pytest.raises(TypeError, match="expected the prior's LangevinPath, got SteeredPath; draw from the guide"):
        pl.prefix_condition(steered, torch.zeros(1, 1))
