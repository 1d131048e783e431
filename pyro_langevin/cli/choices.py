"""What the names on the command line stand for, and the numbers of a fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import pyro

from pyro_langevin.cli.command import CommandError
from pyro_langevin.dynamics import Overdamped, Underdamped
from pyro_langevin.emissions import (
    BernoulliEmission,
    CategoricalEmission,
    Emission,
    GaussianEmission,
    PoissonEmission,
    StudentTEmission,
)
from pyro_langevin.encoders import RecurrentEncoder
from pyro_langevin.guides import SteeredGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.potentials import MixturePotential, NeuralPotential, Potential
from pyro_langevin.training import fit

Made = TypeVar("Made")

STEPS: int = inspect.signature(fit).parameters["steps"].default
SEEDS = 3  # one fit alone cannot show how sure it is
DRAWS: int | None = None  # `posterior` chooses by the number of series
MERGE_BELOW = 1.0  # kT

POTENTIALS: dict[str, Callable[[int], Potential]] = {
    "neural": NeuralPotential,
    "mixture": MixturePotential,
}
DYNAMICS: dict[str, Callable[[Potential], Overdamped | Underdamped]] = {
    "overdamped": Overdamped,
    "underdamped": Underdamped,
}
#: By latent dimension, number of channels and number of categories.
EMISSIONS: dict[str, Callable[[int, int, int], Emission]] = {
    "gaussian": lambda latent_dim, obs_dim, _: GaussianEmission(latent_dim, obs_dim),
    "studentt": lambda latent_dim, obs_dim, _: StudentTEmission(latent_dim, obs_dim),
    "poisson": lambda latent_dim, obs_dim, _: PoissonEmission(latent_dim, obs_dim),
    "categorical": lambda latent_dim, obs_dim, categories: _categorical(latent_dim, obs_dim, categories),
    "bernoulli": lambda latent_dim, obs_dim, _: BernoulliEmission(latent_dim, obs_dim),
}
_MOST_CATEGORIES = 256


def model_and_guide(
    latent_dim: int,
    obs_dim: int,
    *,
    potential: str = "neural",
    dynamics: str = "overdamped",
    emission: str = "gaussian",
    categories: int = 2,
    max_step: float | None = None,
) -> tuple[LangevinModel, SteeredGuide]:
    """The model that the command line fits, and its guide, drawn from the same seed at every call.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        potential: One of ``POTENTIALS``.
        dynamics: One of ``DYNAMICS``.
        emission: One of ``EMISSIONS``.
        categories: Number of categories, for categorical data.
        max_step: Largest inner step in the data's time unit; chosen by the fit when None.
    """
    pyro.set_rng_seed(0)
    if latent_dim > obs_dim:
        raise CommandError(
            f"--latent-dim {latent_dim} is more than the {obs_dim} channel(s) of the data can tell apart; "
            f"use --latent-dim {obs_dim} or fewer, or give more channels with --values"
        )
    prior = chosen(DYNAMICS, dynamics, "--dynamics")(chosen(POTENTIALS, potential, "--potential")(latent_dim))
    observed = chosen(EMISSIONS, emission, "--emission")(latent_dim, obs_dim, categories)
    model = LangevinModel(prior, observed, max_step=max_step)
    return model, SteeredGuide(model, RecurrentEncoder(obs_dim))


def categories(observations: Observations) -> int:
    """Number of categories that codes 0, 1, ... in the data tell of."""
    return max(2, int(observations.values.max()) + 1)


def _categorical(latent_dim: int, obs_dim: int, categories: int) -> CategoricalEmission:
    if obs_dim != 1:
        raise CommandError(
            f"--emission categorical: expected one column of codes 0, 1, ..., got {obs_dim}; name one with --values"
        )
    if categories > _MOST_CATEGORIES:
        raise CommandError(
            f"--emission categorical: expected codes from 0 to at most {_MOST_CATEGORIES - 1}, got {categories - 1}; "
            "number the categories 0, 1, ..."
        )
    return CategoricalEmission(latent_dim, categories)


def chosen(among: dict[str, Made], name: str, option: str) -> Made:
    """What a name stands for.

    Raises:
        CommandError: It stands for nothing.
    """
    if name in among:
        return among[name]
    raise CommandError(f"{option} {name} is not known; use {option} {' or '.join(among)}")
