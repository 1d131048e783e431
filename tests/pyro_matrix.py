"""The rows on which the whole of Pyro's tools are tried: every model with every guide.

A new dynamics or a new guide is one entry in ``DYNAMICS`` or ``GUIDES``; a column is a test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import pyro
import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroParam
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


BOUNDS: dict[str, Callable[[int], ELBO]] = {
    elbo.__name__: functools.partial(
        lambda elbo, n: elbo(
            num_particles=n, vectorize_particles=n > 1, max_plate_nesting=1, strict_enumeration_warning=False
        ),
        elbo,
    )
    for elbo in (Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO, TraceEnum_ELBO)
}
