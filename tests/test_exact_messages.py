"""The steered path with the exact posterior's messages: no gap, no gradient, and Pyro's bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from drawn_paths import IRREGULAR, dynamics_of, initial_of, kind_of_path, neural, normal, ornstein_uhlenbeck
from linear_gaussian import LinearEmission, exact_posterior, kalman_log_evidence
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from standard_errors import ALLOWED_ERRORS
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_langevin.paths import LangevinPath, Messages, SteeredPath
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


class Problem:
    """Ornstein-Uhlenbeck paths seen through noisy channels, some values missing, with the exact answers."""

    def __init__(self, dim: int, channels: int, max_step: float | None = None) -> None:
        self.process = ornstein_uhlenbeck(dim)
        self.emission = LinearEmission(torch.randn(channels, dim), torch.randn(channels), 0.3 + torch.rand(channels))
        self.grid = TimeGrid(IRREGULAR, max_step=max_step)
        seen = torch.rand(len(IRREGULAR), channels) < 0.7
        seen[2] = False
        values = torch.randn(len(IRREGULAR), channels)
        self.mask = torch.zeros(self.grid.n_points, channels, dtype=torch.bool)
        self.values = torch.zeros(self.grid.n_points, channels)
        self.mask[self.grid.observed_index], self.values[self.grid.observed_index] = seen, values
        times = self.grid.times
        self.evidence = kalman_log_evidence(self.process, self.emission, times, self.values, self.mask)
        self.answer = exact_posterior(self.process, self.emission, times, self.values, self.mask)
        self.dynamics = dynamics_of(self.process)
        self.centre, self.root = self.answer.centre, self.answer.root
        self.first_loc = self.answer.first_mean
        self.first_factor = torch.linalg.cholesky(self.answer.first_covariance)

    def parameters(self) -> list[Tensor]:
        return [self.centre, self.root, self.first_loc, self.first_factor]

    def model(self) -> None:
        z = pyro.sample("z", LangevinPath(self.dynamics, initial_of(self.process), self.grid))
        law = dist.Normal(z @ self.emission.weight.mT + self.emission.bias, self.emission.noise)
        pyro.sample("y", law.mask(self.mask).to_event(2), obs=self.values)

    def guide(self) -> None:
        first = dist.MultivariateNormal(self.first_loc, scale_tril=self.first_factor)
        pyro.sample("z", SteeredPath(self.dynamics, first, self.grid, Messages(self.centre, self.root)))


exact_problems = pytest.mark.parametrize(
    ("dim", "channels", "max_step"), [(1, 1, None), (1, 2, 0.15), (2, 1, None), (2, 3, 0.15), (3, 2, 0.5)]
)


@exact_problems
def test_bound_of_the_exact_guide_is_the_evidence(dim: int, channels: int, max_step: float | None) -> None:
    problem = Problem(dim, channels, max_step)
    losses = torch.tensor([Trace_ELBO().loss(problem.model, problem.guide) for _ in range(5)])
    torch.testing.assert_close(losses, -problem.evidence.expand(5), rtol=0, atol=1e-8)


@exact_problems
def test_sticking_the_landing_has_no_gradient_at_the_exact_guide(
    dim: int, channels: int, max_step: float | None
) -> None:
    problem = Problem(dim, channels, max_step)
    for parameter in problem.parameters():
        parameter.requires_grad_()
    Trace_ELBO().differentiable_loss(problem.model, problem.guide).backward()
    for parameter in problem.parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), rtol=0, atol=1e-7)


def test_elsewhere_its_gradient_is_right_on_average() -> None:
    problem = Problem(1, 1)
    problem.centre = (problem.centre + 0.3).requires_grad_()
    slopes: dict[str, Tensor] = {}
    for name, elbo in (("landing", Trace_ELBO()), ("divergence", TraceMeanField_ELBO())):
        drawn = []
        for _ in range(200):
            loss = elbo.differentiable_loss(problem.model, problem.guide)
            drawn.append(torch.autograd.grad(loss, problem.centre)[0].flatten())
        slopes[name] = torch.stack(drawn)
    means = {name: drawn.mean(0) for name, drawn in slopes.items()}
    error = sum(drawn.var(0) / len(drawn) for drawn in slopes.values())
    assert isinstance(error, Tensor)
    gap = (means["landing"] - means["divergence"]).abs()
    assert bool((gap < ALLOWED_ERRORS * error.sqrt() + 1e-9).all())
    assert float(means["landing"].abs().max()) > 10 * float(error.sqrt().max())


def test_mean_field_elbo_uses_the_registered_divergence() -> None:
    problem = Problem(2, 2, 0.2)
    problem.centre = problem.centre + 0.5
    pyro.set_rng_seed(5)
    loss = TraceMeanField_ELBO().loss(problem.model, problem.guide)
    pyro.set_rng_seed(5)
    first = dist.MultivariateNormal(problem.first_loc, scale_tril=problem.first_factor)
    path = SteeredPath(problem.dynamics, first, problem.grid, Messages(problem.centre, problem.root))
    z = path.rsample()
    law = dist.Normal(z @ problem.emission.weight.mT + problem.emission.bias, problem.emission.noise)
    seen = (law.log_prob(problem.values) * problem.mask).sum()
    start = first.log_prob(z[0]) - initial_of(problem.process).log_prob(z[0])
    by_hand = path.kl_along(z) + start - seen
    assert loss == pytest.approx(by_hand.item(), abs=1e-9)
    by_ratio = path.log_prob(z) - LangevinPath(problem.dynamics, initial_of(problem.process), problem.grid).log_prob(z)
    assert abs(loss - (by_ratio - seen).item()) > 1e-3  # the two estimators differ along one path


def test_divergence_between_paths_of_other_dynamics_is_not_claimed() -> None:
    path = kind_of_path("steered", 1, IRREGULAR)
    assert isinstance(path, SteeredPath)
    own = LangevinPath(path.source, normal(1), IRREGULAR)
    other = LangevinPath(neural(1), normal(1), IRREGULAR)
    with pytest.raises(NotImplementedError):
        kl_divergence(path, own)  # nothing was sampled yet
    path.rsample()
    assert bool(kl_divergence(path, own).isfinite())
    for wrong in (other, path):
        with pytest.raises(NotImplementedError):
            kl_divergence(path, wrong)


def test_mean_field_elbo_of_another_prior_falls_back_on_the_density_ratio() -> None:
    problem, stranger = Problem(1, 1), Problem(1, 1)
    problem_guide = problem.guide
    stranger.emission = problem.emission
    pyro.set_rng_seed(5)
    mean_field = TraceMeanField_ELBO().loss(stranger.model, problem_guide)
    pyro.set_rng_seed(5)
    assert mean_field == pytest.approx(Trace_ELBO().loss(stranger.model, problem_guide), abs=1e-9)


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_vectorised_particles(elbo: Callable[..., Trace_ELBO]) -> None:
    problem = Problem(2, 2)

    def model() -> None:
        with pyro.plate("series", 1):
            problem.model()

    def guide() -> None:
        with pyro.plate("series", 1):
            problem.guide()

    if elbo is Trace_ELBO:
        loss = elbo(num_particles=7, vectorize_particles=True).loss(model, guide)
        assert loss == pytest.approx(-problem.evidence.item(), abs=1e-8)
    else:
        drawn = [elbo(num_particles=50, vectorize_particles=True).loss(model, guide) for _ in range(20)]
        values = torch.tensor(drawn)
        error = float(values.std()) / math.sqrt(len(values))
        assert abs(float(values.mean()) + problem.evidence.item()) < ALLOWED_ERRORS * error
