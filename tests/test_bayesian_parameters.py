"""Sampled potentials, frictions and temperatures: read once a path, in batches of particles, by every inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from pyro import poutine
from pyro.infer import MCMC, NUTS, Predictive, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoNormal, init_to_mean
from pyro.nn import PyroModule, PyroSample
from pyro.ops.stats import effective_sample_size
from standard_errors import ALLOWED_ERRORS
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.potentials.parameters import snapshot

N_SERIES, N_TIMES, CHANNELS = 3, 4, 2


class Barrier(pl.Potential):
    """A user's double well whose height is sampled."""

    height: Tensor

    def __init__(self) -> None:
        super().__init__(1)
        self.height = PyroSample(dist.LogNormal(0.5, 0.3))  # type: ignore[assignment]

    def energy(self, z: Tensor) -> Tensor:
        return self.height * (z[..., 0].square() - 1.0).square()


class Network(pl.Potential):
    """A user's network, its first layer's weights sampled."""

    def __init__(self) -> None:
        super().__init__(2)
        self.layer = PyroModule[nn.Linear](2, 3)
        self.layer.bias = PyroSample(dist.Normal(0.0, 1.0).expand([3]).to_event(1))

    def energy(self, z: Tensor) -> Tensor:
        return (z @ self.layer.weight.mT + self.layer.bias).tanh().sum(-1) + z.square().sum(-1)


def neural() -> pl.Potential:
    potential = pl.NeuralPotential(2, 4, reference=pl.QuadraticPotential(2))
    potential.weight = PyroSample(dist.Normal(0.0, 1.0).expand([4, 2]).to_event(2))
    potential.height = PyroSample(dist.Normal(0.0, 1.0).expand([4]).to_event(1))
    return potential


def mixture() -> pl.Potential:
    potential = pl.MixturePotential(2, 3)
    potential.centres = PyroSample(dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2))
    potential.logits = PyroSample(dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    return potential


def positive(*shape: int) -> PyroSample:
    return PyroSample(dist.LogNormal(0.0, 0.3).expand(torch.Size(shape)).to_event(len(shape)))


def positive_matrix() -> PyroSample:
    return PyroSample(dist.Wishart(torch.tensor(40.0), torch.eye(2) / 40.0))


pytestmark = [
    pytest.mark.usefixtures("double_precision", "fixed_seed"),
    # torch's Wishart suspects its own samples of rounding to singular matrices, and draws them again
    pytest.mark.filterwarnings("ignore:Singular sample detected"),
]


#: Dynamics with sampled parameters, and the names of the sites.
SAMPLED: dict[str, tuple[Callable[[], pl.Overdamped | pl.Underdamped], set[str]]] = {
    "friction": (lambda: pl.Overdamped(pl.QuadraticPotential(2), friction=positive()), {"friction"}),
    "friction of each dimension": (
        lambda: pl.Overdamped(pl.MixturePotential(2, 3), friction=positive(2), scheme=pl.EulerMaruyama()),
        {"friction"},
    ),
    "temperature": (
        lambda: pl.Overdamped(pl.MixturePotential(2, 3), temperature=positive(), friction=1.0),
        {"temperature"},
    ),
    "stiffness": (
        lambda: pl.Overdamped(pl.QuadraticPotential(2, positive(2), stiffness=positive())),
        {"potential.centre", "potential.stiffness"},
    ),
    "stiffness of each dimension": (
        lambda: pl.Overdamped(pl.QuadraticPotential(2, positive(), stiffness=positive(2)), friction=positive()),
        {"potential.centre", "potential.stiffness", "friction"},
    ),
    "stiffness matrix": (
        lambda: pl.Overdamped(pl.QuadraticPotential(2, stiffness=positive_matrix())),
        {"potential.stiffness"},
    ),
    "network": (lambda: pl.Overdamped(neural()), {"potential.weight", "potential.height"}),
    "mixture": (
        lambda: pl.Overdamped(mixture(), friction=positive()),
        {"potential.centres", "potential.logits", "friction"},
    ),
    "a user's potential": (lambda: pl.Overdamped(Barrier(), friction=positive()), {"potential.height", "friction"}),
    "underdamped": (
        lambda: pl.Underdamped(mixture(), friction=positive(2), mass=positive(), temperature=positive()),
        {"potential.centres", "potential.logits", "friction", "mass", "temperature"},
    ),
    "underdamped, linearized": (
        lambda: pl.Underdamped(
            pl.QuadraticPotential(2, stiffness=positive(2)), mass=positive(2), scheme=pl.PhaseSpaceLinearization()
        ),
        {"potential.stiffness", "mass"},
    ),
    "a user's network": (lambda: pl.Overdamped(Network()), {"potential.layer.bias"}),
}
every_sampled = pytest.mark.parametrize("name", SAMPLED)


class Case(NamedTuple):
    model: pl.LangevinModel
    data: pl.Observations
    sites: set[str]


def case_of(name: str) -> Case:
    build, sites = SAMPLED[name]
    dynamics = build()
    times = (0.2 + 0.3 * torch.rand(N_SERIES, N_TIMES)).cumsum(-1)
    data = pl.Observations(torch.randn(N_SERIES, N_TIMES, CHANNELS), times)
    return Case(
        pl.LangevinModel(dynamics, pl.GaussianEmission(dynamics.position_dim, CHANNELS)),
        data,
        {f"dynamics.{site}" for site in sites},
    )


def latent(trace: poutine.Trace) -> dict[str, Tensor]:
    return {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes if name != "series"}


def values_of(module: PyroModule, values: dict[str, Tensor]) -> None:
    """Set sampled parameters to values, for good."""
    for name, value in values.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        del owner._pyro_samples[leaf]
        if leaf in ("centre", "stiffness"):
            owner.register_buffer(leaf, value)
        else:
            object.__setattr__(owner, leaf, value)


# --- read once


@every_sampled
def test_a_path_keeps_the_parameters_it_read(name: str) -> None:
    case = case_of(name)
    trace = poutine.trace(case.model).get_trace(case.data)
    assert set(latent(trace)) == case.sites | {"z"}
    path, z = trace.nodes["z"]["fn"], trace.nodes["z"]["value"]
    densities = [path.log_prob(z) for _ in range(3)]
    assert torch.equal(densities[0], densities[1]) and torch.equal(densities[1], densities[2])
    # the parameters are of the program, not of the series
    assert all(trace.nodes[site]["cond_indep_stack"] == () for site in case.sites)
    # what it read is what the sites say
    values = {site: trace.nodes[site]["value"] for site in case.sites}
    values_of(case.model, values)
    direct = pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data))
    torch.testing.assert_close(direct.log_prob(z), densities[0])


