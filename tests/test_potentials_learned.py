"""Learned potentials: one suite of properties over a registry, closed forms against autograd."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_langevin.potentials import (
    CoupledOscillatorPotential,
    MixturePotential,
    NeuralPotential,
    Potential,
    QuadraticPotential,
)
from pyro_langevin.potentials.analytic import DoubleWell, TripleWell
from pyro_langevin.potentials.mixture import cluster

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@torch.no_grad()
def mixture(dim: int, components: int = 5) -> MixturePotential:
    potential = MixturePotential(dim, components)
    potential.logits.normal_()
    potential.log_sharpness.normal_(0.5, 0.4)
    potential.skew.normal_(0.0, 0.7)
    return potential


@torch.no_grad()
def network(dim: int, reference: Potential | None = None) -> NeuralPotential:
    potential = NeuralPotential(dim, 12, reference=mixture(dim) if reference is None else reference)
    potential.height.normal_()
    return potential


@torch.no_grad()
def oscillators(dim: int, reach: int) -> CoupledOscillatorPotential:
    potential = CoupledOscillatorPotential(dim, reach)
    potential.stiffness, potential.coupling = torch.rand(dim) + 0.5, torch.rand(len(potential.pairs)) + 0.1
    return potential


class CoupledQuartic(Potential):
    """A user's potential: the energy alone, ``x^4 + x^2 y + y^2``."""

    def __init__(self) -> None:
        super().__init__(2)

    def energy(self, z: Tensor) -> Tensor:
        x, y = z[..., 0], z[..., 1]
        return x**4 + x**2 * y + y**2


REGISTRY: dict[str, Callable[[], Potential]] = {
    **{f"mixture, dim {dim}": partial(mixture, dim) for dim in (1, 2, 3)},
    **{f"network, dim {dim}": partial(network, dim) for dim in (1, 2, 3)},
    "one Gaussian": lambda: mixture(2, 1),
    "default network": lambda: NeuralPotential(2),
    "network on a quadratic": lambda: network(2, QuadraticPotential(2, stiffness=[0.5, 2.0])),
    "coupled oscillators": partial(oscillators, 3, 1),
    "oscillators coupled farther": partial(oscillators, 4, 3),
    "network on a network": lambda: network(1, network(1)),
    "double well": lambda: DoubleWell(4.0, 0.5),
    "triple well": TripleWell,
    "energy alone": CoupledQuartic,
}
every_potential = pytest.mark.parametrize("name", REGISTRY)


