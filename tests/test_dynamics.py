"""Overdamped dynamics and their schemes: exact where theory says so, of the right order elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from pyro.nn import PyroParam
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.datasets import DOUBLE_WELL
from pyro_langevin.dynamics import (
    EulerMaruyama,
    LocalLinearization,
    Overdamped,
    OverdampedDynamics,
    Scheme,
    Transition,
)
from pyro_langevin.potentials import NeuralPotential, Potential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell, TripleWell
from pyro_langevin.potentials.base import LocalExpansion

SCHEMES: list[Scheme] = [EulerMaruyama(), LocalLinearization()]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


class Tube(Potential):
    """A double well along x whose channel bends with it: nothing separates."""

    def __init__(self) -> None:
        super().__init__(2)

    def energy(self, z: Tensor) -> Tensor:
        x, y = z[..., 0], z[..., 1]
        return (x**2 - 1) ** 2 + (y - 0.5 * x**2) ** 2 + 0.3 * x * y


class Rotated(Potential):
    """Another potential, seen in turned coordinates."""

    def __init__(self, inner: Potential, rotation: Tensor) -> None:
        super().__init__(inner.dim)
        self.inner, self.rotation = inner, rotation

    def energy(self, z: Tensor) -> Tensor:
        return self.inner.energy(z @ self.rotation)


def covariance(transition: Transition) -> Tensor:
    return transition.scale @ transition.scale.mT


def exact_ornstein_uhlenbeck(
    stiffness: Tensor, centre: Tensor, friction: Tensor, temperature: float, z: Tensor, step: float
) -> tuple[Tensor, Tensor]:
    """Mean by the flow ``F = exp(drift h)``; covariance ``S - F S F^T`` with Lyapunov's ``S``."""
    mobility = np.diag(1.0 / friction.expand(len(stiffness)).numpy())
    drift = -mobility @ stiffness.numpy()
    flow = scipy.linalg.expm(drift * step)
    stationary = scipy.linalg.solve_continuous_lyapunov(drift, -2.0 * temperature * mobility)
    mean = centre + (z - centre) @ torch.from_numpy(flow.T)
    return mean, torch.from_numpy(stationary - flow @ stationary @ flow.T)