@every_sampled
def test_the_sites_remain_when_the_path_is_conditioned(name: str) -> None:
    case = case_of(name)
    before = poutine.trace(case.model).get_trace(case.data)
    z = before.nodes["z"]["value"]
    after = poutine.trace(poutine.condition(case.model, {"z": z})).get_trace(case.data)
    assert set(latent(after)) == case.sites
    assert all(not torch.equal(after.nodes[site]["value"], before.nodes[site]["value"]) for site in case.sites)
    # replayed, the path has the density it had
    values = {site: before.nodes[site]["value"] for site in case.sites}
    again = poutine.trace(poutine.condition(case.model, {"z": z, **values})).get_trace(case.data)
    again.compute_log_prob()
    torch.testing.assert_close(again.nodes["z"]["log_prob"], before.nodes["z"]["fn"].log_prob(z))


@every_sampled
@pytest.mark.parametrize("n_particles", [N_SERIES, 5])
def test_particles_have_parameters_of_their_own(name: str, n_particles: int) -> None:
    case = case_of(name)
    with pyro.plate("particles", n_particles, dim=-2):
        trace = poutine.trace(case.model).get_trace(case.data)
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    assert z.shape == (n_particles, N_SERIES, N_TIMES, case.model.dynamics.dim)
    density = trace.nodes["z"]["fn"].log_prob(z)
    assert density.shape == (n_particles, N_SERIES)
    for particle in range(n_particles):
        values = {}
        for site in case.sites:
            value = trace.nodes[site]["value"]
            assert value.shape[:2] == (n_particles, 1)
            values[site] = value[particle, 0]
        alone = poutine.trace(poutine.condition(case.model, {"z": z[particle], **values})).get_trace(case.data)
        torch.testing.assert_close(alone.nodes["z"]["fn"].log_prob(z[particle]), density[particle])
    # one path under the parameters of every particle
    shared = trace.nodes["z"]["fn"].log_prob(z[0])
    torch.testing.assert_close(shared[0], density[0])
    assert shared.shape == (n_particles, N_SERIES) and not torch.allclose(shared[1], shared[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@every_sampled
def test_prior_predictive(name: str, mode: Callable[[], torch.no_grad]) -> None:
    case = case_of(name)
    with mode():
        drawn = Predictive(poutine.uncondition(case.model), num_samples=6, parallel=True)(case.data)
    assert drawn["y"].shape == (6, N_SERIES, N_TIMES, CHANNELS) and bool(drawn["y"].isfinite().all())


def test_sampled_parameters_are_not_read_outside_their_model() -> None:
    case = case_of("a user's potential")
    message = r"dynamics.*friction.*potential.height are sampled|height is|are sampled \(PyroSample\)"
    for action in (
        case.model.dynamics.read,
        case.model.dynamics.potential.read,
        lambda: pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data)),
        lambda: pl.SteeredGuide(case.model, pl.RecurrentEncoder(CHANNELS))(case.data),
    ):
        with pytest.raises(RuntimeError, match=message):
            action()


