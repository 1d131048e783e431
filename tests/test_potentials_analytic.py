"""Analytic and quadratic potentials: derivatives against autograd, values against the published ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pyro.nn import PyroParam
from torch.distributions import constraints

from pyro_langevin.potentials.analytic import (
    AnalyticPotential,
    DoubleWell,
    MuellerBrown,
    PrinzPotential,
    TripleWell,
)
from pyro_langevin.potentials.base import Potential
from pyro_langevin.potentials.quadratic import QuadraticPotential

FULL = torch.tensor([[2.0, 0.6, 0.0], [0.6, 1.5, -0.3], [0.0, -0.3, 0.8]])
REGISTRY = {
    "double well": lambda: DoubleWell(),
    "tilted double well": lambda: DoubleWell(4.0, 0.5),
    "prinz": PrinzPotential,
    "triple well": TripleWell,
    "mueller brown": MuellerBrown,
    "quadratic scalar": lambda: QuadraticPotential(1, 0.4, stiffness=2.0),
    "quadratic per dimension": lambda: QuadraticPotential(2, [1.0, -1.0], stiffness=[0.5, 3.0]),
    "quadratic full": lambda: QuadraticPotential(3, stiffness=FULL),
}


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives_agree_with_autograd(name: str, weighted: bool) -> None:
    torch.manual_seed(0)
    potential = REGISTRY[name]().double()
    z = 1.2 * torch.randn(4, 5, potential.dim, dtype=torch.float64)
    weights = torch.rand(potential.dim, dtype=torch.float64) + 0.5 if weighted else None
    closed = potential.expansion(z, weights)
    automatic = Potential.expansion(potential, z, weights)
    for part, expected in zip(closed, automatic, strict=True):
        assert part.shape == expected.shape
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(potential.gradient(z), automatic.gradient, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(potential.force(z), -closed.gradient)
    assert potential.energy(z).shape == (4, 5)


@pytest.mark.parametrize("name", REGISTRY)
def test_precision_follows_the_points(name: str) -> None:
    potential = REGISTRY[name]()
    z = torch.randn(3, potential.dim)
    assert potential.energy(z).dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in potential.expansion(z))


def test_double_precision_is_not_lost_on_the_way() -> None:
    z = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    x, y = 0.3, -0.7
    expected = (
        3 * math.exp(-(x**2) - (y - 1 / 3) ** 2)
        - 3 * math.exp(-(x**2) - (y - 5 / 3) ** 2)
        - 5 * math.exp(-((x - 1) ** 2) - y**2)
        - 5 * math.exp(-((x + 1) ** 2) - y**2)
        + 0.2 * x**4
        + 0.2 * (y - 1 / 3) ** 4
    )
    assert abs(TripleWell().double().energy(z).item() - expected) < 1e-12


@pytest.mark.parametrize(
    ("potential", "minimum", "energy"),
    # minima and energies: reference answers of the project (two numerical routes agree)
    [
        (DoubleWell(4.0, 0.5), [-1.0152733076766869], -0.5038470475018),
        (PrinzPotential(), [0.26914935131897205], 0.02110380155780261),
        (TripleWell(), [0.0, 1.5370820044494622], -2.1721536229943252),
        (MuellerBrown(), [-0.05001082299820603, 0.46669410487197205], -80.76781812965903),
    ],
    ids=["tilted", "prinz", "triple", "mueller"],
)
def test_known_minima(potential: AnalyticPotential, minimum: list[float], energy: float) -> None:
    z = torch.tensor(minimum, dtype=torch.float64)
    assert abs(potential.energy(z).item() - energy) < 1e-9
    assert potential.gradient(z).abs().max() < 1e-6
    assert torch.linalg.eigvalsh(potential.hessian(z)).min() > 0


def test_a_polynomial_needs_no_exponentials_and_a_sum_no_polynomial() -> None:
    quartic = AnalyticPotential([[0.0, 1.0], [0.0, 0.0, 2.0]])
    z = torch.tensor([3.0, 5.0])
    assert quartic.energy(z).item() == pytest.approx(3.0 + 2 * 25.0)
    assert quartic.gradient(z).tolist() == [1.0, 20.0]


def test_a_learned_stiffness_gets_its_gradient() -> None:
    stiffness = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    potential = QuadraticPotential(2, stiffness=stiffness)
    potential.energy(torch.tensor([[2.0, 3.0]])).sum().backward()
    assert stiffness.grad is not None and stiffness.grad.tolist() == [2.0, 4.5]
    positive = PyroParam(torch.tensor(2.0), constraint=constraints.positive)
    constrained = QuadraticPotential(2, stiffness=positive)
    assert constrained.energy(torch.tensor([1.0, 1.0])).item() == pytest.approx(2.0)
    assert [name for name, _ in constrained.named_parameters()] == ["stiffness_unconstrained"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: QuadraticPotential(2, stiffness=[1.0, 2.0, 3.0]), "expected stiffness of shape"),
        (lambda: QuadraticPotential(2, [0.0, 0.0, 0.0]), "expected centre of shape"),
        (lambda: QuadraticPotential(2, stiffness=[1.0, -2.0]), "positive"),
        (lambda: QuadraticPotential(2, stiffness=[[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (lambda: DoubleWell(-1.0), "height must be positive"),
        (lambda: AnalyticPotential([[0.0]], [1.0]), "expected centre of shape"),
    ],
)
def test_bad_parameters_are_refused(build: Callable[[], Potential], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
