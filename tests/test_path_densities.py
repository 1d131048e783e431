"""Densities of paths against closed forms, and samples against densities."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from drawn_paths import (
    IRREGULAR,
    dynamics_of,
    every_kind,
    initial_of,
    kind_of_path,
    messages,
    neural,
    normal,
    ornstein_uhlenbeck,
)
from path_mass import assert_density_is_one_and_sampled
from standard_errors import ALLOWED_ERRORS
from torch.autograd import gradcheck
from torch.distributions import kl_divergence

from pyro_langevin.dynamics import EulerMaruyama, LocalLinearization, Overdamped, Scheme
from pyro_langevin.paths import GaussMarkovPath, LangevinPath, Messages, SteeredPath
from pyro_langevin.potentials.analytic import DoubleWell

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_density_of_a_linear_process_is_one_dense_gaussian(dim: int) -> None:
    process = ornstein_uhlenbeck(dim)
    path = LangevinPath(dynamics_of(process), initial_of(process), IRREGULAR)
    z = 1.5 * torch.randn(7, len(IRREGULAR), dim)
    dense = process.path_law(IRREGULAR)
    torch.testing.assert_close(path.log_prob(z), dense.log_prob(z.flatten(1)), rtol=1e-10, atol=1e-10)
    moved = path.rsample(torch.Size([20_000])).flatten(1)
    error = (moved.mean(0) - dense.mean) / (dense.variance / len(moved)).sqrt()
    assert float(error.abs().max()) < ALLOWED_ERRORS
    whitened = torch.linalg.solve_triangular(dense.scale_tril, (moved - dense.mean).mT, upper=False)
    spread = whitened @ whitened.mT / len(moved) - torch.eye(len(whitened))
    assert float(spread.abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / len(moved))


@pytest.mark.parametrize("dim", [1, 2])
def test_steered_density_of_a_linear_process_is_one_dense_gaussian(dim: int) -> None:
    process = ornstein_uhlenbeck(dim)
    said = messages(dim, len(IRREGULAR) - 1)
    path = SteeredPath(dynamics_of(process), initial_of(process), IRREGULAR, said)
    mean, loads = process.initial_mean, [torch.linalg.cholesky(process.initial_covariance)]
    rows, means = [torch.cat(loads, 1)], [mean]
    # states as linear maps of all noises so far: z' = A z + b + C noise
    for k, gap in enumerate(IRREGULAR.diff().tolist()):
        flow, gained = process.flow(gap), process.gained(gap)
        precision = said.root[k] @ said.root[k].mT
        covariance = torch.linalg.inv(torch.linalg.inv(gained) + precision)
        keep = covariance @ torch.linalg.inv(gained)
        free = process.centre + flow @ (mean - process.centre)
        mean = keep @ free + covariance @ precision @ said.centre[k]
        rows.append(torch.cat([keep @ flow @ rows[-1], torch.linalg.cholesky(covariance)], 1))
        means.append(mean)
    size = len(IRREGULAR) * dim
    factor = torch.cat([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in rows])
    dense = torch.distributions.MultivariateNormal(torch.cat(means), factor @ factor.mT)
    z = 1.5 * torch.randn(7, len(IRREGULAR), dim)
    torch.testing.assert_close(path.log_prob(z), dense.log_prob(z.flatten(1)), rtol=1e-9, atol=1e-9)


def test_gauss_markov_density_is_one_dense_gaussian() -> None:
    dim, size = 2, len(IRREGULAR)
    path = kind_of_path("Gauss-Markov", dim, IRREGULAR)
    assert isinstance(path, GaussMarkovPath)
    z = 1.5 * torch.randn(5, size, dim)
    total = torch.zeros(5)
    for i in range(dim):  # y = L kicks with L_jk = a_(j-1) ... a_k
        memory = path.memory[:, i]
        lower = torch.stack(
            [torch.stack([memory[k:j].prod() if k <= j else torch.zeros(()) for k in range(size)]) for j in range(size)]
        )
        factor = lower * path.deviation[:, i]
        law = torch.distributions.MultivariateNormal(path.mean_path[:, i], factor @ factor.mT)
        total = total + law.log_prob(z[..., i])
    torch.testing.assert_close(path.log_prob(z), total, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("scheme", [EulerMaruyama(), LocalLinearization()], ids=["Euler", "linearised"])
def test_density_integrates_to_one_and_samples_follow_it(steered: bool, scheme: Scheme) -> None:
    dynamics = Overdamped(DoubleWell(0.5, 0.3), friction=1.0, scheme=scheme)
    first, times = dist.Normal(torch.tensor([-0.3]), 0.35).to_event(1), torch.tensor([0.0, 0.12, 0.3])
    path = LangevinPath(dynamics, first, times)
    if steered:
        said = Messages(torch.tensor([[0.4], [-0.6]]), torch.tensor([[[1.5]], [[0.7]]]))
        path = SteeredPath(dynamics, first, times, said)
    assert_density_is_one_and_sampled(path)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("diagonal", [False, True])
def test_each_steered_step_is_the_prior_times_its_message(dim: int, diagonal: bool) -> None:
    dynamics = neural(dim, friction=0.3 + torch.rand(dim) if diagonal else None)
    said = messages(dim, 1)
    path = SteeredPath(dynamics, normal(dim), torch.tensor([0.0, 0.2]), said)
    z = torch.randn(6, 2, dim)
    prior = dynamics.transition(z[:, 0], torch.tensor(0.2))
    spread = prior.scale @ prior.scale.mT
    precision = said.root[0] @ said.root[0].mT
    covariance = torch.linalg.inv(torch.linalg.inv(spread) + precision)
    pull = torch.linalg.solve(spread, prior.mean.unsqueeze(-1)).squeeze(-1) + precision @ said.centre[0]
    law = torch.distributions.MultivariateNormal((covariance @ pull.unsqueeze(-1)).squeeze(-1), covariance)
    expected = path.initial.log_prob(z[:, 0]) + law.log_prob(z[:, 1])
    torch.testing.assert_close(path.log_prob(z), expected, rtol=1e-9, atol=1e-9)
    divergence = kl_divergence(law, torch.distributions.MultivariateNormal(prior.mean, spread))
    torch.testing.assert_close(path.kl_along(z), divergence, rtol=1e-9, atol=1e-9)
    tilt = Messages(said.centre[0], said.root[0]).tilt(z[:, 0], prior, torch.tensor(0.2))
    noise = torch.randn(6, dim)
    kick = tilt.apply(noise)
    standard = -0.5 * (kick.square().sum(-1) + dim * math.log(2 * math.pi))
    torch.testing.assert_close(tilt.log_ratio(kick, noise), standard - tilt.log_prob(kick), rtol=1e-9, atol=1e-9)


@every_kind
def test_density_is_differentiable_by_the_path(kind: str) -> None:
    path = kind_of_path(kind, 2, IRREGULAR[:4])
    assert gradcheck(path.log_prob, (torch.randn(2, 4, 2, requires_grad=True),))


def test_gauss_markov_path_samples_follow_its_density() -> None:
    path = kind_of_path("Gauss-Markov", 1, IRREGULAR)
    assert isinstance(path, GaussMarkovPath)
    z = path.rsample(torch.Size([20_000]))
    residual = (z - path.mean_path).squeeze(-1)
    kick = torch.cat([residual[:, :1], residual[:, 1:] - path.memory[:, 0] * residual[:, :-1]], 1)
    white = kick / path.deviation[:, 0]
    spread = white.mT @ white / len(white) - torch.eye(white.shape[1])
    assert float(white.mean(0).abs().max()) < ALLOWED_ERRORS / math.sqrt(len(white))
    assert float(spread.abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / len(white))