def test_a_snapshot_is_the_same_module_with_its_parameters_read() -> None:
    potential = Network()
    with torch.no_grad():
        potential.layer.weight.normal_()
    with potential._pyro_context:
        taken = snapshot(potential)
    assert isinstance(taken, Network) and taken.layer is not potential.layer
    z = torch.randn(5, 2)
    assert torch.equal(taken.energy(z), taken.energy(z))
    assert not torch.equal(potential.layer.bias, potential.layer.bias)  # the module itself samples on
    expected = (z @ potential.layer.weight.mT + taken.layer.bias).tanh().sum(-1) + z.square().sum(-1)
    torch.testing.assert_close(taken.energy(z), expected)


# --- a label that chooses the friction, enumerated


@pytest.mark.parametrize("potential", [lambda: pl.QuadraticPotential(1), lambda: pl.NeuralPotential(1, 4)])
def test_a_discrete_friction_is_enumerated(potential: Callable[[], pl.Potential]) -> None:
    times = (0.2 + 0.3 * torch.rand(N_SERIES, N_TIMES)).cumsum(-1)
    energy, rates, chances = potential(), torch.tensor([0.3, 1.0, 4.0]), torch.tensor([0.2, 0.5, 0.3])
    first = dist.Normal(torch.zeros(1), 1.0).to_event(1)
    y = torch.randn(N_SERIES, N_TIMES, 1)

    @config_enumerate
    def model() -> None:
        with pyro.plate("series", N_SERIES):
            label = pyro.sample("label", dist.Categorical(chances))
            dynamics = pl.Overdamped(energy, friction=rates[label].unsqueeze(-1))
            z = pyro.sample("z", pl.LangevinPath(dynamics, first, times))
            pyro.sample("y", dist.Normal(z, 0.5).to_event(2), obs=y)

    z = torch.randn(N_SERIES, N_TIMES, 1)

    def guide() -> None:
        with pyro.plate("series", N_SERIES):
            pyro.sample("z", dist.Delta(z, event_dim=2))

    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide)
    paths = [pl.LangevinPath(pl.Overdamped(energy, friction=rate), first, times) for rate in rates]
    by_label = torch.stack([path.log_prob(z) for path in paths])
    expected = torch.logsumexp(by_label + chances.log()[:, None], 0) + dist.Normal(z, 0.5).log_prob(y).sum((-1, -2))
    assert loss == pytest.approx(-expected.sum().item(), abs=1e-9)


# --- guides of parameters and paths


def exact_guide_of(case: Case, kind: type[AmortisedGuide], automatic: type[AutoNormal]) -> pl.JointGuide:
    hidden = poutine.block(case.model, hide=["z"])
    own = automatic(hidden, init_loc_fn=init_to_mean, init_scale=0.1)
    return pl.JointGuide(own, kind(case.model, pl.RecurrentEncoder(CHANNELS, 4), hidden=6))


