"""Priors beyond a gradient: their transitions, densities and posteriors, and what they must refuse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, exact_posterior, kalman_log_evidence
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import Tensor, nn
from torch.distributions import constraints, kl_divergence

import pyro_langevin as pl
from pyro_langevin.dynamics import (
    AdditiveNoise,
    GeometricNoise,
    ItoDiffusion,
    LinearNoise,
    Noise,
    Overdamped,
    Underdamped,
)
from pyro_langevin.grid_filter import StateGrid, grid_log_evidence
from pyro_langevin.paths import LangevinPath, Messages, SteeredPath
from pyro_langevin.potentials import QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training.phases import can_be_exact

TIMES = torch.tensor([0.0, 0.1, 0.25, 0.3, 0.5], dtype=torch.float64)
TURN = torch.tensor([[-0.5, 2.0], [-2.0, -0.7]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    torch.set_default_dtype(before)


def turning(z: Tensor) -> Tensor:
    """A drift with a curl: no potential has it."""
    return z @ TURN.to(z).mT


def normal(dim: int) -> dist.Independent:
    return dist.Normal(torch.ones(dim), 0.5).to_event(1)


# --- transitions


@pytest.mark.parametrize("scale", [0.4, torch.tensor([0.3, 0.8], dtype=torch.float64)])
@pytest.mark.parametrize(
    ("noise", "amplitude", "extra"),
    [
        (AdditiveNoise, torch.ones_like, 0.0),
        (LinearNoise, lambda z: z, 0.0),
        (GeometricNoise, torch.ones_like, 0.5),
    ],
)
def test_transition_is_its_formula(
    noise: type[Noise], amplitude: Callable[[Tensor], Tensor], extra: float, scale: float | Tensor
) -> None:
    dynamics = ItoDiffusion(turning, 2, noise=noise(scale))
    z, step = torch.randn(3, 4, 2), torch.rand(4, 1) + 0.1
    found = dynamics.transition(z, step)
    drift = turning(z.exp() if noise is GeometricNoise else z)
    torch.testing.assert_close(found.mean, z + (drift - extra * torch.as_tensor(scale) ** 2) * step)
    expected = (scale * amplitude(z)).square() * step
    torch.testing.assert_close(found.scale @ found.scale.mT, torch.diag_embed(expected))


@pytest.mark.parametrize("step", [0.01, 5.0])
def test_geometric_noise_is_exact_for_a_constant_growth_rate(step: float) -> None:
    """``x' = x exp((b - s²/2) h + s W_h)``: log-normal with mean ``x exp(b h)`` at any step, and positive."""
    dynamics = ItoDiffusion(lambda x: torch.full_like(x, 0.3), 1, noise=GeometricNoise(0.7))
    z = torch.tensor([[-1.0], [2.0]])
    found = dynamics.transition(z, torch.tensor([step]))
    variance = found.scale[..., 0].square()
    torch.testing.assert_close((found.mean + 0.5 * variance).exp(), z.exp() * math.exp(0.3 * step))
    torch.testing.assert_close(variance.exp() - 1.0, torch.full((2, 1), math.exp(0.49 * step) - 1.0))


def test_linear_noise_leaves_a_density_at_zero() -> None:
    path = LangevinPath(ItoDiffusion(turning, 2, noise=LinearNoise(0.5)), normal(2), TIMES)
    z = torch.randn(3, len(TIMES), 2)
    z[0, 2] = 0.0
    z.requires_grad_()
    density = path.log_prob(z)
    density.sum().backward()
    assert bool(torch.isfinite(density).all()) and bool(torch.isfinite(z.grad).all())  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [AdditiveNoise, LinearNoise, GeometricNoise])
