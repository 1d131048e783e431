"""The exact control where it is known: Brownian motion, a linear problem, a posterior with two branches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, exact_posterior, kalman_log_evidence
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

from pyro_langevin.dynamics import LocalLinearization, Overdamped, Scheme, Transition
from pyro_langevin.paths import Control, ControlledPath, Controls, LangevinPath
from pyro_langevin.potentials import QuadraticPotential
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@dataclass(frozen=True)
class Brownian:
    """Brownian motion: dynamics without a force."""

    dim: int = 1

    def read(self) -> Brownian:
        return self

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        return Transition(z, step.sqrt().expand_as(z).unsqueeze(-1))


#: Tzen & Raginsky (2019): Brownian motion from 0 with its value at time 1 seen with this noise.
SEEN, BLUR = 1.4, 0.5


def follmer(z: Tensor, position: Tensor, context: Tensor) -> Control:
    """The optimal control in continuous time, with the optimal noise of a step left out."""
    return Control((context - z) / (1.0 - position + BLUR**2), torch.ones(()))


def tzen_raginsky_gap(n_steps: int) -> float:
    """Evidence minus bound of the chain with the continuous control, from its Gaussian moments."""
    h = 1.0 / n_steps
    mean, variance, divergence = 0.0, 0.0, 0.0
    for k in range(n_steps):
        gain = 1.0 / (1.0 - k * h + BLUR**2)
        divergence += 0.5 * h * gain**2 * ((SEEN - mean) ** 2 + variance)
        mean, variance = mean + h * gain * (SEEN - mean), (1.0 - h * gain) ** 2 * variance + h
    misfit = ((SEEN - mean) ** 2 + variance) / (2.0 * BLUR**2)
    bound = -misfit - 0.5 * math.log(2.0 * math.pi * BLUR**2) - divergence
    return float(dist.Normal(0.0, math.sqrt(1.0 + BLUR**2)).log_prob(torch.tensor(SEEN))) - bound


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_gap_of_the_mean_shift_closes_with_the_step(elbo: Callable[..., Trace_ELBO]) -> None:
    evidence = dist.Normal(0.0, math.sqrt(1.0 + BLUR**2)).log_prob(torch.tensor(SEEN))
    brownian, start = Brownian(), dist.Delta(torch.zeros(1)).to_event(1)
    gaps = {}
    for n_steps in (8, 32, 128):
        grid = torch.linspace(0.0, 1.0, n_steps + 1)
        controls = Controls(follmer, grid[:-1, None], torch.full((n_steps, 1), SEEN))

        def model(grid: Tensor = grid) -> None:
            with pyro.plate("series", 400):
                z = pyro.sample("z", LangevinPath(brownian, start, grid))
                pyro.sample("y", dist.Normal(z[..., -1, 0], BLUR), obs=torch.tensor(SEEN))

        def guide(grid: Tensor = grid, controls: Controls = controls) -> None:
            with pyro.plate("series", 400):
                pyro.sample("z", ControlledPath(brownian, start, grid, controls))

        with torch.no_grad():
            bounds = torch.tensor([-elbo().loss(model, guide) / 400 for _ in range(30)])
        error = float(bounds.std()) / math.sqrt(len(bounds))
        gaps[n_steps] = tzen_raginsky_gap(n_steps)
        assert abs(float(evidence - bounds.mean()) - gaps[n_steps]) < ALLOWED_ERRORS * error
    assert gaps[8] / gaps[32] == pytest.approx(4.0, rel=0.2)  # first order
    assert gaps[32] / gaps[128] == pytest.approx(4.0, rel=0.05)
    assert gaps[128] < 0.02


class OrnsteinUhlenbeckProblem:
    """An Ornstein-Uhlenbeck prior seen eight times, every .25, with noise .25; relaxation time .5."""

    def __init__(self, step: float, scheme: Scheme) -> None:
        self.process = OrnsteinUhlenbeck(
            torch.tensor([[2.0]]), torch.zeros(1), 1.0, 1.0, torch.zeros(1), torch.tensor([[0.5]])
        )
        self.emission = LinearEmission(torch.ones(1, 1), torch.zeros(1), torch.tensor([0.25]))
        self.grid = TimeGrid(0.25 * torch.arange(9.0), max_step=step)
        self.mask = torch.zeros(self.grid.n_points, 1, dtype=torch.bool)
        self.mask[self.grid.observed_index[1:]] = True
        self.values = torch.randn(self.grid.n_points, 1)
        problem = self.process, self.emission, self.grid.times, self.values, self.mask
        self.evidence, self.answer = kalman_log_evidence(*problem), exact_posterior(*problem)
        self.dynamics = Overdamped(QuadraticPotential(1, stiffness=2.0), friction=1.0, scheme=scheme)

    def controls(self, *, damped: bool) -> Controls:
        """The exact posterior as a control: it pulls every step towards what the future says."""
        h = self.grid.steps.unsqueeze(-1)
        flow, variance = (-2.0 * h).exp(), 0.5 * -torch.expm1(-4.0 * h)
        precision, information = self.answer.precision[1:, 0], self.answer.information[1:]

        def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
            flow, variance, precision, information, h = position.unbind(-1)
            denominator = 1.0 + precision * variance
            kick = variance.sqrt() * (information - precision * flow * z[..., 0]) / denominator
            r = denominator.rsqrt() if damped else torch.ones_like(denominator)
            return Control((kick / h.sqrt()).unsqueeze(-1), r.unsqueeze(-1))

        told = torch.cat([flow, variance, precision, information, h], -1)
        return Controls(law, told, torch.zeros(len(h), 0))

    def price_of_no_damping(self) -> float:
        """``sum (P s^2 - ln(1 + P s^2))/2``: what the best control loses when it may not damp the noise."""
        strength = self.answer.precision[1:, 0, 0] * 0.5 * -torch.expm1(-4.0 * self.grid.steps)
        return float(0.5 * (strength - strength.log1p()).sum())

    def bounds(self, *, damped: bool, draws: int) -> Tensor:
        first = dist.MultivariateNormal(self.answer.first_mean, self.answer.first_covariance)
        path = ControlledPath(self.dynamics, first, self.grid, self.controls(damped=damped))
        start = dist.MultivariateNormal(torch.zeros(1), torch.tensor([[0.5]]))
        prior = LangevinPath(self.dynamics, start, self.grid)
        with torch.no_grad():
            z = path.rsample(torch.Size([draws]))
            seen = (dist.Normal(z, 0.25).log_prob(self.values) * self.mask).sum((-2, -1))
            return prior.log_prob(z) + seen - path.log_prob(z)


@pytest.mark.parametrize("step", [0.05, 0.125, 0.25])
def test_the_exact_control_has_no_gap_and_no_variance(step: float) -> None:
    problem = OrnsteinUhlenbeckProblem(step, LocalLinearization())
    bounds = problem.bounds(damped=True, draws=20)
    torch.testing.assert_close(bounds, problem.evidence.expand(20), rtol=0, atol=1e-8)
    assert float(bounds.std()) < 1e-8


@pytest.mark.parametrize(("step", "price"), [(0.05, 2.98), (0.125, 7.75)])
def test_forbidding_the_noise_multiplier_costs_nats(step: float, price: float) -> None:
    problem = OrnsteinUhlenbeckProblem(step, LocalLinearization())
    assert problem.price_of_no_damping() == pytest.approx(price, abs=0.005)
    bounds = problem.bounds(damped=False, draws=4000)
    error = float(bounds.std()) / math.sqrt(len(bounds))
    assert abs(float(problem.evidence - bounds.mean()) - price) < ALLOWED_ERRORS * error


def test_one_control_holds_both_branches_of_a_posterior() -> None:
    """Brownian motion whose end is seen at +1.5 or -1.5, no one knows which: the control chooses on the way."""
    far, n_steps = 1.5, 200
    blur = 0.3

    def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
        left = 1.0 - position + blur**2
        ends = torch.tensor([far, -far])
        chosen = torch.softmax(-0.5 * (ends - z).square() / left, -1)
        r = (1.0 + (1.0 / n_steps) / (left - 1.0 / n_steps)).rsqrt()  # exact within a branch
        return Control((chosen * (ends - z)).sum(-1, keepdim=True) / left, r)

    times = torch.linspace(0.0, 1.0, n_steps + 1)
    start, brownian = dist.Delta(torch.zeros(1)).to_event(1), Brownian()
    path = ControlledPath(brownian, start, times, Controls(law, times[:-1, None], torch.zeros(n_steps, 0)))
    prior = LangevinPath(brownian, start, times)
    with torch.no_grad():
        z = path.rsample(torch.Size([4000]))
        end = z[..., -1, 0]
        seen = torch.logaddexp(dist.Normal(far, blur).log_prob(end), dist.Normal(-far, blur).log_prob(end))
        bounds = prior.log_prob(z) + seen - path.log_prob(z)
    evidence = math.log(2.0) + float(dist.Normal(0.0, math.sqrt(1.0 + blur**2)).log_prob(torch.tensor(far)))
    error = float(bounds.std()) / math.sqrt(len(bounds))
    gap = evidence - float(bounds.mean())
    assert -ALLOWED_ERRORS * error < gap < 0.05 + ALLOWED_ERRORS * error  # one branch alone owes ln 2
    upper = float((end > 0).double().mean())
    assert abs(upper - 0.5) < ALLOWED_ERRORS * 0.5 / math.sqrt(len(z))
    assert float(end.abs().mean()) > 1.2 and float((end.abs() < 0.5).double().mean()) < 0.02
