"""The whole of Pyro's tools on every model and guide: a row is a model with a guide, a column is a test.

A new dynamics or a new guide is one entry in ``DYNAMICS`` or ``GUIDES``.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    ELBO,
    MCMC,
    NUTS,
    SVI,
    Importance,
    JitTrace_ELBO,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoNormal
from pyro.infer.importance import psis_diagnostic, vectorized_importance_weights
from pyro.infer.inspect import generate_graph_specification, get_model_relations
from pyro.infer.mcmc.util import initialize_model
from pyro.nn import PyroModule, PyroParam
from pyro.ops.stats import fit_generalized_pareto
from standard_errors import ALLOWED_ERRORS
from torch import Tensor
from torch.distributions import constraints

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import at_observations
from pyro_langevin.paths.tilted import TiltedPath

LENGTHS, CHANNELS = (4, 2, 3), 2


class Quartic(pl.Potential):
    """A user's potential: an energy, nothing else."""

    depth: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.depth = PyroParam(torch.tensor(1.5), constraint=constraints.positive)  # type: ignore[assignment]

    def energy(self, z: Tensor) -> Tensor:
        return self.depth * (z.square() - 1.0).square().sum(-1)


@torch.no_grad()
def network() -> pl.NeuralPotential:
    potential = pl.NeuralPotential(1, 6)
    potential.height.normal_()
    return potential


# --- the rows

DYNAMICS: dict[str, Callable[[], pl.Overdamped | pl.Underdamped]] = {
    "overdamped": lambda: pl.Overdamped(network()),
    "overdamped, Euler, 2D": lambda: pl.Overdamped(pl.MixturePotential(2, 3), scheme=pl.EulerMaruyama()),
    "overdamped, a user's potential": lambda: pl.Overdamped(Quartic(1)),
    "underdamped": lambda: pl.Underdamped(network()),
}
GUIDES: dict[str, Callable[[pl.LangevinModel], AmortisedGuide]] = {
    "steered": lambda model: pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 4), hidden=6),
    "Gauss-Markov": lambda model: pl.GaussMarkovGuide(model, pl.RecurrentEncoder(CHANNELS, 4), hidden=6),
    "controlled": lambda model: pl.ControlledGuide(model, pl.RecurrentEncoder(CHANNELS, 4), hidden=6, bound=2.0),
}
every_row = pytest.mark.parametrize(("dynamics", "kind"), [(d, g) for d in DYNAMICS for g in GUIDES])
every_model = pytest.mark.parametrize(("dynamics", "kind"), [(d, next(iter(GUIDES))) for d in DYNAMICS])


class Row(NamedTuple):
    model: pl.LangevinModel
    guide: AmortisedGuide
    data: pl.Observations