@every_potential
@pytest.mark.parametrize("weighting", ["none", "per dimension", "per point"])
def test_closed_forms_agree_with_autograd(name: str, weighting: str) -> None:
    potential = REGISTRY[name]()
    z = 1.5 * torch.randn(3, 4, potential.dim)
    shapes = {"none": None, "per dimension": (potential.dim,), "per point": tuple(z.shape)}
    shape = shapes[weighting]
    weights = None if shape is None else torch.rand(shape) + 0.3
    closed = potential.expansion(z, weights)
    automatic = Potential.expansion(potential, z, weights)
    for part, expected in zip(closed, automatic, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(potential.gradient(z), automatic.gradient, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(potential.force(z), -automatic.gradient, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(potential.hessian(z), automatic.hessian, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(closed.hessian, closed.hessian.mT, rtol=1e-12, atol=1e-12)


@every_potential
def test_gradient_is_that_of_the_energy_by_finite_differences(name: str) -> None:
    potential = REGISTRY[name]()
    z = torch.randn(4, potential.dim)
    shift = 1e-5 * torch.eye(potential.dim)
    up, down = potential.energy(z.unsqueeze(-2) + shift), potential.energy(z.unsqueeze(-2) - shift)
    torch.testing.assert_close(potential.gradient(z), (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


def test_automatic_derivatives_of_a_known_energy() -> None:
    z = torch.tensor([[0.7, -0.4], [-1.2, 2.0]])
    x, y = z.unbind(-1)
    weights = torch.tensor([0.5, 3.0])
    found = CoupledQuartic().expansion(z, weights)
    gradient = torch.stack([4 * x**3 + 2 * x * y, x**2 + 2 * y], -1)
    hessian = torch.stack([12 * x**2 + 2 * y, 2 * x, 2 * x, 2 + 0 * x], -1).unflatten(-1, (2, 2))
    # the Laplacian is .5 (12 x^2 + 2 y) + 3 (2)
    laplacian_gradient = torch.stack([12 * x, 1 + 0 * x], -1)
    for part, expected in zip(found, (gradient, hessian, laplacian_gradient), strict=True):
        torch.testing.assert_close(part, expected)


@every_potential
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_derivatives_need_no_gradient_mode(name: str, mode: Callable[[], torch.no_grad]) -> None:
    potential = REGISTRY[name]()
    z = torch.randn(3, potential.dim)
    expected = potential.expansion(z)
    with mode():
        inside = z * 1.0  # an inference tensor, in inference mode
        energy, gradient = potential.energy(inside), potential.gradient(inside)
        found = potential.expansion(inside)
    torch.testing.assert_close(energy.clone(), potential.energy(z).detach())
    assert not any(part.requires_grad for part in (energy, gradient, *found))
    torch.testing.assert_close(gradient.clone(), expected.gradient.detach())
    for part, value in zip(found, expected, strict=True):
        torch.testing.assert_close(part.clone(), value.detach())


@every_potential
def test_gradients_by_points_and_parameters(name: str) -> None:
    potential = REGISTRY[name]()
    z = torch.randn(3, potential.dim, requires_grad=True)
    expansion = potential.expansion(z)
    assert all(part.requires_grad for part in expansion[:2])
    (through,) = torch.autograd.grad(expansion.gradient.sum(), z, retain_graph=True)
    torch.testing.assert_close(through, expansion.hessian.sum(-2), rtol=1e-9, atol=1e-9)
    parameters = list(potential.parameters())
    if parameters:
        probes = [torch.randn_like(part) for part in expansion]
        closed, automatic = (
            torch.autograd.grad(
                torch.stack([(part * probe).sum() for part, probe in zip(parts, probes, strict=True)]).sum(),
                parameters,
                allow_unused=True,
                materialize_grads=True,
            )
            for parts in (expansion, Potential.expansion(potential, z))
        )
        for slope, expected in zip(closed, automatic, strict=True):
            torch.testing.assert_close(slope, expected, rtol=1e-8, atol=1e-8)


@every_potential
def test_every_parameter_is_learned_from_the_energy(name: str) -> None:
    potential = REGISTRY[name]()
    z = torch.randn(5, potential.dim)
    for parameter in potential.parameters():
        direction = torch.randn_like(parameter)
        (slope,) = torch.autograd.grad(potential.energy(z).sum(), parameter, materialize_grads=True)
        with torch.no_grad():
            parameter.add_(1e-5 * direction)
            up = potential.energy(z).sum()
            parameter.sub_(2e-5 * direction)
            down = potential.energy(z).sum()
            parameter.add_(1e-5 * direction)
        torch.testing.assert_close((slope * direction).sum(), (up - down) / 2e-5, rtol=1e-5, atol=1e-7)


@every_potential
def test_confining(name: str) -> None:
    potential = REGISTRY[name]()
    direction = torch.nn.functional.normalize(torch.randn(200, potential.dim), dim=-1)
    radius = torch.tensor([15.0, 30.0, 60.0])[:, None, None]
    energy = potential.energy(radius * direction)
    assert (energy[0] > 5.0).all() and (energy.diff(dim=0) > 10.0).all()
    assert ((potential.force(radius * direction) * direction).sum(-1) < 0).all()


@every_potential
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,)])
def test_batch_shapes(name: str, batch: tuple[int, ...]) -> None:
    potential = REGISTRY[name]()
    z = torch.randn(*batch, potential.dim)
    gradient, hessian, laplacian_gradient = potential.expansion(z, torch.rand(potential.dim))
    assert potential.energy(z).shape == potential(z).shape == batch
    assert potential.gradient(z).shape == gradient.shape == laplacian_gradient.shape == z.shape
    assert hessian.shape == (*batch, potential.dim, potential.dim)
    if z.numel() and batch:
        alone = potential.energy(z.reshape(-1, potential.dim)[-1])
        torch.testing.assert_close(potential.energy(z).flatten()[-1], alone)


@every_potential
def test_read_equals_direct(name: str) -> None:
    potential = REGISTRY[name]()
    z, weights = torch.randn(4, potential.dim), torch.rand(potential.dim)
    once = potential.read()
    torch.testing.assert_close(once.energy(z), potential.energy(z), rtol=0, atol=0)
    torch.testing.assert_close(once.gradient(z), potential.gradient(z), rtol=0, atol=0)
    for part, expected in zip(once.expansion(z, weights), potential.expansion(z, weights), strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=0)


@every_potential
def test_state_dict_round_trip(name: str) -> None:
    potential = REGISTRY[name]()
    other = REGISTRY[name]()
    z = torch.randn(6, potential.dim)
    if list(potential.parameters()) and name != "default network":
        assert not torch.allclose(potential.energy(z), other.energy(z))
    file = io.BytesIO()
    torch.save(potential.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(other.energy(z), potential.energy(z), rtol=0, atol=0)


@every_potential
def test_single_precision(name: str) -> None:
    potential = REGISTRY[name]().float()
    z = torch.randn(5, potential.dim)
    expected = potential.expansion(z.float())
    assert potential.energy(z.float()).dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in expected)
    for part, exact in zip(expected, potential.double().expansion(z.float().double()), strict=True):
        torch.testing.assert_close(part.double(), exact, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_mixture_is_minus_the_log_density_of_a_gaussian_mixture(dim: int) -> None:
    potential = mixture(dim)
    factor = potential.log_sharpness.exp().unsqueeze(-1) * (torch.eye(dim) + potential.skew.tril(-1))
    law = dist.MixtureSameFamily(
        dist.Categorical(logits=potential.logits),
        dist.MultivariateNormal(potential.centres, precision_matrix=factor @ factor.mT),
    )
    z = 2.0 * torch.randn(20, dim)
    torch.testing.assert_close(potential.energy(z), -law.log_prob(z), rtol=1e-10, atol=1e-10)


def test_mixture_integrates_to_one() -> None:
    line = torch.linspace(-12, 12, 4001)
    potential = mixture(1)
    total = torch.trapezoid((-potential.energy(line[:, None])).exp(), line)
    assert total.item() == pytest.approx(1.0, abs=1e-10)


def test_default_network_starts_as_its_reference() -> None:
    potential = NeuralPotential(2)
    z = torch.randn(7, 2)
    torch.testing.assert_close(potential.energy(z), potential.reference.energy(z))
    before = potential.weight.clone()
    potential.reset_parameters()
    assert not torch.equal(before, potential.weight)


@pytest.mark.parametrize("build", [lambda: MixturePotential(2, 12), lambda: NeuralPotential(2)])
def test_initialise_places_wells_on_the_data(build: Callable[[], Potential]) -> None:
    potential = build()
    centres = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    points = centres.repeat_interleave(300, 0) + 0.3 * torch.randn(900, 2)
    potential.initialise(points)
    between = torch.stack([(centres[0] + centres[1]) / 2, (centres[1] + centres[2]) / 2])
    at_centres, outside = potential.energy(centres), potential.energy(between)
    assert outside.min() - at_centres.max() > 1.0
    assert at_centres.max() - at_centres.min() < 1.0
    # the starting law already explains the points better than one Gaussian does
    single = dist.MultivariateNormal(points.mean(0), points.T.cov())
    assert potential.energy(points).mean().item() < -single.log_prob(points).mean().item()


def test_clusters_of_separated_points() -> None:
    centres = torch.tensor([[-5.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    counts = torch.tensor([100, 200, 300])
    points = centres.repeat_interleave(counts, 0) + 0.1 * torch.randn(600, 2)
    found, widths, share = cluster(points, 3)
    order = torch.cdist(centres, found).argmin(1)
    torch.testing.assert_close(found[order], centres, rtol=0, atol=0.05)
    torch.testing.assert_close(share[order], counts / 600.0)
    assert (widths >= 0.05).all()


@pytest.mark.parametrize("points", [torch.zeros(10, 1), torch.arange(3.0)[:, None], torch.zeros(1, 1)])
def test_fewer_distinct_points_than_components(points: Tensor) -> None:
    potential = MixturePotential(1, 8)
    potential.initialise(points.to(torch.get_default_dtype()))
    assert all(bool(parameter.isfinite().all()) for parameter in potential.parameters())
    assert bool(potential.energy(points.double()).isfinite().all())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MixturePotential(0), "latent dimension of at least 1, got 0"),
        (lambda: NeuralPotential(-1), "latent dimension of at least 1, got -1"),
        (lambda: MixturePotential(2, 0), "at least 1 component, got 0"),
        (lambda: MixturePotential(2, width=0.0), "must be positive"),
        (lambda: MixturePotential(2, spread=-1.0), "must be positive"),
        (lambda: NeuralPotential(2, 0), "at least 1 hidden unit, got 0"),
        (lambda: NeuralPotential(2, reference=MixturePotential(3)), "has dim 3, expected 2"),
    ],
)
def test_bad_arguments_are_refused(build: Callable[[], Potential], message: str) -> None:
    with pytest.raises(ValueError, match=message) as problem:
        build()
    assert "\n" not in str(problem.value)


def test_a_potential_without_an_energy_says_so() -> None:
    with pytest.raises(NotImplementedError, match="must define energy"):
        Potential(1).energy(torch.zeros(1))
