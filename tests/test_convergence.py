"""How fast each scheme converges, strongly and weakly, and what long simulations settle into."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
import torchsde
from scipy.integrate import quad
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

from pyro_langevin.dynamics import (
    EulerMaruyama,
    ItoDiffusion,
    LinearNoise,
    LocalLinearization,
    Overdamped,
    OverdampedDynamics,
    Scheme,
    to_torchsde,
)
from pyro_langevin.grid_filter import Propagator, StateGrid
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.simulation import simulate

SCHEMES: list[Scheme] = [EulerMaruyama(), LocalLinearization()]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def fitted_order(steps: list[float], errors: list[float]) -> float:
    """Slope of the errors on log-log axes."""
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


# --- strong: path by path, on one Brownian motion

DIFFUSION = 0.5
FINE = 1024


def soft_double_well() -> Overdamped:
    return Overdamped(DoubleWell(1.0), friction=1.0 / DIFFUSION)


@cache
def fine_solution() -> tuple[Tensor, Tensor, Tensor]:
    """First states, Brownian increments and last states after unit time by torchsde's order-1.5 solver."""
    start = 0.5 * torch.randn(500, 1, dtype=torch.float64)
    brownian = torchsde.BrownianInterval(
        0.0, 1.0, size=start.shape, dtype=start.dtype, levy_area_approximation="space-time", entropy=3
    )
    ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        end = torchsde.sdeint(to_torchsde(soft_double_well()), start, ts, bm=brownian, method="srk", dt=1.0 / FINE)
    increments = [brownian(k / FINE, (k + 1) / FINE) for k in range(FINE)]
    return start, torch.stack(increments), end[-1]


def as_increment(dynamics: OverdampedDynamics, z: Tensor, increments: Tensor) -> Tensor:
    """The step's noise is the Brownian increment."""
    return increments.sum(0) * math.sqrt(FINE / len(increments))


def as_convolution(dynamics: OverdampedDynamics, z: Tensor, increments: Tensor) -> Tensor:
    """The step's noise is what the linearised flow makes of the Brownian path: ``∫ exp(J (h - s)) dW``, normalised."""
    slope = -dynamics.diffusion * dynamics.energy.expansion(z).hessian[..., 0]
    left = (len(increments) - 0.5 - torch.arange(len(increments))) / FINE
    weights = (slope * left[:, None, None]).exp()
    return (weights * increments).sum(0) / (weights.square().sum(0) / FINE).sqrt()


Noise = Callable[[OverdampedDynamics, Tensor, Tensor], Tensor]


@pytest.mark.parametrize(
    ("scheme", "noise", "order"),
    [
        (EulerMaruyama(), as_increment, 1.0),
        (LocalLinearization(), as_increment, 1.0),
        (LocalLinearization(), as_convolution, 1.5),
    ],
)
def test_strong_order_against_torchsde_on_the_same_brownian_motion(scheme: Scheme, noise: Noise, order: float) -> None:
    start, increments, expected = fine_solution()
    dynamics = soft_double_well().read()
    steps, errors = [], []
    for n_steps in (16, 32, 64, 128):
        z, step = start, torch.tensor([1.0 / n_steps])
        with torch.no_grad():
            for during in increments.chunk(n_steps):
                z = scheme.transition(dynamics, z, step).apply(noise(dynamics, z, during))
        steps.append(float(step))
        errors.append(float((z - expected).square().mean().sqrt()))
    assert errors[-1] < 0.01
    assert fitted_order(steps, errors) == pytest.approx(order, abs=0.15)


GROWTH, VOLATILITY = 0.5, 0.6


def geometric_brownian_motion() -> ItoDiffusion:
    return ItoDiffusion(lambda z: GROWTH * z, 1, noise=LinearNoise(VOLATILITY))


def test_strong_order_is_a_half_where_the_noise_is_in_proportion_to_the_state() -> None:
    dynamics, finest = geometric_brownian_motion().read(), 512
    increments = torch.randn(finest, 10_000, 1) / math.sqrt(finest)
    exact = (GROWTH - 0.5 * VOLATILITY**2 + VOLATILITY * increments.sum(0)).exp()
    steps, errors = [], []
    for n_steps in (32, 64, 128, 256, 512):
        z, step = torch.ones(10_000, 1), torch.tensor([1.0 / n_steps])
        for during in increments.chunk(n_steps):
            z = dynamics.transition(z, step).apply(during.sum(0) / step.sqrt())
        steps.append(float(step))
        errors.append(float((z - exact).abs().mean()))
    assert errors[-1] < 0.02
    assert fitted_order(steps, errors) == pytest.approx(0.5, abs=0.1)


# --- weak: expectations, without Monte Carlo


def test_weak_order_is_one_where_the_noise_is_in_proportion_to_the_state() -> None:
    dynamics = geometric_brownian_motion().read()
    steps, errors = [], []
    for n_steps in (64, 128, 256, 512):
        step = 1.0 / n_steps
        once = dynamics.transition(torch.ones(1, 1), torch.tensor([step]))  # linear: moments of one step are factors
        mean, square = float(once.mean), float(once.mean.square() + once.scale.square())
        steps.append(step)
        errors.append(
            abs(mean**n_steps - math.exp(GROWTH)) + abs(square**n_steps - math.exp(2.0 * GROWTH + VOLATILITY**2))
        )
    assert errors[-1] < 0.01
    assert fitted_order(steps, errors) == pytest.approx(1.0, abs=0.05)