@functools.cache
def row(dynamics: str, kind: str) -> Row:
    """A model and a guide that is right enough for its weights to have moderate variance."""
    pyro.set_rng_seed(0)
    values = [torch.randn(n, CHANNELS).cumsum(0) for n in LENGTHS]
    masks = [torch.rand(n, CHANNELS) < 0.8 for n in LENGTHS]
    for mask in masks:
        mask[0] = True
    times = [5.0 + (0.2 + 0.2 * torch.rand(n)).cumsum(0) for n in LENGTHS]
    data = pl.Observations(values, times, mask=masks)
    process = DYNAMICS[dynamics]()
    model = pl.LangevinModel(process, pl.GaussianEmission(process.potential.dim, CHANNELS), max_step=0.35)
    guide = GUIDES[kind](model)
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        for name, parameter in guide.named_parameters():  # a guide that says something of its own
            if not name.startswith("encoder"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return Row(model, guide, data)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def seen_states(model: pl.LangevinModel, z: Tensor, data: pl.Observations) -> Tensor:
    """What the emission sees of paths: positions at the observation times."""
    return at_observations(z, model.grid(data))[..., : model.dynamics.position_dim]


def log_joint(model: pl.LangevinModel, data: pl.Observations, z: Tensor) -> Tensor:
    """Log density of paths and data by series, by hand."""
    seen = model.emission.log_likelihood(seen_states(model, z, data), data.values, data.mask).sum(-1)
    return pl.LangevinPath(model.dynamics, model.initial(), model.grid(data)).log_prob(z) + seen


SEED = 3


def seeded_paths(case: Row, particles: int) -> Tensor:
    """The paths ``(particles, series, point, dim)`` that the guide draws first after ``SEED``."""
    pyro.set_rng_seed(SEED)
    return case.guide.path(case.data).expand(torch.Size([particles, len(LENGTHS)])).rsample()


@torch.no_grad()
def log_weights(case: Row, particles: int) -> Tensor:
    """Log importance weights ``(particles, series)`` of these paths, by hand."""
    z = seeded_paths(case, particles)
    return log_joint(case.model, case.data, z) - case.guide.path(case.data).log_prob(z)


def mean_field(case: Row, particles: int) -> Tensor:
    """The same as ``log_weights``, with the path's divergence in the place of the density ratio where there is one."""
    if not isinstance(case.guide.path(case.data), TiltedPath):
        return log_weights(case, particles)
    z = seeded_paths(case, particles)
    posterior = case.guide.path(case.data)
    prior = pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data))
    seen = log_joint(case.model, case.data, z) - prior.log_prob(z)
    start = posterior.initial.log_prob(z[..., 0, :]) - prior.initial.log_prob(z[..., 0, :])
    return (seen - start - posterior.kl_along(z)).detach()


def assert_all_are_trained(case: Row) -> None:
    """Every parameter of model and guide has a finite gradient, and nearly every one a gradient that is not 0."""
    for module in (case.model, case.guide):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            idle = name.endswith("skew") and case.model.dynamics.position_dim == 1  # no off-diagonal in one dimension
            assert idle or bool((parameter.grad != 0).any()), name
            parameter.grad = None


# --- columns: bounds

BOUNDS: dict[str, Callable[[int], ELBO]] = {
    elbo.__name__: functools.partial(
        lambda elbo, n: elbo(
            num_particles=n, vectorize_particles=n > 1, max_plate_nesting=1, strict_enumeration_warning=False
        ),
        elbo,
    )
    for elbo in (Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO, TraceEnum_ELBO)
}
every_bound = pytest.mark.parametrize("elbo", BOUNDS)


@every_row
@every_bound
@pytest.mark.parametrize("particles", [1, len(LENGTHS), 5])
def test_every_bound_is_the_bound(dynamics: str, kind: str, elbo: str, particles: int) -> None:
    case = row(dynamics, kind)
    by_hand = mean_field if elbo == "TraceMeanField_ELBO" else log_weights
    expected = -by_hand(case, particles).sum(-1).mean().item()
    pyro.set_rng_seed(SEED)
    assert BOUNDS[elbo](particles).loss(case.model, case.guide, case.data) == pytest.approx(expected, abs=1e-8)


@every_row
@every_bound
def test_every_bound_trains_everything(dynamics: str, kind: str, elbo: str) -> None:
    case, estimator = copy.deepcopy(row(dynamics, kind)), BOUNDS[elbo](len(LENGTHS))
    estimator.loss_and_grads(case.model, case.guide, case.data)
    assert_all_are_trained(case)


@every_row
@pytest.mark.parametrize(("particles", "vectorised"), [(3, False), (len(LENGTHS), True), (5, True)])
def test_renyi_bound_is_that_of_the_exact_weights(dynamics: str, kind: str, particles: int, vectorised: bool) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    estimator = RenyiELBO(alpha=0, num_particles=particles, vectorize_particles=vectorised, max_plate_nesting=1)
    if vectorised:
        weights = log_weights(case, particles)
    else:
        pyro.set_rng_seed(SEED)
        path = case.guide.path(case.data)
        drawn = torch.stack([path.rsample() for _ in range(particles)])
        weights = log_joint(case.model, case.data, drawn) - path.log_prob(drawn)
    expected = -(torch.logsumexp(weights, 0) - math.log(particles)).sum().item()
    pyro.set_rng_seed(SEED)
    assert estimator.loss(case.model, case.guide, case.data) == pytest.approx(expected, abs=1e-8)
    estimator.loss_and_grads(case.model, case.guide, case.data)
    assert_all_are_trained(case)


