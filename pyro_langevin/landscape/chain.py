"""Kinetics of a discretised chain: what paths drawn with a given step really do."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.chain_quadrature import chain_kinetics_1d
from pyro_langevin.landscape.chain_result import ChainKinetics, TransitionFunction
from pyro_langevin.landscape.chain_simulation import chain_kinetics_simulated
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import LandscapeError


def chain_kinetics(
    transition: TransitionFunction,
    landscape: Landscape,
    step: float,
    *,
    processes: int = 5,
    evaluations: int = 2_000_000,
    seed: int = 0,
) -> ChainKinetics:
    """Kinetics of the Markov chain ``z' = mean(z) + scale(z) @ noise``, as discretised.

    Compare with :func:`continuous_kinetics`: where they differ, the step is too long for the scheme. One
    dimension: quadrature of the transition density, to about 1e-5 of the chain's own figures. More:
    simulation, with standard errors; one timescale less than there are states.

    Args:
        transition: Function of points ``(m, dim)`` and a step, both float64, such as ``dynamics.transition``
            of a copy of the dynamics in double precision.
        landscape: The landscape, whose cores and basins are used.
        step: Length of a step, in time units.
        processes: Number of timescales, in one dimension.
        evaluations: Bound on the transitions simulated, in more than one dimension.
        seed: Seed of the simulation.

    Raises:
        LandscapeError: On a step that is not positive, or so short that the noise cannot be resolved (one
            dimension).
    """
    step = float(step)
    if not (step > 0 and np.isfinite(step)):
        raise LandscapeError(f"chain_kinetics: the step must be positive and finite, got {step}")
    if landscape.dim == 1:
        return chain_kinetics_1d(transition, landscape, step, processes=processes)
    return chain_kinetics_simulated(transition, landscape, step, evaluations=evaluations, seed=seed)
