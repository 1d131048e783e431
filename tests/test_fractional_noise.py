"""Fractional Brownian motion by processes with one driving noise: against its closed forms, and as a path."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import kl_divergence

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")

STEPS = 16
TIMES = torch.linspace(0.0, 1.0, STEPS + 1)


def at_rest(z: Tensor) -> Tensor:
    return torch.zeros_like(z)


def chain_matrix(diffusion: pl.FractionalDiffusion, times: Tensor) -> Tensor:
    """How the position depends on standard normal numbers, those of the memory first: ``(time, number)``."""
    memory, steps = diffusion.noise.processes, len(times) - 1
    one = torch.eye(memory + steps)
    factor = diffusion.noise.stationary_factor()
    start = torch.cat([torch.zeros(memory + steps, 2), one[:, :memory] @ factor.mT], -1)
    noise = torch.zeros(memory + steps, steps, diffusion.dim)
    noise[..., 0] = one[:, memory:]
    path = pl.LangevinPath(diffusion, diffusion.first(torch.zeros(1), torch.ones(1)), times)
    return path.driven(start, noise)[..., 0].mT.detach()


@pytest.mark.parametrize("horizon", [1.0, 7.0])
def test_a_hurst_index_of_a_half_is_brownian_motion(horizon: float) -> None:
    noise = pl.FractionalNoise(0.5, horizon=horizon, resolution=0.01 * horizon)
    times = torch.linspace(0.1, horizon, 7)
    torch.testing.assert_close(noise.covariance(times), torch.minimum(times[:, None], times), rtol=1e-7, atol=0.0)
    assert noise.relative_error() < 1e-5


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_the_error_is_that_of_the_kernels(hurst: float) -> None:
    """Both are integrals over one Brownian motion: the mean squared difference is that of their kernels."""
    noise = pl.FractionalNoise(hurst, horizon=2.0, resolution=0.05, processes=4)
    power = hurst - 0.5
    unit = math.sqrt(math.gamma(2.0 * hurst + 1.0) * math.sin(math.pi * hurst)) / math.gamma(hurst + 0.5)
    speeds, weights = noise.speeds.numpy(), noise.weights.numpy()

    def recent(age: float) -> float:  # of the noise at t - age, since 0
        return float(unit * age**power - weights @ np.exp(-speeds * age))

    def past(log_age: float, t: float) -> float:  # of the noise at -age; 1 - 1 of the first process
        age = math.exp(log_age)
        ours = weights @ (np.exp(-speeds * (t + age)) - np.exp(-speeds * age))
        return float((unit * ((t + age) ** power - age**power) - ours) ** 2 * age)

    def squared(t: float) -> float:
        within = quad(lambda root: 2.0 * root * recent(root**2) ** 2, 0.0, math.sqrt(t), limit=200)[0]
        return float(within + quad(past, -30.0, 25.0, args=(t,), limit=400)[0])

    nodes, share = np.polynomial.legendre.leggauss(12)
    total = sum(w * squared(1.0 + x) for x, w in zip(nodes, share, strict=True))
    expected = math.sqrt(total / (2.0 ** (2.0 * hurst + 1.0) / (2.0 * hurst + 1.0)))
    assert noise.relative_error() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(("hurst", "most"), [(0.3, 0.01), (0.5, 1e-6), (0.7, 0.001)])
def test_the_covariance_is_nearly_that_of_fractional_brownian_motion(hurst: float, most: float) -> None:
    noise = pl.FractionalNoise(hurst, horizon=1.0, resolution=0.01)
    times = torch.linspace(0.02, 1.0, 50)
    assert float((noise.covariance(times) - noise.exact_covariance(times)).abs().max()) < most
    coarse = pl.FractionalNoise(hurst, horizon=1.0, resolution=0.1, processes=3)
    assert coarse.relative_error() >= noise.relative_error() - 1e-6


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_a_chain_of_small_steps_has_the_covariance_of_the_sum(hurst: float) -> None:
    noise = pl.FractionalNoise(hurst, horizon=1.0, resolution=0.1, processes=4)
    diffusion = pl.FractionalDiffusion(at_rest, noise, scale=1.3)
    off = []
    for steps in (20, 40, 80):
        times = torch.linspace(0.0, 1.0, steps + 1)
        matrix = chain_matrix(diffusion, times)
        off.append(float((matrix @ matrix.mT - 1.3**2 * noise.covariance(times)).abs().max()))
    assert off[2] < 2e-3
    assert math.log2(off[0] / off[2]) / 2.0 == pytest.approx(2.0, abs=0.3)  # what a sum says of a convolution


def test_a_path_has_the_density_of_its_noise_in_every_dimension() -> None:
    noise = pl.FractionalNoise(0.3, horizon=1.0, resolution=0.05, processes=3)
    diffusion = pl.FractionalDiffusion(torch.sin, noise, dim=2, scale=torch.tensor([0.5, 2.0]))
    first = diffusion.first(torch.zeros(2), torch.ones(2))
    path = pl.LangevinPath(diffusion, first, TIMES)
    z = path.sample(torch.Size([5]))
    kicks = path.noise_of(z)
    torch.testing.assert_close(path.driven(z[:, 0], kicks), z)
    density = dist.Normal(0.0, 1.0).log_prob(kicks[..., :2]).sum((-2, -1))
    torch.testing.assert_close(path.log_prob(z), first.log_prob(z[:, 0]) + density)
    alone = pl.LangevinPath(pl.FractionalDiffusion(torch.sin, noise, scale=2.0), diffusion_first(noise), TIMES)
    second = [1, 3, 5, 7, 9]  # the second dimension is a process of its own
    start, pushed = z[:, 0][:, second], torch.nn.functional.pad(kicks[..., 1:2], (0, 4))
    torch.testing.assert_close(alone.driven(start, pushed), z[..., second])


def diffusion_first(noise: pl.FractionalNoise) -> dist.MultivariateNormal:
    return pl.FractionalDiffusion(torch.sin, noise, scale=2.0).first(torch.zeros(1), torch.ones(1))


def test_the_divergence_of_a_control_is_half_its_square() -> None:
    noise = pl.FractionalNoise(0.7, horizon=1.0, resolution=0.05)
    diffusion = pl.FractionalDiffusion(at_rest, noise, scale=0.8)
    first = diffusion.first(torch.zeros(1), torch.ones(1))

    def push(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        return pl.Control(torch.cos(z[..., :1]) + z[..., -1:], torch.ones(1))

    told = torch.zeros(STEPS, 1, 1)
    controls = pl.Controls(push, told, told, port=diffusion.control_port)
    guide = pl.ControlledPath(diffusion, first.expand((3,)), TIMES, controls)
    z = guide.rsample()
    u = torch.cos(z[:, :-1, 0]) + z[:, :-1, -1]
    prior = pl.LangevinPath(diffusion, first, TIMES)
    torch.testing.assert_close(kl_divergence(guide, prior), 0.5 * u.square().sum(-1) / STEPS)
    kicks = prior.noise_of(z)[..., 0]
    ratio = 0.5 * kicks.square().sum(-1) - 0.5 * (kicks - u * math.sqrt(1.0 / STEPS)).square().sum(-1)
    torch.testing.assert_close(guide.log_prob(z) - prior.log_prob(z), ratio)


def test_messages_on_the_whole_state_hold_the_exact_posterior() -> None:
    """One noisy observation of the last position: every path has the evidence as its bound."""
    seen, error = 1.7, 0.4
    noise = pl.FractionalNoise(0.3, horizon=1.0, resolution=0.05, processes=4)
    diffusion = pl.FractionalDiffusion(lambda x: -0.7 * x, noise, scale=0.9)
    first = diffusion.first(torch.zeros(1), torch.ones(1))
    prior = pl.LangevinPath(diffusion, first, TIMES)
    once = diffusion.read().transition(torch.eye(diffusion.dim), torch.tensor([1.0 / STEPS]))
    move, kick = once.mean.mT, once.scale[..., :1]
    row, spread = torch.eye(diffusion.dim)[0], error**2
    rows, spreads = [row], [spread]
    for _ in range(STEPS - 1):
        spread = spread + float((row @ kick)[0] ** 2)
        row = row @ move
        rows.append(row)
        spreads.append(spread)
    rows.reverse()
    spreads.reverse()
    roots = torch.stack([row / math.sqrt(v) for row, v in zip(rows, spreads, strict=True)])
    centres = torch.stack([seen * row / row.square().sum() for row in rows])
    row, spread = row @ move, spread + float((row @ kick)[0] ** 2)
    cross = first.covariance_matrix @ row
    total = float(row @ cross) + spread
    start = dist.MultivariateNormal(cross * seen / total, first.covariance_matrix - torch.outer(cross, cross) / total)
    guide = pl.SteeredPath(diffusion, start, TIMES, pl.Messages(centres, roots[..., None]))
    z = guide.rsample(torch.Size([20]))
    last = dist.Normal(z[:, -1, 0], error).log_prob(torch.tensor(seen))
    bound = last + prior.log_prob(z) - guide.log_prob(z)
    evidence = dist.Normal(0.0, math.sqrt(total)).log_prob(torch.tensor(seen))
    torch.testing.assert_close(bound, evidence.expand(20), rtol=0.0, atol=1e-8)


def test_scale_and_drift_are_learned() -> None:
    diffusion = pl.FractionalDiffusion(torch.nn.Linear(1, 1), pl.FractionalNoise(0.3, horizon=1.0, resolution=0.1))
    path = pl.LangevinPath(diffusion, diffusion.first(torch.zeros(1), torch.ones(1)), TIMES)
    path.rsample()[..., 0].square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).all()) for p in diffusion.parameters())
    assert len(list(diffusion.parameters())) == 3


NOISE = pl.FractionalNoise(0.3, horizon=1.0, resolution=0.1)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: pl.FractionalNoise(1.0, 1.0, 0.1), ValueError, "Hurst index between 0 and 1, got 1.0"),
        (lambda: pl.FractionalNoise(0.3, 0.1, 1.0), ValueError, "expected 0 < resolution < horizon, got resolution=1"),
        (lambda: pl.FractionalNoise(0.3, 1.0, 0.1, 1), ValueError, "at least 2 processes, got 1"),
        (lambda: pl.FractionalDiffusion(3.0, NOISE), TypeError, "expected a drift network or function, got float"),  # type: ignore[arg-type]
        (lambda: pl.FractionalDiffusion(at_rest, NOISE, dim=0), ValueError, "dimension of at least 1, got 0"),
        (lambda: pl.FractionalDiffusion(at_rest, NOISE, scale=-1.0), ValueError, "scale must be positive, got -1.0"),
        (
            lambda: pl.FractionalDiffusion(lambda x: x[..., 0], NOISE).transition(torch.zeros(3, 10), TIMES[1:2]),
            ValueError,
            r"drift of the position's shape \(3, 1\), got \(3,\); build",
        ),
    ],
)
def test_bad_arguments_are_refused(build: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        build()