def test_a_learned_scale_starts_where_it_is_told(noise: type[Noise]) -> None:
    points = 3.0 * torch.randn(500, 2)
    dynamics = ItoDiffusion(turning, 2, noise=noise())
    dynamics.initialise(0.8, points)
    assert float(dynamics.diffusion.detach()) == pytest.approx(0.8)
    amplitude = dynamics.read().noise_scale(points).square()
    assert 0.5 * float(amplitude.detach().mean()) == pytest.approx(0.8, rel=1e-6)  # on average over the states
    fixed = ItoDiffusion(turning, 2, noise=noise(0.4))
    fixed.initialise(0.8, points)
    assert float(fixed.noise.scale) == pytest.approx(0.4) and not list(fixed.parameters())
    own = PyroParam(torch.tensor([0.5, 0.6]), constraint=constraints.positive)
    assert [name for name, _ in ItoDiffusion(turning, 2, noise=noise(own)).named_parameters()] == [
        "noise.scale_unconstrained"
    ]


# --- densities and posteriors


@dataclass(frozen=True)
class Turning:
    """The Euler chain of a linear drift, as the exact solutions of linear-Gaussian problems want it."""

    initial_mean: Tensor
    initial_covariance: Tensor
    scale: float

    dim = 2
    centre = torch.zeros(2, dtype=torch.float64)

    def flow(self, gap: float) -> Tensor:
        return torch.eye(2) + gap * TURN

    def gained(self, gap: float) -> Tensor:
        return self.scale**2 * gap * torch.eye(2)


@pytest.fixture
def process() -> Turning:
    return Turning(torch.tensor([1.0, -0.5]), torch.tensor([[0.6, 0.2], [0.2, 0.3]]), 0.7)


def initial_of(process: Turning) -> dist.MultivariateNormal:
    return dist.MultivariateNormal(process.initial_mean, process.initial_covariance)


def test_density_of_a_turning_process_is_one_dense_gaussian(process: Turning) -> None:
    loads, mean = [torch.linalg.cholesky(process.initial_covariance)], process.initial_mean
    rows, means = [torch.cat([loads[0], torch.zeros(2, 8)], -1)], [mean]
    for k, gap in enumerate(TIMES.diff().tolist()):
        row = process.flow(gap) @ rows[-1]
        row[:, 2 * (k + 1) : 2 * (k + 2)] = process.scale * math.sqrt(gap) * torch.eye(2)
        rows.append(row)
        means.append(process.flow(gap) @ means[-1])
    root = torch.cat(rows)
    dense = dist.MultivariateNormal(torch.cat(means), root @ root.mT)
    dynamics = ItoDiffusion(turning, 2, noise=AdditiveNoise(process.scale))
    z = torch.randn(6, len(TIMES), 2)
    found = LangevinPath(dynamics, initial_of(process), TIMES).log_prob(z)
    torch.testing.assert_close(found, dense.log_prob(z.flatten(1)), rtol=1e-9, atol=1e-9)


def test_the_steered_bound_of_a_turning_process_is_the_kalman_evidence(process: Turning) -> None:
    weight = torch.tensor([[1.0, 0.4], [0.2, -0.8]])
    emission = LinearEmission(weight, bias=torch.tensor([0.1, 0.0]), noise=torch.tensor([0.3, 0.5]))
    values, mask = torch.randn(len(TIMES), 2), torch.rand(len(TIMES), 2) < 0.7
    exact = exact_posterior(process, emission, TIMES, values, mask)  # type: ignore[arg-type]
    dynamics = ItoDiffusion(turning, 2, noise=AdditiveNoise(process.scale))
    first = dist.MultivariateNormal(exact.first_mean, exact.first_covariance)
    posterior = SteeredPath(dynamics, first, TIMES, Messages(exact.centre, exact.root))
    z = posterior.rsample(torch.Size([30]))
    seen = dist.Normal(z @ emission.weight.mT + emission.bias, emission.noise).log_prob(values)
    prior = LangevinPath(dynamics, initial_of(process), TIMES)
    bound = torch.where(mask, seen, 0.0).sum((-2, -1)) + prior.log_prob(z) - posterior.log_prob(z)
    evidence = kalman_log_evidence(process, emission, TIMES, values, mask)  # type: ignore[arg-type]
    torch.testing.assert_close(bound, evidence.expand(30), rtol=0, atol=1e-8)