@every_row
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_bound(dynamics: str, kind: str) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    data = case.data.select([1])  # compiling takes a time in proportion to the steps
    compiled = JitTrace_ELBO(ignore_jit_warnings=True, max_plate_nesting=1)
    with torch.jit.optimized_execution(False):  # which would take far longer than the run
        compiled.loss_and_grads(case.model, case.guide, observations=data)
        assert_all_are_trained(case)
        pyro.set_rng_seed(SEED)
        loss = compiled.loss_and_grads(case.model, case.guide, observations=data)
        found = [parameter.grad.clone() for module in case[:2] for parameter in module.parameters()]
        assert compiled.loss_and_grads(case.model, case.guide, observations=data) != loss
    pyro.set_rng_seed(SEED)
    path = case.guide.path(data)
    z = path.rsample()
    by_hand = (path.log_prob(z) - log_joint(case.model, data, z)).sum()
    assert loss == pytest.approx(by_hand.item(), abs=1e-9)
    expected = torch.autograd.grad(by_hand, [*case.model.parameters(), *case.guide.parameters()])
    torch.testing.assert_close(found, list(expected))


# --- columns: optimisers, batches


@every_row
def test_elbo_module_with_a_torch_optimiser(dynamics: str, kind: str) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    loss = Trace_ELBO(num_particles=8, vectorize_particles=True)(case.model, case.guide)
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.02)
    before = [parameter.detach().clone() for module in case[:2] for parameter in module.parameters()]
    for _ in range(15):
        optimiser.zero_grad()
        loss(case.data).backward()
        optimiser.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, case.model.parameters(), strict=False))
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before[len(list(case.model.parameters())) :], case.guide.parameters(), strict=True)
    )
    assert log_weights(case, 300).mean() > log_weights(row(dynamics, kind), 300).mean()


@every_row
def test_svi_with_a_pyro_optimiser(dynamics: str, kind: str) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    svi = SVI(case.model, case.guide, pyro.optim.Adam({"lr": 0.02}), BOUNDS["TraceMeanField_ELBO"](8))  # type: ignore[attr-defined]
    for _ in range(15):
        svi.step(case.data)
    assert log_weights(case, 300).mean() > log_weights(row(dynamics, kind), 300).mean()


