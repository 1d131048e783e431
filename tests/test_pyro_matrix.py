"""The whole of Pyro's tools on every model and guide: a row is a model with a guide, a column is a test.

A new dynamics or a new guide is one entry in ``DYNAMICS`` or ``GUIDES``.
"""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable, Iterator
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
    JitTraceMeanField_ELBO,
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
from torch import Tensor
from torch.distributions import constraints

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import at_observations

#: A known answer may be missed by this many standard errors (a false failure in 10^6 checks).
ALLOWED_ERRORS = 5.0
LENGTHS, CHANNELS = (4, 2, 3), 2


class Quartic(pl.Potential):
    """A user's potential: an energy, nothing else."""

    depth: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.depth = PyroParam(torch.tensor(1.5), constraint=constraints.positive)  # type: ignore[assignment]

    def energy(self, z: Tensor) -> Tensor:
        return self.depth * (z.square() - 1.0).square().sum(-1)


# --- the rows

DYNAMICS: dict[str, Callable[[], pl.Overdamped]] = {
    "overdamped": lambda: pl.Overdamped(pl.NeuralPotential(1, 6)),
    "overdamped, Euler, 2D": lambda: pl.Overdamped(pl.MixturePotential(2, 3), scheme=pl.EulerMaruyama()),
    "overdamped, a user's potential": lambda: pl.Overdamped(Quartic(1)),
}
GUIDES: dict[str, Callable[[pl.LangevinModel], AmortisedGuide]] = {
    "steered": lambda model: pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 4), hidden=6),
    "Gauss-Markov": lambda model: pl.GaussMarkovGuide(model, pl.RecurrentEncoder(CHANNELS, 4), hidden=6),
}
every_row = pytest.mark.parametrize(("dynamics", "kind"), [(d, g) for d in DYNAMICS for g in GUIDES])


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
    model = pl.LangevinModel(process, pl.GaussianEmission(process.potential.dim, CHANNELS), max_step=0.25)
    guide = GUIDES[kind](model)
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        for parameter in guide.head.parameters():  # a guide that says something of its own
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Row(model, guide, data)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    yield
    torch.set_default_dtype(before)


def log_joint(model: pl.LangevinModel, data: pl.Observations, z: Tensor) -> Tensor:
    """Log density of paths and data by series, by hand."""
    grid = model.grid(data)
    seen = model.emission.log_likelihood(at_observations(z, grid), data.values, data.mask).sum(-1)
    return pl.LangevinPath(model.dynamics, model.initial(), grid).log_prob(z) + seen


@torch.no_grad()
def log_weights(case: Row, draws: int) -> Tensor:
    """Log importance weights ``(draws, series)``, by hand."""
    path = case.guide.path(case.data)
    z = path.rsample(torch.Size([draws]))
    return log_joint(case.model, case.data, z) - path.log_prob(z)


class Estimate(NamedTuple):
    mean: float
    error: float

    @classmethod
    def of(cls, values: Tensor | list[float]) -> Estimate:
        drawn = torch.as_tensor(values)
        return cls(float(drawn.mean()), float(drawn.std()) / math.sqrt(len(drawn)))

    def agrees(self, other: Estimate) -> bool:
        return abs(self.mean - other.mean) < ALLOWED_ERRORS * math.hypot(self.error, other.error)


@functools.cache
def bound(dynamics: str, kind: str) -> Estimate:
    """The evidence lower bound of all series, by hand."""
    return Estimate.of(log_weights(row(dynamics, kind), 4000).sum(-1))


def assert_all_are_trained(case: Row) -> None:
    """Every parameter of model and guide has a finite gradient, and nearly every one a gradient that is not 0."""
    for module in (case.model, case.guide):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            idle = name.endswith("skew") and case.model.dynamics.dim == 1  # no off-diagonal in one dimension
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
    case, estimator = row(dynamics, kind), BOUNDS[elbo](particles)
    losses = [estimator.loss(case.model, case.guide, case.data) for _ in range(12)]
    assert Estimate.of(losses).agrees(Estimate(-bound(dynamics, kind).mean, bound(dynamics, kind).error))


@every_row
@every_bound
@pytest.mark.parametrize("particles", [1, len(LENGTHS)])
def test_every_bound_trains_everything(dynamics: str, kind: str, elbo: str, particles: int) -> None:
    case, estimator = copy.deepcopy(row(dynamics, kind)), BOUNDS[elbo](particles)
    estimator.loss_and_grads(case.model, case.guide, case.data)
    assert_all_are_trained(case)


@every_row
@pytest.mark.parametrize("particles", [len(LENGTHS), 5])
@pytest.mark.parametrize("vectorised", [False, True])
def test_renyi_bound_is_that_of_the_exact_weights(dynamics: str, kind: str, particles: int, vectorised: bool) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    estimator = RenyiELBO(alpha=0, num_particles=particles, vectorize_particles=vectorised, max_plate_nesting=1)
    losses = [estimator.loss(case.model, case.guide, case.data) for _ in range(12)]
    # Pyro averages the weights of all series' product
    weights = log_weights(case, 500 * particles).reshape(500, particles, -1)
    by_hand = (torch.logsumexp(weights, 1) - math.log(particles)).sum(-1)
    assert Estimate.of(losses).agrees(Estimate.of(-by_hand))
    estimator.loss_and_grads(case.model, case.guide, case.data)
    assert_all_are_trained(case)


@every_row
@pytest.mark.parametrize("elbo", [JitTrace_ELBO, JitTraceMeanField_ELBO])
def test_compiled_bounds(dynamics: str, kind: str, elbo: type[JitTrace_ELBO]) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    compiled = elbo(ignore_jit_warnings=True, max_plate_nesting=1)
    plain = elbo.__mro__[1](max_plate_nesting=1)
    results = []
    for estimator in (plain, compiled, compiled):  # compiled, then replayed
        pyro.set_rng_seed(3)
        loss = estimator.loss_and_grads(case.model, case.guide, observations=case.data)
        slopes = [parameter.grad.clone() for module in case[:2] for parameter in module.parameters()]
        assert_all_are_trained(case)
        results.append((loss, slopes))
    pyro.set_rng_seed(4)
    assert compiled.loss_and_grads(case.model, case.guide, observations=case.data) != results[0][0]
    for loss, slopes in results[1:]:
        assert loss == pytest.approx(results[0][0], abs=1e-9)
        torch.testing.assert_close(slopes, results[0][1])