@pytest.mark.parametrize("noise", [AdditiveNoise, LinearNoise, GeometricNoise])
def test_gradients_of_a_steered_path_are_those_of_its_steps(noise: type[Noise]) -> None:
    """The batched chain rule against plain differentiation of the loop over time, with the same noise."""
    network = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2))
    dynamics = ItoDiffusion(network, 2, noise=noise())
    messages = Messages(torch.randn(4, 2), 0.5 * torch.randn(4, 2, 2))
    path = SteeredPath(dynamics, normal(2), TIMES, messages)

    def slopes(z: Tensor) -> list[Tensor]:
        weights = torch.linspace(0.5, 1.5, z.numel()).reshape(z.shape)
        return list(torch.autograd.grad((weights * z.sin()).sum(), list(dynamics.parameters())))

    torch.manual_seed(3)
    batched = path.rsample()
    torch.manual_seed(3)
    states, once = [path.initial.rsample()], dynamics.read()
    kicks = torch.randn(4, 2)
    for k, gap in enumerate(TIMES.diff()):
        transition = once.transition(states[-1], gap[None])
        tilt = Messages(messages.centre[k], messages.root[k]).tilt(states[-1], transition, gap)
        states.append(transition.apply(tilt.apply(kicks[k])))
    looped = torch.stack(states)
    torch.testing.assert_close(batched, looped)
    for ours, theirs in zip(slopes(batched), slopes(looped), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


# --- Bayesian drifts


class UncertainDrift(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.inner = PyroModule[nn.Linear](2, 2)
        self.inner.weight = PyroSample(dist.Normal(0.0, torch.ones(2, 2)).to_event(2))
        self.outer = nn.Linear(2, 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.outer(self.inner(z).tanh())


class OnePath(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.dynamics = ItoDiffusion(UncertainDrift(), 2, noise=AdditiveNoise(PyroSample(dist.LogNormal(0.0, 0.3))))

    def forward(self) -> LangevinPath:
        path = LangevinPath(self.dynamics, normal(2), TIMES)
        pyro.sample("z", path)
        return path


def test_a_bayesian_drift_is_read_once_a_path() -> None:
    model = OnePath()
    trace = poutine.trace(model).get_trace()
    sites = {"dynamics.drift.inner.weight", "dynamics.noise.scale"}
    assert sites < set(trace.stochastic_nodes)
    path, z = trace.nodes["_RETURN"]["value"], trace.nodes["z"]["value"]
    first = path.log_prob(z)
    assert all(torch.equal(path.log_prob(z), first) for _ in range(3))
    conditioned = poutine.trace(poutine.condition(model, {name: trace.nodes[name]["value"] for name in sites | {"z"}}))
    torch.testing.assert_close(conditioned.get_trace().nodes["_RETURN"]["value"].log_prob(z), first)
    other = poutine.trace(poutine.condition(model, {"z": z})).get_trace()
    assert not torch.equal(other.nodes["_RETURN"]["value"].log_prob(z), first)
    parameters = {name for name, node in trace.nodes.items() if node["type"] == "param"}
    assert {"dynamics.drift.outer$$$weight", "dynamics.drift.inner.bias"} <= parameters


def test_a_plain_network_is_registered_by_the_model() -> None:
    class Model(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.dynamics = ItoDiffusion(nn.Linear(2, 2), 2)

        def forward(self) -> None:
            pyro.sample("z", LangevinPath(self.dynamics, normal(2), TIMES))

    trace = poutine.trace(Model()).get_trace()
    parameters = {name for name, node in trace.nodes.items() if node["type"] == "param"}
    assert {"dynamics.drift$$$weight", "dynamics.drift$$$bias", "dynamics.noise.scale"} <= parameters


# --- prior and guide share the diffusion


def silent(dynamics: object) -> SteeredPath:
    messages = Messages(torch.zeros(len(TIMES) - 1, 2), 0.1 * torch.eye(2).expand(len(TIMES) - 1, 2, 2))
    return SteeredPath(dynamics, normal(2), TIMES, messages)  # type: ignore[arg-type]


def underdamped(friction: float) -> Underdamped:
    return Underdamped(QuadraticPotential(1), friction=friction)


def overdamped(friction: float, stiffness: float = 1.0) -> Overdamped:
    return Overdamped(QuadraticPotential(2, stiffness=stiffness * torch.eye(2)), friction=friction)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        (ItoDiffusion(turning, 2, noise=AdditiveNoise(0.5)), ItoDiffusion(turning, 2, noise=AdditiveNoise(0.6))),
        (ItoDiffusion(turning, 2, noise=AdditiveNoise(0.5)), ItoDiffusion(turning, 2, noise=LinearNoise(0.6))),
        (overdamped(1.0), overdamped(1.5)),
        (underdamped(1.0), underdamped(1.5)),
        (underdamped(1.0), overdamped(1.0)),
        (overdamped(1.0), ItoDiffusion(turning, 2, noise=AdditiveNoise(1.0))),
    ],
)
@pytest.mark.parametrize("sampled", [True, False])
def test_paths_with_different_noise_are_refused(posterior: object, prior: object, sampled: bool) -> None:
    path = silent(posterior)
    if sampled:
        path.rsample()
    with pytest.raises(ValueError, match="expected the diffusion of the prior path, got one whose covariance differs"):
        kl_divergence(path, LangevinPath(prior, normal(2), TIMES))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        (ItoDiffusion(turning, 2, noise=AdditiveNoise(0.5)), ItoDiffusion(torch.sin, 2, noise=AdditiveNoise(0.5))),
        (overdamped(2.0), overdamped(2.0, stiffness=30.0)),  # local linearization: the step's noise knows the force
        (overdamped(2.0), ItoDiffusion(turning, 2, noise=AdditiveNoise(1.0))),
        (underdamped(1.0), Underdamped(DoubleWell(), friction=1.0)),
    ],
)
def test_paths_with_the_same_noise_and_another_drift_fall_back_to_the_density_ratio(
    posterior: object, prior: object
) -> None:
    path, law = silent(posterior), LangevinPath(prior, normal(2), TIMES)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        kl_divergence(path, law)

    def model() -> None:
        pyro.sample("z", law)

    def guide() -> None:
        pyro.sample("z", path)

    pyro.set_rng_seed(1)
    loss = TraceMeanField_ELBO().loss(model, guide)
    pyro.set_rng_seed(1)
    z = path.sample()
    assert loss == pytest.approx(float(path.log_prob(z) - law.log_prob(z)))


# --- model, guides, training


def observations() -> pl.Observations:
    """A noisy turning process, seen through three channels."""
    times = torch.linspace(0.0, 6.0, 31)
    dynamics = ItoDiffusion(turning, 2, noise=AdditiveNoise(0.6))
    paths = pl.simulate(dynamics, times, initial=normal(2), max_step=0.02, n_paths=48)
    channels = paths @ torch.tensor([[1.0, 0.3, -0.5], [0.2, 1.0, 0.8]])
    return pl.Observations(channels + 0.1 * torch.randn_like(channels), times=times)


@pytest.fixture(params=["linear", "network"])
def pair(request: pytest.FixtureRequest) -> tuple[pl.LangevinModel, pl.SteeredGuide]:
    torch.set_default_dtype(torch.float32)
    drift: nn.Module = nn.Linear(2, 2, bias=False)
    noise: Noise = AdditiveNoise()
    if request.param == "network":
        drift, noise = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)), LinearNoise()
    model = pl.LangevinModel(ItoDiffusion(drift, 2, noise=noise), pl.GaussianEmission(2, 3), max_step=0.1)
    return model, pl.SteeredGuide(model, pl.RecurrentEncoder(3, hidden=16))


