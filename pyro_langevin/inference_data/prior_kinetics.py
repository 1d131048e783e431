"""Kinetics of the learned dynamics by the best method that there is for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from pyro_langevin.dynamics import OverdampedDynamics, UnderdampedDynamics
from pyro_langevin.inference_data.lifted_landscape import LiftedLandscape
from pyro_langevin.landscape import (
    ChainKinetics,
    Kinetics,
    Landscape,
    LandscapeError,
    chain_kinetics,
    continuous_kinetics,
    inertial_kinetics,
    inertial_kramers_rates,
    inertial_transition_probabilities,
    kramers_rates,
    simulated_kinetics,
    simulated_transition_probabilities,
    transition_probabilities,
)

_SIMULATED = 1_000_000  # forces to spend where nothing but simulation is left
Dynamics = OverdampedDynamics | UnderdampedDynamics


@dataclass(frozen=True, eq=False)
class PriorKinetics:
    """Kinetics of learned dynamics; what could not be computed is None, and ``warnings`` say why.

    Attributes:
        continuous: Of the process in continuous time.
        transitions: Probability to be in basin j a lag after equilibrium within basin i, ``(lag, n, n)``.
        kramers: Asymptotic passage times between adjacent states, ``(n, n)``, NaN where refused.
        chain: Of the process as discretised.
        warnings: A sentence for everything that is missing or rests on simulation.
    """

    continuous: Kinetics | None
    transitions: np.ndarray | None
    kramers: np.ndarray | None
    chain: ChainKinetics | None
    warnings: list[str] = field(default_factory=list)


def prior_kinetics(
    dynamics: Dynamics, landscape: Landscape, *, lags: np.ndarray, step: float, processes: int
) -> PriorKinetics:
    """Kinetics of dynamics in float64 on the CPU.

    Quadrature in one dimension, finite volumes in two and three, a phase-space generator for one position with its
    momentum, and simulation for the rest.

    Args:
        dynamics: The dynamics.
        landscape: Its landscape, of the position.
        lags: Lag times, ``(lag,)``.
        step: Step of the discretised process.
        processes: Number of timescales.
    """
    several = landscape.n_states > 1
    inertial = isinstance(dynamics, UnderdampedDynamics)
    simulated = landscape.dim > (1 if inertial else 3)
    warnings: list[str] = []
    continuous = transitions = kramers = chain = None
    try:
        if simulated:
            continuous = _simulated(dynamics, landscape, several)
        elif isinstance(dynamics, UnderdampedDynamics):
            continuous = inertial_kinetics(dynamics, landscape, processes=processes)
        else:
            continuous = continuous_kinetics(landscape, _diffusion(dynamics), processes=processes)
    except LandscapeError as problem:
        warnings.append(f"no continuous kinetics: {problem}")
    if several:
        try:
            transitions = _transitions(dynamics, landscape, lags, simulated)
        except LandscapeError as problem:
            warnings.append(f"no transition probabilities of the learned dynamics: {problem}")
        if isinstance(dynamics, UnderdampedDynamics):
            kramers = inertial_kramers_rates(dynamics, landscape).passage_times
        else:
            kramers = kramers_rates(landscape, _diffusion(dynamics)).passage_times
        followed = cast(Landscape, LiftedLandscape(landscape, dynamics.dim)) if inertial else landscape
        try:
            chain = chain_kinetics(dynamics.transition, followed, step)
        except LandscapeError as problem:
            warnings.append(f"no kinetics of the chain as discretised: {problem}")
    return PriorKinetics(continuous, transitions, kramers, chain, warnings)


def _simulated(dynamics: Dynamics, landscape: Landscape, several: bool) -> Kinetics | None:
    return simulated_kinetics(dynamics, landscape, evaluations=_SIMULATED).kinetics if several else None


def _transitions(dynamics: Dynamics, landscape: Landscape, lags: np.ndarray, simulated: bool) -> np.ndarray:
    if simulated:
        return simulated_transition_probabilities(dynamics, landscape, lags)[0]
    if isinstance(dynamics, UnderdampedDynamics):
        return inertial_transition_probabilities(dynamics, landscape, lags)
    return transition_probabilities(landscape, _diffusion(dynamics), lags)


def _diffusion(dynamics: Dynamics) -> np.ndarray:
    return np.asarray(dynamics.diffusion.detach().numpy())