FULL = {
    1: torch.tensor([[1.7]]),
    2: torch.tensor([[2.0, 0.6], [0.6, 0.7]]),
    3: torch.tensor([[2.0, 0.6, 0.0], [0.6, 1.5, -0.3], [0.0, -0.3, 0.8]]),
}


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("step", [1e-4, 0.05, 0.7, 4.0])
def test_local_linearization_is_exact_for_linear_forces(dim: int, diagonal: bool, isotropic: bool, step: float) -> None:
    stiffness = 1.3 * torch.eye(dim) if isotropic else FULL[dim].double()
    centre, temperature = torch.randn(dim), 0.8
    friction = torch.rand(dim) + 0.4 if diagonal else torch.tensor(0.6)
    potential = QuadraticPotential(dim, centre, stiffness=stiffness)
    dynamics = Overdamped(potential, friction=friction, temperature=temperature)
    z = 2.0 * torch.randn(5, dim)
    transition = dynamics.transition(z, torch.tensor(step))
    mean, expected = exact_ornstein_uhlenbeck(stiffness, centre, friction, temperature, z, step)
    torch.testing.assert_close(transition.mean, mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(covariance(transition), expected.expand(5, dim, dim), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("step", [40.0, 1e3, 1e6])
def test_a_step_of_any_length_ends_in_the_boltzmann_law(dim: int, step: float) -> None:
    stiffness = FULL[dim].double()
    dynamics = Overdamped(QuadraticPotential(dim, stiffness=stiffness), friction=0.1)
    transition = dynamics.transition(torch.full((1, dim), 30.0), torch.tensor(step))
    torch.testing.assert_close(transition.mean, torch.zeros(1, dim), rtol=0, atol=1e-6)
    torch.testing.assert_close(covariance(transition)[0], torch.linalg.inv(stiffness), rtol=1e-6, atol=1e-6)


def test_an_inverted_well_is_linearised_exactly_within_the_cap() -> None:
    class Hill(QuadraticPotential):
        def __init__(self) -> None:
            super().__init__(1)
            self.stiffness = torch.tensor(-1.5)

    step, z = 0.4, torch.tensor([[0.3], [-2.0]])
    transition = Overdamped(Hill(), friction=1.0).transition(z, torch.tensor(step))
    torch.testing.assert_close(transition.mean, z * math.exp(1.5 * step))
    expected = torch.full((2, 1, 1), (math.exp(3.0 * step) - 1.0) / 1.5)
    torch.testing.assert_close(covariance(transition), expected)


@pytest.mark.parametrize("diagonal", [False, True])
def test_euler_maruyama_is_its_formula(diagonal: bool) -> None:
    friction = torch.tensor([0.5, 2.0]) if diagonal else torch.tensor(0.7)
    dynamics = Overdamped(TripleWell(), friction=friction, temperature=0.6, scheme=EulerMaruyama())
    z, step = torch.randn(4, 2), 0.03
    transition = dynamics.transition(z, torch.tensor(step))
    torch.testing.assert_close(transition.mean, z - TripleWell().gradient(z) / friction * step)
    expected = torch.diag_embed((2.0 * 0.6 / friction * step).expand(4, 2))
    torch.testing.assert_close(covariance(transition), expected)


@pytest.mark.parametrize(
    "build", [lambda: NeuralPotential(1), DoubleWell, Tube, TripleWell, lambda: NeuralPotential(3)]
)
@pytest.mark.parametrize("diagonal", [False, True])
def test_local_linearization_matches_moments_to_second_order(build: Callable[[], Potential], diagonal: bool) -> None:
    """Itô-Taylor to h^3: ``E z = z + h b + h^2/2 (J b + D lap b)``, ``Cov = 2 D h + h^2 (J D + D J^T)``."""
    potential = build()
    dim, temperature = potential.dim, 0.7
    friction = torch.linspace(0.5, 1.5, dim) if diagonal else torch.tensor(0.8)
    dynamics = Overdamped(potential, friction=friction, temperature=temperature)
    z = torch.randn(6, dim)
    mobility = (1.0 / friction).expand(dim)
    diffusion = torch.diag(temperature * mobility)
    expansion = Potential.expansion(potential, z, diffusion.diagonal())
    drift, jacobian = -mobility * expansion.gradient, -mobility.unsqueeze(-1) * expansion.hessian
    bend = (jacobian @ drift.unsqueeze(-1)).squeeze(-1) - mobility * expansion.laplacian_gradient
    errors = []
    for step in (4e-4, 2e-4, 1e-4):
        transition = dynamics.transition(z, torch.tensor(step))
        mean = z + step * drift + 0.5 * step**2 * bend
        spread = 2.0 * step * diffusion + step**2 * (jacobian @ diffusion + diffusion @ jacobian.mT)
        errors.append(
            [
                float((transition.mean - mean).detach().norm()),
                float((covariance(transition) - spread).detach().norm()),
            ]
        )
    orders = np.diff(np.log(errors), axis=0) / np.log(0.5)
    assert (orders > 2.85).all(), orders


@pytest.mark.parametrize("step", [1e-5, 0.002, 0.01, 0.05])
def test_local_linearization_is_its_formula(step: float) -> None:
    x, diffusion = np.array([-1.4, -1.0, -0.62, -0.55, 0.8, 1.3]), 0.7
    drift, slope, jerk = -16 * x * (x**2 - 1), -16 * (3 * x**2 - 1), -96 * x
    exponent = diffusion * slope * step
    assert (np.abs(exponent) > 1e-12).all()
    first = np.expm1(exponent) / exponent
    second = np.array([sum(a**k / math.factorial(k + 2) for k in range(60)) for a in exponent])
    deviation = np.sqrt(2 * diffusion * step * np.expm1(2 * exponent) / (2 * exponent))
    bend = second * step**2 * diffusion**2 * jerk
    bend /= np.sqrt(1 + (bend / deviation) ** 2)  # held within one standard deviation of the step's noise
    transition = Overdamped(DoubleWell(), friction=1 / diffusion).transition(
        torch.from_numpy(x)[:, None], torch.tensor(step)
    )
    np.testing.assert_allclose(transition.mean[:, 0].numpy(), x + first * diffusion * drift * step + bend, rtol=1e-9)
    np.testing.assert_allclose(transition.scale[:, 0, 0].numpy(), deviation, rtol=1e-9)


@pytest.mark.parametrize("build", [TripleWell, Tube])
def test_scalar_friction_knows_no_directions(build: Callable[[], Potential]) -> None:
    angle = torch.tensor(0.7)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
    z, step = torch.randn(5, 2), torch.tensor(0.2)
    plain = Overdamped(build(), friction=0.9).transition(z, step)
    turned = Overdamped(Rotated(build(), rotation), friction=0.9).transition(z @ rotation.mT, step)
    torch.testing.assert_close(turned.mean, plain.mean @ rotation.mT, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(covariance(turned), rotation @ covariance(plain) @ rotation.mT, rtol=1e-8, atol=1e-8)


def slowest_timescale(scheme: Scheme, step: float, potential: Potential | None = None) -> float:
    """Of the double well's chain: the largest eigenvalue of its transfer operator on odd functions."""
    dynamics = Overdamped(DoubleWell() if potential is None else potential, friction=1.0, scheme=scheme)
    half = 2.4
    size = 2 * math.ceil(half / (0.5 * math.sqrt(step)))
    points = torch.linspace(-half, half, max(size, 200))
    size = len(points)
    with torch.no_grad():
        transition = dynamics.transition(points[:, None], torch.tensor(step))
    offset = (points - transition.mean) / transition.scale[..., 0]
    density = (-0.5 * offset.square()).exp() / transition.scale[..., 0]
    matrix = density / density.sum(-1, keepdim=True)
    odd = matrix[: size // 2, : size // 2] - matrix[: size // 2, size // 2 :].flip(-1)
    return -step / math.log(float(np.abs(np.linalg.eigvals(odd.numpy())).max()))


EXACT = DOUBLE_WELL.timescales[0]


@pytest.mark.parametrize(
    ("scheme", "step", "percent"),
    [
        (EulerMaruyama(), 0.0025, -1.2),
        (EulerMaruyama(), 0.01, -6.5),
        (EulerMaruyama(), 0.02, -21.4),
        (EulerMaruyama(), 0.0333, -75.0),
        (LocalLinearization(), 0.01, 1.0),
        (LocalLinearization(), 0.0333, -1.0),  # step x D x curvature = 1.07
        (LocalLinearization(), 0.05, -8.2),  # 1.6
    ],
)
def test_bias_of_the_slowest_timescale_is_as_documented(scheme: Scheme, step: float, percent: float) -> None:
    assert 100.0 * (slowest_timescale(scheme, step) / EXACT - 1.0) == pytest.approx(percent, abs=0.5)


@pytest.mark.parametrize(
    ("scheme", "order", "steps"),
    [
        (EulerMaruyama(), 1.0, [0.0006, 0.0012, 0.0024]),
        (LocalLinearization(), 2.0, [0.0005, 0.001, 0.002]),
    ],
)
def test_weak_order_of_convergence(scheme: Scheme, order: float, steps: list[float]) -> None:
    errors = [abs(slowest_timescale(scheme, step) - EXACT) for step in steps]
    fitted = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert fitted == pytest.approx(order, abs=0.1)


def test_the_ito_term_is_what_keeps_rates_right_at_coarse_steps() -> None:
    class WithoutIto(DoubleWell):
        def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
            full = super().expansion(z, weights)
            return full._replace(laplacian_gradient=torch.zeros_like(full.laplacian_gradient))

    without = slowest_timescale(LocalLinearization(), 0.0333, WithoutIto())
    assert without / EXACT == pytest.approx(2.5, abs=0.1)


@every_scheme
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_transition_noise_and_volume(scheme: Scheme, dim: int) -> None:
    dynamics = Overdamped(NeuralPotential(dim), friction=torch.rand(dim) + 0.5, scheme=scheme)
    z, noise = torch.randn(2, 4, dim), torch.randn(2, 4, dim)
    transition = dynamics.transition(z, torch.tensor(0.1))
    torch.testing.assert_close(transition.whiten(transition.apply(noise)), noise)
    torch.testing.assert_close(transition.log_abs_det(), 0.5 * torch.linalg.slogdet(covariance(transition)).logabsdet)
    law = torch.distributions.MultivariateNormal(transition.mean, covariance(transition))
    value = transition.apply(noise)
    own = -0.5 * (noise.square().sum(-1) + dim * math.log(2 * math.pi)) - transition.log_abs_det()
    torch.testing.assert_close(law.log_prob(value), own)


@every_scheme
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("diagonal", [False, True])
def test_each_state_has_its_own_step(scheme: Scheme, dim: int, diagonal: bool) -> None:
    friction = torch.rand(dim) + 0.5 if diagonal else 0.8
    dynamics = Overdamped(NeuralPotential(dim), friction=friction, scheme=scheme)
    z, steps = torch.randn(3, 4, dim), torch.rand(3, 4, 1) + 0.05
    together = dynamics.transition(z, steps)
    assert together.mean.shape == (3, 4, dim) and together.scale.shape == (3, 4, dim, dim)
    for i, j in ((0, 0), (2, 3)):
        alone = dynamics.transition(z[i, j], steps[i, j])
        torch.testing.assert_close(together.mean[i, j], alone.mean)
        torch.testing.assert_close(together.scale[i, j], alone.scale)


@every_scheme
def test_single_precision_agrees_and_stays(scheme: Scheme) -> None:
    potential = NeuralPotential(2)
    dynamics = Overdamped(potential, friction=torch.tensor([0.5, 1.5]), scheme=scheme)
    z = torch.randn(6, 2)
    exact = dynamics.transition(z, torch.tensor(0.1))
    potential.float()
    single = Overdamped(
        potential,
        friction=torch.tensor([0.5, 1.5]).float(),
        temperature=torch.ones(()).float(),
        scheme=scheme,
    )
    found = single.transition(z.float(), torch.tensor(0.1))
    assert found.mean.dtype == found.scale.dtype == torch.float32
    torch.testing.assert_close(found.mean.double(), exact.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.scale.double(), exact.scale, rtol=1e-4, atol=1e-4)


def test_friction_is_learned_when_omitted() -> None:
    dynamics = Overdamped(QuadraticPotential(2))
    assert [name for name, _ in dynamics.named_parameters()] == ["friction_unconstrained"]
    dynamics.initialise(0.25)
    assert dynamics.diffusion.item() == pytest.approx(0.25)
    dynamics.transition(torch.randn(3, 2), torch.tensor(0.1)).mean.sum().backward()
    slope = dynamics.friction_unconstrained.grad
    assert slope is not None and float(slope.abs()) > 0


def test_a_given_friction_is_kept() -> None:
    fixed = Overdamped(QuadraticPotential(2), friction=torch.tensor([0.5, 2.0]), temperature=3.0)
    fixed.initialise(10.0)
    assert not list(fixed.parameters())
    torch.testing.assert_close(fixed.diffusion, torch.tensor([6.0, 1.5]))
    own = PyroParam(torch.tensor(0.5), constraint=constraints.positive)
    assert [name for name, _ in Overdamped(QuadraticPotential(1), friction=own).named_parameters()] == [
        "friction_unconstrained"
    ]


def test_only_the_ratio_of_energy_and_temperature_matters() -> None:
    z, step = torch.randn(5, 1), torch.tensor(0.04)
    cold = Overdamped(DoubleWell(1.0), friction=3.0, temperature=1.0 / 3.0)
    scaled = Overdamped(DoubleWell(3.0), friction=9.0, temperature=1.0)
    first, second = cold.transition(z, step), scaled.transition(z, step)
    torch.testing.assert_close(first.mean, second.mean)
    torch.testing.assert_close(covariance(first), covariance(second))


def test_read_dynamics_are_the_same_dynamics() -> None:
    dynamics = Overdamped(NeuralPotential(2), friction=0.7)
    once = dynamics.read()
    assert isinstance(once, OverdampedDynamics)
    z, step = torch.randn(3, 2), torch.tensor(0.2)
    torch.testing.assert_close(once.transition(z, step).mean, dynamics.transition(z, step).mean, rtol=0, atol=0)
    torch.testing.assert_close(once.diffusion, dynamics.diffusion)
    euler = replace(once, scheme=EulerMaruyama())
    torch.testing.assert_close(euler.transition(z, step).mean, z - dynamics.potential.gradient(z) * step / 0.7)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: Overdamped(torch.nn.Linear(1, 1)), TypeError, "expected a Potential, got Linear; subclass"),  # type: ignore[arg-type]
        (lambda: Overdamped(DoubleWell(), friction=0.0), ValueError, "friction must be positive, got 0.0"),
        (
            lambda: Overdamped(DoubleWell(), friction=torch.tensor([1.0, -1.0])),
            ValueError,
            "friction must be positive",
        ),
        (
            lambda: Overdamped(DoubleWell(), temperature=-1.0),
            ValueError,
            "temperature must be positive, got -1.0",
        ),
    ],
)
def test_bad_arguments_are_refused(build: Callable[[], Overdamped], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        build()