@every_row
def test_minibatches_are_unbiased(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    z = case.guide.path(case.data).sample()

    def loss(rows: list[int]) -> Tensor:
        part = case.data.select(rows)
        own = z[rows, : case.model.grid(part).n_points]
        model, guide = (poutine.condition(program, {"z": own}) for program in case[:2])
        found = [poutine.trace(program).get_trace(part, len(LENGTHS)).log_prob_sum() for program in (guide, model)]
        return torch.as_tensor(found[0]) - torch.as_tensor(found[1])

    parts = torch.stack([loss([i]) for i in range(len(LENGTHS))])
    torch.testing.assert_close(parts.mean(), loss([0, 1, 2]))
    pairs = torch.stack([loss(rows) for rows in ([0, 1], [1, 2], [0, 2])])
    torch.testing.assert_close(pairs.mean(), loss([0, 1, 2]))


# --- columns: sampling

MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "gradients": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


@every_row
@pytest.mark.parametrize(("mode", "parallel"), [("gradients", False), *((mode, True) for mode in MODES)])
def test_predictive(dynamics: str, kind: str, mode: str, parallel: bool) -> None:
    case = row(dynamics, kind)
    draws = 60 if parallel else 4
    shape = (draws, len(LENGTHS), case.model.grid(case.data).n_points, case.model.dynamics.dim)
    with MODES[mode]():
        free = poutine.uncondition(case.model)
        prior = Predictive(free, num_samples=draws, parallel=parallel)(case.data)
        posterior = Predictive(
            case.model, guide=case.guide, num_samples=draws, parallel=parallel, return_sites=["z", "y"]
        )(case.data)
        own = case.guide.path(case.data).rsample(torch.Size([500]))
    assert prior["z"].shape == posterior["z"].shape == shape
    assert prior["y"].shape == (draws, *case.data.values.shape)
    for drawn in (prior["z"], prior["y"], posterior["z"]):
        assert bool(drawn.isfinite().all()) and not torch.equal(drawn[0], drawn[1])
    if parallel:  # of the guide, not of the prior
        gap = posterior["z"].mean(0) - own.mean(0)
        error = (posterior["z"].var(0) / draws + own.var(0) / len(own)).sqrt()
        assert bool((gap.abs() < ALLOWED_ERRORS * error + 1e-9).all())


@every_model
def test_conditioning_on_a_path(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    z = torch.randn(len(LENGTHS), case.model.grid(case.data).n_points, case.model.dynamics.dim)
    trace = poutine.trace(poutine.condition(case.model, {"z": z})).get_trace(case.data)
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"] is z and trace.nodes["z"]["is_observed"]
    found = trace.nodes["z"]["log_prob"] + trace.nodes["y"]["log_prob"]
    torch.testing.assert_close(found, log_joint(case.model, case.data, z))


@every_row
def test_importance_weights_are_exact_density_ratios(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    pyro.set_rng_seed(SEED)
    together, _, _ = vectorized_importance_weights(
        case.model, case.guide, case.data, num_samples=7, max_plate_nesting=1
    )
    torch.testing.assert_close(together, log_weights(case, 7).sum(-1))
    one_by_one = Importance(case.model, case.guide, num_samples=5).run(case.data)
    for trace, weight in zip(one_by_one.exec_traces, one_by_one.log_weights, strict=True):
        z = trace.nodes["z"]["value"]
        exact = log_joint(case.model, case.data, z) - case.guide.path(case.data).log_prob(z)
        torch.testing.assert_close(torch.as_tensor(weight), exact.sum().detach())


@every_row
def test_psis_diagnostic(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    pyro.set_rng_seed(SEED)
    k_hat = psis_diagnostic(case.model, case.guide, case.data, num_particles=400, max_plate_nesting=1)
    pyro.set_rng_seed(SEED)
    with torch.no_grad():  # its weights are those of the column before
        weights, _, _ = vectorized_importance_weights(
            case.model, case.guide, case.data, num_samples=400, max_plate_nesting=1
        )
    ordered = torch.sort(weights - weights.max())[0]
    cutoff = ordered[-math.ceil(3.0 * math.sqrt(400)) - 1].clamp_min(math.log(1e-15))
    by_hand, _ = fit_generalized_pareto(ordered[ordered > cutoff].exp() - cutoff.exp())
    assert k_hat == pytest.approx(by_hand)


# --- columns: programs that Pyro takes apart


@every_row
def test_the_programs_can_be_drawn(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    relations = get_model_relations(case.model, model_args=(case.data,))
    assert relations["sample_sample"] == {"z": [], "y": ["z"]}
    assert relations["plate_sample"] == {"series": ["z", "y"]} and relations["observed"] == ["y"]
    graph = generate_graph_specification(relations)
    assert {"z", "y"} <= set(graph["node_data"]) and [tuple(edge) for edge in graph["edge_list"]] == [("z", "y")]
    assert get_model_relations(case.guide, model_args=(case.data,))["sample_sample"] == {"z": []}


class Labelled(PyroModule):
    """The model of a row with a discrete label a series, which shifts its observations."""

    def __init__(self, inner: pl.LangevinModel) -> None:
        super().__init__()
        self.inner = (inner,)
        self.shifts, self.probabilities = torch.tensor([0.0, 1.3, -0.4]), torch.tensor([0.2, 0.5, 0.3])

    def forward(self, data: pl.Observations) -> None:
        (inner,) = self.inner
        pyro.module("inner", inner)
        path = pl.LangevinPath(inner.dynamics, inner.initial(), inner.grid(data))
        with pyro.plate("series", data.n_series):
            label = pyro.sample("label", dist.Categorical(self.probabilities))
            z = pyro.sample("z", path)
            mean = inner.emission.mean(seen_states(inner, z, data)) + self.shifts[label][..., None, None]
            seen = dist.Normal(mean, inner.emission.noise).mask(data.mask).to_event(2)
            pyro.sample("y", seen, obs=data.values)


@every_row
@pytest.mark.parametrize("particles", [len(LENGTHS), 5])
def test_a_discrete_label_a_series_is_enumerated(dynamics: str, kind: str, particles: int) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    labelled = Labelled(case.model)
    model = config_enumerate(labelled, "parallel")
    estimator = TraceEnum_ELBO(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1)
    guide = config_enumerate(case.guide)
    pyro.set_rng_seed(SEED)
    loss = estimator.loss(model, guide, case.data)
    with torch.no_grad():
        z, path = seeded_paths(case, particles), case.guide.path(case.data)
        mean = case.model.emission.mean(seen_states(case.model, z, case.data)) + labelled.shifts.reshape(3, 1, 1, 1, 1)
        law = dist.Normal(mean, case.model.emission.noise)
        seen = (law.log_prob(case.data.values) * case.data.mask).sum((-1, -2))
        seen = torch.logsumexp(seen + labelled.probabilities.log().reshape(3, 1, 1), 0)
        prior = pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data))
        by_hand = (seen + prior.log_prob(z) - path.log_prob(z)).sum(-1).mean()
    assert loss == pytest.approx(-by_hand.item(), abs=1e-8)
    estimator.loss_and_grads(model, guide, case.data)
    assert_all_are_trained(case)


@every_model
@pytest.mark.parametrize("automatic", [AutoNormal, AutoLowRankMultivariateNormal])
def test_automatic_guides_of_the_paths(dynamics: str, kind: str, automatic: type[AutoNormal]) -> None:
    case = row(dynamics, kind)
    model = copy.deepcopy(case.model)
    guide = automatic(model, init_scale=0.1)
    guide(case.data)  # builds it
    loss = Trace_ELBO()(model, guide)
    pyro.set_rng_seed(SEED)
    found = loss(case.data)
    pyro.set_rng_seed(SEED)
    z = guide(case.data)["z"]
    if isinstance(guide, AutoNormal):
        entropy = -dist.Normal(guide.locs.z, guide.scales.z).log_prob(z).sum()
    else:
        entropy = -guide.get_posterior().log_prob(z.flatten())
    torch.testing.assert_close(found, -(log_joint(model, case.data, z).sum() + entropy))
    found.backward()
    for parameter in guide.parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all())
        assert bool((parameter.grad != 0).any())
    assert guide(case.data)["z"].shape == (len(LENGTHS), model.grid(case.data).n_points, model.dynamics.dim)


@every_model
@pytest.mark.parametrize("reparametrised", [False, True])
def test_hmc_sees_the_exact_density(dynamics: str, kind: str, reparametrised: bool) -> None:
    case = row(dynamics, kind)
    model = poutine.reparam(case.model, {"z": pl.LangevinReparam()}) if reparametrised else case.model
    start, potential, transforms, _ = initialize_model(model, (case.data,))
    assert set(start) == ({"z_first", "z_noise"} if reparametrised else {"z"})
    expected = []
    for value in (start, {name: 0.9 * part for name, part in start.items()}):
        if reparametrised:
            path = pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data))
            z = path.driven(value["z_first"], value["z_noise"])
            noise = 0.5 * value["z_noise"].square().sum()
            seen = log_joint(case.model, case.data, z) - path.log_prob(z)
            energy = noise - path.initial.log_prob(value["z_first"]).sum() - seen.sum()
        else:
            energy = -log_joint(case.model, case.data, value["z"]).sum()
        expected.append(energy - potential(value))
    torch.testing.assert_close(expected[0], expected[1])  # but for a constant
    steps = NUTS(model, step_size=1e-3, adapt_step_size=False, adapt_mass_matrix=False, max_tree_depth=2)
    chain = MCMC(steps, num_samples=3, warmup_steps=0, disable_progbar=True)
    chain.run(case.data)
    for drawn in chain.get_samples().values():
        assert bool(drawn.isfinite().all()) and not torch.equal(drawn[0], drawn[-1])