START = 0.3


def exact_moments() -> np.ndarray:
    """Mean and second moment after unit time, by the generator on two grids (independent of any scheme)."""
    found = []
    for size in (401, 801):
        grid = StateGrid.around(-3.0, 3.0, size=size, margin=0.0)
        points = grid.points[:, 0]
        here = (points - START).abs() < 1e-9
        propagator = Propagator.of(soft_double_well().read(), grid)
        mass = propagator.advance(here.double()[None], torch.ones(1))[0]
        found.append([float((mass * points**k).sum()) for k in (1, 2)])
    coarse, fine = np.array(found)
    return (4.0 * fine - coarse) / 3.0


def chain_moments(scheme: Scheme, n_steps: int) -> np.ndarray:
    """The same of the chain, by integrating its transitions over all intermediate states."""
    points = torch.linspace(-3.5, 3.5, 1401)
    with torch.no_grad():
        once = scheme.transition(soft_double_well().read(), points[:, None], torch.tensor([1.0 / n_steps]))
    offset = (points - once.mean) / once.scale[..., 0]
    density = (-0.5 * offset.square()).exp() / (once.scale[..., 0] * math.sqrt(2.0 * math.pi))
    expected = torch.stack([points, points.square()], -1)
    for _ in range(n_steps):
        expected = density @ expected * (points[1] - points[0])
    here = int((points - START).abs().argmin())
    assert abs(float(points[here]) - START) < 1e-9
    return expected[here].numpy()


@pytest.mark.parametrize(
    ("scheme", "order"), [(EulerMaruyama(), 1.0), (LocalLinearization(), 2.0)], ids=["Euler-Maruyama", "linearization"]
)
def test_weak_order_on_a_double_well(scheme: Scheme, order: float) -> None:
    counts, exact = [32, 64, 128, 256], exact_moments()
    errors = [np.abs(chain_moments(scheme, n) - exact) for n in counts]
    steps = [1.0 / n for n in counts]
    for moment in range(2):
        assert errors[-1][moment] < 0.001
        assert fitted_order(steps, [float(e[moment]) for e in errors]) == pytest.approx(order, abs=0.15), moment


# --- long simulations


FEATURES: list[Callable[[float], float]] = [lambda x: x**2, lambda x: x**4, lambda x: 4.0 * (x * x - 1.0) ** 2]


def boltzmann_moments() -> np.ndarray:
    """Second moment, fourth moment and energy of the 4 kT double well, by quadrature."""
    total = quad(lambda x: math.exp(-FEATURES[2](x)), -4, 4)[0]
    return np.array([quad(lambda x, f=f: f(x) * math.exp(-FEATURES[2](x)), -4, 4)[0] / total for f in FEATURES])


def stationary_moments(scheme: Scheme, step: float) -> np.ndarray:
    """The same of the chain, from the law that its transitions leave as it is."""
    points = torch.linspace(-2.4, 2.4, 481)
    with torch.no_grad():
        once = scheme.transition(Overdamped(DoubleWell(), friction=1.0).read(), points[:, None], torch.tensor([step]))
    offset = (points - once.mean) / once.scale[..., 0]
    density = (-0.5 * offset.square()).exp() / once.scale[..., 0]
    power = density / density.sum(-1, keepdim=True)
    for _ in range(16):  # 2^16 steps
        power = power @ power
    return np.array([sum(w * f(x) for w, x in zip(power[0].tolist(), points.tolist(), strict=True)) for f in FEATURES])


@pytest.mark.parametrize(
    ("scheme", "bias"),
    [(EulerMaruyama(), [-0.007, -0.0015, 0.0766]), (LocalLinearization(), [-0.0008, -0.0015, -0.0002])],
    ids=["Euler-Maruyama", "linearization"],
)
def test_long_simulations_reproduce_boltzmann_moments(scheme: Scheme, bias: list[float]) -> None:
    """Within standard errors, once the bias stated for ``step x D x curvature = 0.16`` is taken into account."""
    step, exact = 0.005, boltzmann_moments()
    own = stationary_moments(scheme, step)
    assert own / exact - 1.0 == pytest.approx(np.array(bias), abs=0.0005)
    start = torch.where(torch.rand(4000, 1) < 0.5, -1.0, 1.0)
    times = torch.linspace(0.0, 5.0, 51)
    dynamics = Overdamped(DoubleWell(), friction=1.0)
    paths = simulate(dynamics, times, initial=start, max_step=step, method=scheme, n_paths=4000)[:, 10:, 0].numpy()
    along = np.stack([f(paths).mean(-1) for f in FEATURES])  # type: ignore[arg-type, attr-defined]
    error = along.std(-1) / math.sqrt(along.shape[-1])  # one mean a path: the paths are independent
    assert (np.abs(along.mean(-1) - own) < ALLOWED_ERRORS * error).all(), (along.mean(-1), own, error)
    assert (ALLOWED_ERRORS * error < 0.025 * exact).all()
