"""torchsde as a partner: the same equations, the same paths, the same laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro.distributions as dist
import pytest
import torch
import torchsde
from pyro import poutine
from pyro.nn import PyroModule, PyroSample
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

from pyro_langevin.dynamics import (
    AdditiveNoise,
    EulerMaruyama,
    GeometricNoise,
    ItoDiffusion,
    LinearNoise,
    LocalLinearization,
    Overdamped,
    Underdamped,
    to_torchsde,
)
from pyro_langevin.dynamics.torchsde_form import ReadsAsIto, TorchSDE
from pyro_langevin.potentials import NeuralPotential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell, TripleWell
from pyro_langevin.simulation import simulate
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def swirl(z: Tensor) -> Tensor:
    return torch.stack([-0.5 * z[..., 0] + 2.0 * z[..., 1], -2.0 * z[..., 0] - 0.5 * z[..., 1]], -1)


DYNAMICS: dict[str, Callable[[], ReadsAsIto]] = {
    "overdamped": lambda: Overdamped(TripleWell(), friction=torch.tensor([0.5, 2.0]), scheme=EulerMaruyama()),
    "additive": lambda: ItoDiffusion(swirl, 2, noise=AdditiveNoise(torch.tensor([0.3, 0.7]))),
    "linear": lambda: ItoDiffusion(swirl, 2, noise=LinearNoise(0.4)),
    "underdamped": lambda: Underdamped(DoubleWell(1.0), friction=0.8, mass=1.5, temperature=0.7),
    "geometric": lambda: ItoDiffusion(lambda x: 1.0 - x, 2, noise=GeometricNoise(0.5)),
}
every_dynamics = pytest.mark.parametrize("build", DYNAMICS.values(), ids=DYNAMICS.keys())


@every_dynamics
def test_our_euler_chain_is_torchsdes_on_the_same_brownian_motion(build: Callable[[], ReadsAsIto]) -> None:
    dynamics, n_steps = build(), 32
    brownian = torchsde.BrownianInterval(0.0, 0.5, size=(7, 2), dtype=torch.float64, entropy=2)
    start = torch.randn(7, 2)
    ts = torch.linspace(0.0, 0.5, n_steps + 1)
    step = 0.5 / n_steps
    with torch.no_grad():
        theirs = torchsde.sdeint(to_torchsde(dynamics), start, ts, bm=brownian, method="euler", dt=step)
        once, z = dynamics.read(), start
        for k in range(n_steps):
            noise = brownian(ts[k], ts[k + 1]) / math.sqrt(step)
            z = EulerMaruyama().transition(once, z, torch.tensor([step])).apply(noise)
    torch.testing.assert_close(z, theirs[-1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scheme", [EulerMaruyama(), LocalLinearization(), None])
def test_simulated_paths_are_the_chain_on_the_grid(scheme: EulerMaruyama | LocalLinearization | None) -> None:
    dynamics = Overdamped(DoubleWell(), friction=1.0)  # its own scheme is the linearization
    times, start = torch.tensor([1.0, 1.07, 1.3]), torch.tensor([[0.8], [-0.4]])
    torch.manual_seed(1)
    found = simulate(dynamics, times, initial=start, max_step=0.03, method=scheme, n_paths=2)
    torch.manual_seed(1)
    grid, states = TimeGrid(times, max_step=0.03), [start]
    for step in grid.steps:
        transition = (scheme or LocalLinearization()).transition(dynamics.read(), states[-1], step[None])
        states.append(transition.apply(torch.randn(2, 1)))
    torch.testing.assert_close(found, torch.stack(states, 1)[:, grid.observed_index])


def moments(paths: Tensor) -> tuple[Tensor, Tensor]:
    """First and second moments of ``(n_paths, ...)`` and their standard errors."""
    powers = torch.cat([paths, paths.square()], -1)
    return powers.mean(0), powers.std(0) / math.sqrt(len(paths))


@every_dynamics
def test_chain_and_fine_torchsde_solution_have_the_same_law_at_irregular_times(build: Callable[[], ReadsAsIto]) -> None:
    times, start = torch.tensor([1.0, 1.3, 1.35, 2.0]), torch.tensor([0.8, -0.4])
    paths = {
        method: simulate(build(), times, initial=start, max_step=step, method=method, n_paths=4000)
        for method, step in ((None, 0.004), ("srk", 0.02))
    }
    assert all(found.shape == (4000, 4, 2) for found in paths.values())
    (ours, error), (theirs, other) = (moments(found) for found in paths.values())
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=0)
    missed = (ours - theirs)[1:].abs() - ALLOWED_ERRORS * (error.square() + other.square())[1:].sqrt()
    assert float(missed.max()) < 0.01  # what is left is the chain's own error, of the order of its step


@pytest.mark.parametrize("method", [EulerMaruyama(), LocalLinearization(), None, "srk", "euler", "milstein"])
def test_an_ornstein_uhlenbeck_process_settles_into_its_law(method: object) -> None:
    dynamics = Overdamped(QuadraticPotential(2, stiffness=torch.tensor([[2.0, 0.5], [0.5, 1.0]])), friction=1.0)
    first = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    times = torch.tensor([0.0, 4.0])
    paths = simulate(dynamics, times, initial=first, max_step=0.05, method=method, n_paths=4000)[:, -1]  # type: ignore[arg-type]
    spread = torch.linalg.inv(torch.tensor([[2.0, 0.5], [0.5, 1.0]]))
    error = (spread.square() + torch.outer(spread.diagonal(), spread.diagonal())).div(4000).sqrt()
    bias = 0.0 if isinstance(method, LocalLinearization) or method is None else 0.05  # relative, half step x stiffness
    assert bool(((paths.T.cov() - spread).abs() < ALLOWED_ERRORS * error + bias * spread.abs().max()).all())


def test_linear_noise_settles_into_an_inverse_gamma_law() -> None:
    """``dz = (1 - z) dt + s z dW``: mean 1, variance ``s²/(2 - s²)``."""
    dynamics = ItoDiffusion(lambda z: 1.0 - z, 1, noise=LinearNoise(0.5))
    found = simulate(dynamics, torch.tensor([0.0, 6.0]), initial=torch.ones(1), max_step=0.01, n_paths=20_000)[:, -1]
    centred = (found - 1.0).square()
    assert abs(float(found.mean()) - 1.0) < ALLOWED_ERRORS * float(found.std()) / math.sqrt(20_000)
    error = float(centred.std()) / math.sqrt(20_000)
    assert abs(float(centred.mean()) - 0.25 / 1.75) < ALLOWED_ERRORS * error + 0.01 * 0.25 / 1.75


def test_logistic_growth_settles_into_a_gamma_law() -> None:
    """``dx/x = r (1 - x) dt + s dW``: ``x`` is gamma distributed with shape ``2r/s² - 1`` and rate ``2r/s²``."""
    growth, scale = 1.5, 0.8
    dynamics = ItoDiffusion(lambda x: growth * (1.0 - x), 1, noise=GeometricNoise(scale))
    z = simulate(dynamics, torch.tensor([0.0, 8.0]), initial=torch.zeros(1), max_step=0.01, n_paths=20_000)[:, -1]
    x, rate = z.exp(), 2.0 * growth / scale**2
    law = dist.Gamma(rate - 1.0, rate)
    assert float(law.mean) == pytest.approx(1.0 - scale**2 / (2.0 * growth))
    for power in (1, 2):
        exact = float(law.mean) if power == 1 else float(law.variance + law.mean.square())
        error = float(x.pow(power).std()) / math.sqrt(20_000)
        assert abs(float(x.pow(power).mean()) - exact) < ALLOWED_ERRORS * error + 0.01 * exact


@pytest.mark.parametrize("method", [None, "srk"])
def test_the_seed_is_torchs_and_precision_that_of_the_initial_states(method: str | None) -> None:
    dynamics = Overdamped(DoubleWell(), friction=torch.tensor(1.0).float(), temperature=torch.tensor(1.0).float())
    start, times = torch.ones(3, 1, dtype=torch.float32), torch.tensor([0.0, 0.1, 0.3])

    def run() -> Tensor:
        return simulate(dynamics, times, initial=start, max_step=0.05, method=method, n_paths=3)

    torch.manual_seed(5)
    first = run()
    torch.manual_seed(5)
    assert torch.equal(run(), first) and first.dtype == torch.float32
    assert not torch.equal(run(), first)


def test_gradients_and_adjoints_reach_the_parameters() -> None:
    dynamics = Overdamped(NeuralPotential(1, 4))
    equation = to_torchsde(dynamics)
    parameters = dict(equation.named_parameters())
    assert "dynamics.friction_unconstrained" in parameters
    slopes = []
    for solve in (torchsde.sdeint, torchsde.sdeint_adjoint):
        brownian = torchsde.BrownianInterval(0.0, 0.2, size=(4, 1), dtype=torch.float64, entropy=1)
        ts = torch.tensor([0.0, 0.2])
        reached = solve(equation, torch.zeros(4, 1) + 0.3, ts, bm=brownian, method="euler", dt=1e-3)
        equation.zero_grad()
        reached[-1].square().sum().backward()
        slopes.append({name: parameter.grad.clone() for name, parameter in parameters.items()})  # type: ignore[union-attr]
    for name, slope in slopes[0].items():
        torch.testing.assert_close(slopes[1][name], slope, rtol=0.05, atol=0.01, msg=name)


def test_samples_of_a_bayesian_prior_are_drawn_once() -> None:
    class Model(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            uncertain = PyroSample(dist.LogNormal(0.0, 1.0))
            self.dynamics = ItoDiffusion(swirl, 2, noise=AdditiveNoise(uncertain))

        def forward(self) -> TorchSDE:
            return to_torchsde(self.dynamics)

    model = Model()
    trace = poutine.trace(model).get_trace()
    equation, scale = trace.nodes["_RETURN"]["value"], trace.nodes["dynamics.noise.scale"]["value"]
    z, t = torch.randn(3, 2), torch.tensor(0.0)
    for _ in range(2):
        torch.testing.assert_close(equation.g(t, z), scale * torch.eye(2).expand(3, 2, 2), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match=r"noise.scale are sampled \(PyroSample\)"):
        to_torchsde(model.dynamics)


def test_what_does_not_fit_is_refused() -> None:
    dynamics = Overdamped(DoubleWell(), friction=1.0)
    times, start = torch.tensor([0.0, 1.0]), torch.zeros(1)
    with pytest.raises(ValueError, match="expected times of shape \\(time,\\), got \\(1, 2\\)"):
        simulate(dynamics, times[None], initial=start, max_step=0.1)
    with pytest.raises(ValueError, match="expected a positive max_step, got 0"):
        simulate(dynamics, times, initial=start, max_step=0)
    with pytest.raises(ValueError, match="strictly increasing"):
        simulate(dynamics, times.flip(0), initial=start, max_step=0.1)
    with pytest.raises(ValueError, match=r"expected initial states \(dim,\) or \(5, dim\), got \(3, 1\)"):
        simulate(dynamics, times, initial=torch.zeros(3, 1), max_step=0.1, n_paths=5)
    with pytest.raises(ValueError, match="at least 1 path"):
        simulate(dynamics, times, initial=start, max_step=0.1, n_paths=0)
    with pytest.raises(ValueError, match="Expected method in"):
        simulate(dynamics, times, initial=start, max_step=0.1, method="leapfrog")

    class OnlySteps:
        def read(self) -> object:
            return self

    with pytest.raises(TypeError, match="OnlySteps reads without drift and noise_scale and additive"):
        to_torchsde(OnlySteps())  # type: ignore[arg-type]