def test_fit_trains_and_figures_that_need_a_potential_are_refused(
    pair: tuple[pl.LangevinModel, pl.SteeredGuide],
) -> None:
    model, guide = pair
    data = observations()
    result = pl.fit(model, guide, data, steps=30, batch_size=16, window=11, seeds=1, progress=False)
    loss = torch.tensor(result.members[0].loss)
    assert float(loss[-5:].mean()) < float(loss[:5].mean()) - 0.05
    with pytest.raises(pl.NoPotentialError, match="a drift has no potential behind it"):
        pl.posterior(result, data, draws=2)
    z = guide.path(data).rsample()
    assert z.shape == (48, model.grid(data).n_points, 2) and bool(torch.isfinite(z).all())


def test_the_exact_evidence_on_a_grid_is_not_for_drifts() -> None:
    torch.set_default_dtype(torch.float32)
    model = pl.LangevinModel(ItoDiffusion(torch.sin, 1), pl.GaussianEmission(1, 1))
    data = pl.Observations(torch.randn(5))
    assert not can_be_exact(model, data)
    assert can_be_exact(pl.LangevinModel(Overdamped(DoubleWell()), pl.GaussianEmission(1, 1)), data)
    data = pl.Observations(torch.randn(2, 5, 1), times=torch.arange(5.0))
    with pytest.raises((TypeError, ValueError), match="exact evidence"):
        grid_log_evidence(model, data, StateGrid.around(-1.0, 1.0))
    with pytest.raises(pl.NoPotentialError, match="LocalLinearization"):
        pl.LocalLinearization().transition(model.dynamics.read(), torch.zeros(2, 1), torch.ones(1))


