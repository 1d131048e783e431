"""Brownian motion seen once, at its end (Tzen & Raginsky 2019): control, evidence and divergence in closed form.

``X_0 = 0``, ``y | X_1 ~ N(X_1, s²)``. The optimal control is ``u = (y - x)/(1 - t + s²)`` and the evidence
``N(y; 0, 1 + s²)``.
"""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import torchsde
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

from pyro_langevin.dynamics import AdditiveNoise, ItoDiffusion, to_torchsde
from pyro_langevin.paths import LangevinPath, Messages, SteeredPath
from pyro_langevin.paths.tilt import Tilt

NOISE, SEEN = 0.6, 1.3
EVIDENCE = -0.5 * (SEEN**2 / (1.0 + NOISE**2) + math.log(2.0 * math.pi * (1.0 + NOISE**2)))


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def brownian_motion() -> ItoDiffusion:
    return ItoDiffusion(torch.zeros_like, 1, noise=AdditiveNoise(1.0))


def control(t: Tensor, z: Tensor) -> Tensor:
    return (SEEN - z) / (1.0 - t + NOISE**2)


def controlled_path(n_steps: int, n_paths: int, *, narrowed: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A path steered by the optimal control, step by step.

    Args:
        n_steps: Equal steps over unit time.
        n_paths: Number of paths.
        narrowed: Whether the noise is that of the exact posterior's step, or the prior's.

    Returns:
        Path ``(n_steps + 1, n_paths, 1)``, its log density, its sum of divergences, and ``½ Σ u² h``, ``(n_paths,)``.
    """
    dynamics, step = brownian_motion().read(), torch.tensor([1.0 / n_steps])
    states = [torch.zeros(n_paths, 1)]
    log_density, divergence, energy = torch.zeros(n_paths), torch.zeros(n_paths), torch.zeros(n_paths)
    for k in range(n_steps):
        t = k * step
        u = control(t, states[-1])
        left = 1.0 - t + NOISE**2
        spread = ((left - step) / left).sqrt() if narrowed else torch.ones(1)
        matrix = spread.expand(n_paths, 1).unsqueeze(-1)
        tilt = Tilt(u * step.sqrt(), matrix, -2.0 * matrix[..., 0, 0].log())
        transition = dynamics.transition(states[-1], step)
        kick = tilt.apply(torch.randn(n_paths, 1))
        states.append(transition.apply(kick))
        log_density = log_density + tilt.log_prob(kick) - transition.log_abs_det()
        divergence = divergence + tilt.kl()
        energy = energy + 0.5 * u.square().sum(-1) * step
    return torch.stack(states), log_density, divergence, energy


def bound(path: Tensor, log_density: Tensor) -> Tensor:
    """``log p(y | x) + log p(x) - log q(x)`` of every path."""
    times = torch.linspace(0.0, 1.0, len(path))
    prior = LangevinPath(brownian_motion(), dist.Delta(torch.zeros(1), event_dim=1), times)
    seen = dist.Normal(path[-1, :, 0], NOISE).log_prob(torch.tensor(SEEN))
    return seen + prior.log_prob(path.movedim(0, -2)) - log_density


@pytest.mark.parametrize("n_steps", [1, 7, 200])
def test_divergences_of_the_steps_sum_to_half_the_squared_control(n_steps: int) -> None:
    _, _, divergence, energy = controlled_path(n_steps, 50, narrowed=False)
    torch.testing.assert_close(divergence, energy, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n_steps", [1, 7, 200])
def test_with_the_posteriors_own_noise_the_bound_is_the_evidence(n_steps: int) -> None:
    path, log_density, _, _ = controlled_path(n_steps, 50, narrowed=True)
    torch.testing.assert_close(bound(path, log_density), torch.full((50,), EVIDENCE), rtol=0, atol=1e-9)


def expected_bound(n_steps: int) -> float:
    """Mean of the bound with the prior's noise: the controlled chain is Gaussian, its moments follow by recursion."""
    step, mean, variance, energy = 1.0 / n_steps, 0.0, 0.0, 0.0
    for k in range(n_steps):
        pull = 1.0 / (1.0 - k * step + NOISE**2)
        energy += 0.5 * step * pull**2 * ((SEEN - mean) ** 2 + variance)
        mean, variance = mean + step * pull * (SEEN - mean), (1.0 - step * pull) ** 2 * variance + step
    misfit = ((SEEN - mean) ** 2 + variance) / NOISE**2
    return -0.5 * misfit - math.log(NOISE) - 0.5 * math.log(2.0 * math.pi) - energy


@pytest.mark.parametrize("n_steps", [2, 20])
def test_sampled_bound_has_its_expected_value(n_steps: int) -> None:
    path, log_density, divergence, _ = controlled_path(n_steps, 40_000, narrowed=False)
    ratio = bound(path, log_density)
    seen = dist.Normal(path[-1, :, 0], NOISE).log_prob(torch.tensor(SEEN))
    for estimate in (ratio, seen - divergence):
        error = float(estimate.std()) / math.sqrt(len(estimate))
        assert abs(float(estimate.mean()) - expected_bound(n_steps)) < ALLOWED_ERRORS * error


def test_gap_to_the_exact_evidence_vanishes_with_the_step() -> None:
    counts = [10, 20, 40, 80, 160]
    gaps = [EVIDENCE - expected_bound(n) for n in counts]
    assert min(gaps) > 0.0
    order = -np.polyfit(np.log(counts), np.log(gaps), 1)[0]
    assert order == pytest.approx(1.0, abs=0.1)
    # each step's posterior is narrower than the prior's by h/(1 - t + s²): the gap is h/4 ∫ dt/(1 - t + s²)²
    limit = 0.25 * (1.0 / NOISE**2 - 1.0 / (1.0 + NOISE**2))
    assert gaps[-1] * counts[-1] == pytest.approx(limit, rel=0.02)


def test_the_steered_family_contains_the_posterior() -> None:
    """The one observation as a message to every step: its precision is that of ``y`` given the state."""
    times = torch.linspace(0.0, 1.0, 9)
    precision = 1.0 / (1.0 - times[1:] + NOISE**2)
    messages = Messages(torch.full((8, 1), SEEN), precision.sqrt()[:, None, None])
    first = dist.Delta(torch.zeros(1), event_dim=1)
    posterior = SteeredPath(brownian_motion(), first, times, messages)
    path = posterior.rsample(torch.Size([50]))
    reached = bound(path.movedim(-2, 0), posterior.log_prob(path))
    torch.testing.assert_close(reached, torch.full((50,), EVIDENCE), rtol=0, atol=1e-9)


def test_torchsde_finds_the_same_divergence() -> None:
    """``logqp`` of torchsde's Euler scheme on the same Brownian motion is our sum of divergences."""
    n_paths, n_steps = 20, 64
    brownian = torchsde.BrownianInterval(0.0, 1.0, size=(n_paths, 1), dtype=torch.float64, entropy=1)
    ts = torch.linspace(0.0, 1.0, n_steps + 1)
    equation = to_torchsde(brownian_motion(), control)
    path, ratio = torchsde.sdeint(
        equation, torch.zeros(n_paths, 1), ts, bm=brownian, method="euler", dt=1.0 / n_steps, logqp=True
    )
    z, divergence = torch.zeros(n_paths, 1), torch.zeros(n_paths)
    step = torch.tensor([1.0 / n_steps])
    dynamics = brownian_motion().read()
    for k in range(n_steps):
        shift = control(k * step, z) * step.sqrt()
        tilt = Tilt(shift, torch.ones(n_paths, 1, 1), torch.zeros(n_paths))
        divergence = divergence + tilt.kl()
        z = dynamics.transition(z, step).apply(tilt.apply(brownian(k / n_steps, (k + 1) / n_steps) / step.sqrt()))
    torch.testing.assert_close(path[-1], z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ratio.sum(0), divergence, rtol=1e-9, atol=1e-9)
