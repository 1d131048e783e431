"""Reversible Markov state models: the maximum-likelihood transition matrix and what follows from it."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components

from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError

try:
    from deeptime.markov.tools.estimation import transition_matrix as deeptime_transition_matrix
except ImportError:  # an extra; the own iteration below gives the same figures
    deeptime_transition_matrix = None

_SWEEPS = 100_000
_TOLERANCE = 1e-12


def reversible_transition_matrix(counts: Floats) -> tuple[Floats, Floats]:
    """Maximum-likelihood transition matrix under detailed balance ``(k, k)``, and its stationary law ``(k,)``.

    By deeptime where it is installed (Hoffmann et al. 2021), else by :func:`own_reversible_transition_matrix`.

    Args:
        counts: Transitions ``(k, k)``, strongly connected.

    Raises:
        LandscapeError: If some state is never left for or never reached from the others.
    """
    _check_connected(counts)
    if deeptime_transition_matrix is None:
        return own_reversible_transition_matrix(counts)
    matrix, law = deeptime_transition_matrix(
        counts, reversible=True, return_statdist=True, maxiter=_SWEEPS, maxerr=_TOLERANCE
    )
    return np.asarray(matrix, dtype=np.float64), np.asarray(law, dtype=np.float64)


def own_reversible_transition_matrix(counts: Floats) -> tuple[Floats, Floats]:
    """As :func:`reversible_transition_matrix`, by the fixed point of Bowman et al. (2009).

    The symmetric flows ``x`` of the maximum obey ``x_ij = (c_ij + c_ji) / (c_i / x_i + c_j / x_j)``.
    """
    _check_connected(counts)
    both, out = counts + counts.T, counts.sum(-1)
    flow = both / both.sum()
    for _ in range(_SWEEPS):
        ratio = out / flow.sum(-1)
        before = flow
        flow = both / (ratio[:, None] + ratio)
        flow /= flow.sum()
        if np.abs(flow - before).max() < _TOLERANCE * flow.max():
            break
    law = flow.sum(-1)
    return flow / law[:, None], law


def implied_timescales(matrix: Floats, law: Floats, lag: float, *, count: int) -> Floats:
    """Implied timescales ``-lag / log(eigenvalue)`` of a reversible matrix, ``(count,)``; NaN where there is none."""
    root = np.sqrt(law)
    symmetric = root[:, None] * matrix / root
    values = eigh(0.5 * (symmetric + symmetric.T), eigvals_only=True)[::-1][1 : count + 1]
    result = np.full(count, np.nan)
    good = (values > 0) & (values < 1)
    result[: len(values)][good] = -lag / np.log(values[good])
    return result


def lagged_counts(labels: Integers, lag: int, *, states: int) -> Floats:
    """Transitions over ``lag`` rows of labels ``(*batch, time)``, from every row on, ``(states, states)``."""
    pair = labels[..., :-lag] * states + labels[..., lag:]
    return np.bincount(pair.ravel(), minlength=states**2).astype(np.float64).reshape(states, states)


def largest_connected(counts: Floats) -> Integers:
    """States of the largest strongly connected set."""
    _, group = connected_components(counts > 0, connection="strong")
    return np.flatnonzero(group == np.bincount(group).argmax())


def _check_connected(counts: Floats) -> None:
    if connected_components(counts > 0, connection="strong")[0] > 1:
        raise LandscapeError(
            "Markov state model: the counts are not connected; simulate longer, or leave out states without transitions"
        )