@pytest.mark.slow
def test_the_turning_of_a_process_is_learned() -> None:
    """Decay and frequency are the eigenvalues of the drift, whatever the latent coordinates."""
    torch.set_default_dtype(torch.float32)
    data, step = observations(), 0.1
    network = nn.Linear(2, 2, bias=False)
    model = pl.LangevinModel(ItoDiffusion(network, 2), pl.GaussianEmission(2, 3), max_step=step)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(3, hidden=32))
    pl.fit(model, guide, data, steps=400, learning_rate=2e-2, progress=False)
    factor = 1.0 + step * torch.linalg.eigvals(network.weight.detach().double())  # of one Euler step
    found, exact = factor.log() / step, torch.linalg.eigvals(TURN)
    assert float(found.imag.max()) == pytest.approx(float(exact.imag.max()), rel=0.05)
    # the maximum-likelihood decay has standard error sqrt(decay / time): 288 time units in all, and two coordinates
    error = math.sqrt(0.6 / 288.0)
    assert float(found.real.mean()) == pytest.approx(float(exact.real.mean()), abs=3.0 * error)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: ItoDiffusion(3.0, 1), TypeError, "expected a drift network or function, got float"),  # type: ignore[arg-type]
        (lambda: ItoDiffusion(torch.sin, 0), ValueError, "state dimension of at least 1, got 0"),
        (lambda: ItoDiffusion(torch.sin, 1, noise=0.5), TypeError, "expected a Noise, got float; give AdditiveNoise"),  # type: ignore[arg-type]
        (lambda: LinearNoise(-1.0), ValueError, "LinearNoise: scale must be positive, got -1.0"),
    ],
)
def test_bad_arguments_are_refused(build: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        build()


def test_a_drift_of_the_wrong_shape_is_refused() -> None:
    dynamics = ItoDiffusion(lambda z: z.sum(-1, keepdim=True), 2, noise=AdditiveNoise(1.0))
    with pytest.raises(ValueError, match=r"drift of the state's shape \(3, 2\), got \(3, 1\); build"):
        dynamics.transition(torch.randn(3, 2), torch.tensor(0.1))
