"""Every emission, with values of its kind and the law that torch gives its channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

import pyro_langevin as pl

LATENT, SERIES, TIME = 2, 3, 40


def numbers(obs_dim: int) -> Tensor:
    return torch.randn(SERIES, TIME, obs_dim).cumsum(1)


def counts(obs_dim: int) -> Tensor:
    return torch.poisson(torch.rand(SERIES, TIME, obs_dim) * 3.0)


def outcomes(obs_dim: int) -> Tensor:
    return torch.bernoulli(torch.full((SERIES, TIME, obs_dim), 0.4))


@dataclass(frozen=True)
class Case:
    """An emission, values of its kind, and torch's law of the channels from what the emission says of its parameters.

    ``outputs`` is the number of decoder outputs; ``wrong`` a value that must be refused.
    """

    build: Callable[..., pl.Emission]
    values: Callable[[], Tensor]
    law: Callable[[Any, Tensor], torch.distributions.Distribution]
    outputs: int
    wrong: tuple[float, str] | None = None


def categorical_law(emission: pl.CategoricalEmission, z: Tensor) -> torch.distributions.Distribution:
    return torch.distributions.Categorical(logits=(emission.shift + emission.decoder(z)).unsqueeze(-2))


CASES: dict[str, Case] = {
    "gaussian": Case(
        lambda latent_dim=LATENT, **own: pl.GaussianEmission(latent_dim, 3, **own),
        lambda: numbers(3),
        lambda e, z: torch.distributions.Normal(e.shift + e.scale * e.decoder(z), e.scale * e.relative_noise),
        3,
    ),
    "student_t": Case(
        lambda latent_dim=LATENT, **own: pl.StudentTEmission(latent_dim, 3, **own),
        lambda: numbers(3),
        lambda e, z: torch.distributions.StudentT(
            e.degrees_of_freedom, e.shift + e.scale * e.decoder(z), e.scale * e.relative_noise
        ),
        3,
    ),
    "poisson": Case(
        lambda latent_dim=LATENT, **own: pl.PoissonEmission(latent_dim, 3, exposure=0.25, **own),
        lambda: counts(3),
        lambda e, z: torch.distributions.Poisson(0.25 * (e.shift + e.decoder(z)).exp()),
        3,
        (-1.0, r"expected counts 0, 1, 2, ..., got -1 at time 1.5 of channel 'y1' in series '2'.*; give"),
    ),
    "bernoulli": Case(
        lambda latent_dim=LATENT, **own: pl.BernoulliEmission(latent_dim, 3, **own),
        lambda: outcomes(3),
        lambda e, z: torch.distributions.Bernoulli(logits=e.shift + e.decoder(z)),
        3,
        (2.0, r"expected 0 or 1, got 2 at time 1.5 of channel 'y1' in series '2' \(1 such values\); code"),
    ),
    "categorical": Case(
        lambda latent_dim=LATENT, **own: pl.CategoricalEmission(latent_dim, 4, **own),
        lambda: torch.randint(4, (SERIES, TIME, 1)).double(),
        categorical_law,
        4,
        (4.0, r"expected codes 0, 1, ..., 3, got 4 at time 1.5 of channel 'y0' in series '2'.*; number"),
    ),
}
every_kind = pytest.mark.parametrize("kind", CASES)


def joint(latent_dim: int = LATENT) -> pl.JointEmission:
    return pl.JointEmission([
        pl.GaussianEmission(latent_dim, 2),
        pl.PoissonEmission(latent_dim, 3),
        pl.GaussianEmission(latent_dim, 1),
        pl.CategoricalEmission(latent_dim, 3),
    ])


def joint_values() -> Tensor:
    return torch.cat([numbers(2), counts(3), numbers(1), torch.randint(3, (SERIES, TIME, 1)).double()], -1)


EMISSIONS: dict[str, tuple[Callable[..., pl.Emission], Callable[[], Tensor]]] = {
    **{kind: (case.build, case.values) for kind, case in CASES.items()},
    "joint": (joint, joint_values),
}
every_emission = pytest.mark.parametrize("name", EMISSIONS)


def gappy(values: Tensor) -> pl.Observations:
    """The values with a third missing, no row without any in one series and some in the others."""
    mask = torch.rand(values.shape) < 0.67
    mask[0, ::2] = True
    return pl.Observations(values, 0.5 * torch.arange(values.shape[1]), mask=mask)


def started(name: str) -> tuple[pl.Emission, pl.Observations]:
    build, values = EMISSIONS[name]
    emission, data = build(), gappy(values())
    emission.initialise(data)
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return emission, data


def trace_of(emission: pl.Emission, z: Tensor, data: pl.Observations) -> Any:
    trace = poutine.trace(emission.observe).get_trace(z, data)
    trace.compute_log_prob()
    return trace.nodes["y"]
