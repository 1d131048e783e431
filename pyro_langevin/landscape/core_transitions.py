"""Passages between cores on a grid in two and three dimensions, from the generator."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.finite_volume import Generator
from pyro_langevin.landscape.surface import Floats, Integers


def passage_times(generator: Generator, cores: Integers, start: Integers, *, states: int) -> Floats:
    """Mean first-passage times to cores, ``(len(start), states)``.

    Args:
        generator: The generator.
        cores: Core of each cell in use, -1 outside, ``(m,)``.
        start: Cells (numbers among those in use) to start from.
        states: Number of states.
    """
    result = np.zeros((len(start), states))
    for target in range(states):
        outside = cores != target
        time = np.zeros(len(cores))
        time[outside] = generator.solver(outside)(generator.root[outside]) / generator.root[outside]
        result[:, target] = time[start]
    return result


def core_committors(generator: Generator, cores: Integers, *, states: int) -> Floats:
    """Probability to reach each core before any other, ``(m, n)``, on the cells in use.

    Args:
        generator: The generator, coupled to the edges of the cores.
        cores: Core of each cell in use, -1 outside, ``(m,)``.
        states: Number of states.
    """
    outside = cores < 0
    known = (cores[:, None] == np.arange(states)) * generator.root[:, None]
    if outside.any():
        solve = generator.solver(outside)
        right = -(generator.matrix[outside] @ known)
        known[outside] = np.stack([solve(np.ascontiguousarray(column)) for column in right.T], -1)
    return np.asarray(known / generator.root[:, None])


def core_fluxes(generator: Generator, committor: Floats) -> tuple[Floats, Floats]:
    """Reactive flux between cores ``(n, n)`` and probability that a core was the last visited ``(n,)``.

    Args:
        generator: The generator, coupled to the edges of the cores.
        committor: Probabilities ``(m, n)`` of :func:`core_committors`.
    """
    known = committor * generator.root[:, None]
    flux = -(known.T @ (generator.matrix @ known))
    np.fill_diagonal(flux, 0.0)
    return np.maximum(flux, 0.0), np.asarray(generator.root @ known)