@pytest.mark.parametrize(
    "name", ["friction", "stiffness of each dimension", "network", "underdamped", "a user's potential"]
)
@pytest.mark.parametrize("kind", [pl.SteeredGuide, pl.GaussMarkovGuide, pl.ControlledGuide])
@pytest.mark.parametrize("automatic", [AutoNormal, AutoLowRankMultivariateNormal])
@pytest.mark.parametrize("particles", [1, N_SERIES, 5])
def test_joint_guides_of_parameters_and_paths(
    name: str, kind: type[AmortisedGuide], automatic: type[AutoNormal], particles: int
) -> None:
    case = case_of(name)
    guide = exact_guide_of(case, kind, automatic)
    guide(case.data)  # builds the automatic guide
    for elbo in (Trace_ELBO, TraceMeanField_ELBO):
        estimator = elbo(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1)
        pyro.set_rng_seed(3)
        loss = estimator.differentiable_loss(case.model, guide, case.data)
        loss.backward()
        for parameter in (*guide.parameters(), *case.model.dynamics.parameters()):
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all())
        if elbo is Trace_ELBO:
            pyro.set_rng_seed(3)
            with pyro.plate("particles", particles, dim=-2):
                trace = poutine.trace(guide).get_trace(case.data)
                answer = poutine.trace(poutine.replay(case.model, trace=trace)).get_trace(case.data)
            by_hand = (torch.as_tensor(trace.log_prob_sum()) - torch.as_tensor(answer.log_prob_sum())) / particles
            assert loss.item() == pytest.approx(by_hand.item(), abs=1e-8)
            # the guide's path has the very dynamics that the guide drew
            steered, prior = trace.nodes["z"]["fn"], answer.nodes["z"]["fn"]
            if isinstance(steered, pl.SteeredPath):
                z = trace.nodes["z"]["value"]
                free, guided = (p.transitions(p.time_first(z)) for p in (prior, steered))
                torch.testing.assert_close(free.mean, guided.mean)
                torch.testing.assert_close(free.scale, guided.scale)


def test_a_guide_that_leaves_a_parameter_out_is_refused() -> None:
    case = case_of("a user's potential")
    own = AutoNormal(poutine.block(case.model, hide=["z", "dynamics.friction"]))
    guide = pl.JointGuide(own, pl.SteeredGuide(case.model, pl.RecurrentEncoder(CHANNELS, 4)))
    with pytest.raises(ValueError, match=r"not \['dynamics.friction'\]; build it on the model with no site hidden"):
        guide(case.data)


# --- NUTS


def test_friction_by_nuts_has_the_posterior_of_the_evidence() -> None:
    n_points, noise, stiffness = 5, 0.3, 1.5
    times = 0.4 * torch.arange(float(n_points))
    process = lambda friction: OrnsteinUhlenbeck(  # noqa: E731
        torch.tensor([[stiffness]]), torch.zeros(1), friction, 1.0, torch.zeros(1), torch.tensor([[1.0 / stiffness]])
    )
    n_series = 6
    z = process(0.7).path_law(times).sample(torch.Size([n_series]))
    data = pl.Observations((z + noise * torch.randn_like(z)).unsqueeze(-1), times.expand(n_series, -1))
    emission = pl.GaussianEmission(1, 1)
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.fill_(0.0)
    emission.noise = torch.tensor([noise])
    dynamics = pl.Overdamped(pl.QuadraticPotential(1, stiffness=stiffness), friction=positive())
    first = dist.Normal(torch.zeros(1), math.sqrt(1.0 / stiffness)).to_event(1)
    model = pl.LangevinModel(dynamics, emission, initial=lambda: first)  # type: ignore[arg-type]
    for parameter in model.eval().parameters():
        parameter.requires_grad_(False)
    noisy = poutine.reparam(model, {"z": pl.LangevinReparam()})
    chain = MCMC(NUTS(noisy, max_tree_depth=4), num_samples=80, warmup_steps=30, disable_progbar=True)
    chain.run(data)
    found = chain.get_samples()["dynamics.friction"].log()

    grid = torch.linspace(-2.0, 2.0, 60)
    exact = LinearEmission(torch.ones(1, 1), torch.zeros(1), torch.tensor([noise]))
    seen = torch.ones(n_points, 1, dtype=torch.bool)
    evidence = torch.stack([
        sum(kalman_log_evidence(process(float(g.exp())), exact, times, y, seen) for y in data.values) for g in grid
    ])
    weight = torch.softmax(evidence + dist.Normal(0.0, 0.3).log_prob(grid), 0)
    mean = (weight * grid).sum()
    variance = (weight * (grid - mean).square()).sum()
    size = effective_sample_size(found[None]).clamp_max(len(found))
    assert float((found.mean() - mean).abs()) < ALLOWED_ERRORS * float((variance / size).sqrt())
    squares = (found - mean).square()
    size = effective_sample_size(squares[None]).clamp_max(len(found))
    assert float((squares.mean() - variance).abs()) < ALLOWED_ERRORS * float(variance * (2.0 / size).sqrt())
    assert float(size) > 20.0
