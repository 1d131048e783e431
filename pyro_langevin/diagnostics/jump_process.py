"""Exact figures of a Markov jump process from its rate matrix.

The posterior paths, read as a sequence of core-set visits, are such a process. ``rates[..., i, j]`` is the
rate of jumping from i to j (one over time); the diagonal is ignored.
"""

from __future__ import annotations

import numpy as np

__all__ = ["generator", "mean_first_passage", "occupancy_sd", "relaxation_times", "stationary_law"]


def generator(rates: np.ndarray) -> np.ndarray:
    """Generator Q of the process, (*batch, n, n): the rates off the diagonal, rows that sum to zero."""
    matrix = np.array(rates, dtype=float)
    index = np.arange(matrix.shape[-1])
    matrix[..., index, index] = 0.0
    matrix[..., index, index] = -matrix.sum(-1)
    return matrix


def stationary_law(rates: np.ndarray) -> np.ndarray:
    """Long-run fraction of time in each state, (*batch, n): ``pi Q = 0``, ``sum pi = 1``."""
    system = np.swapaxes(generator(rates), -1, -2).copy()
    # The balance equations are linearly dependent: the last one gives way to the normalisation. Dividing by
    # the largest rate keeps the two kinds of equation of one size.
    system /= np.abs(system).max((-1, -2), keepdims=True) if system.shape[-1] > 1 else 1.0
    system[..., -1, :] = 1.0
    right = np.zeros(system.shape[:-1] + (1,))
    right[..., -1, 0] = 1.0
    law: np.ndarray = np.clip(np.linalg.solve(system, right)[..., 0], 0.0, 1.0)
    return law


def mean_first_passage(rates: np.ndarray) -> np.ndarray:
    """Mean time from entering i to entering j, (*batch, n, n): ``Q m = -1`` without row and column j."""
    full = generator(rates)
    n = full.shape[-1]
    passage = np.zeros_like(full)
    for target in range(n):
        others = np.array([state for state in range(n) if state != target], dtype=int)
        if len(others):
            system = full[..., others[:, None], others]
            right = -np.ones(system.shape[:-1] + (1,))
            passage[..., others, target] = np.linalg.solve(system, right)[..., 0]
    return passage


def relaxation_times(rates: np.ndarray) -> np.ndarray:
    """Relaxation times ``-1 / Re(eigenvalue)`` of the generator, slowest first, (*batch, n - 1)."""
    eigenvalues = np.sort(np.linalg.eigvals(generator(rates)).real, axis=-1)[..., ::-1]
    with np.errstate(divide="ignore"):
        return np.asarray(-1.0 / np.minimum(eigenvalues[..., 1:], 0.0))


def occupancy_sd(rates: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Standard deviation of the fraction of time in each state over a record of finite length, (n,).

    For one stationary series of length T the variance is ``(2 pi_i / T) int_0^T (1 - s/T) (P_s(i, i) -
    pi_i) ds`` with ``P_s = exp(Q s)``, done exactly through the eigenvalues of Q; for a long series of two
    states it is the familiar ``2 pi (1 - pi) tau / T``. Series count as independent and are weighted by
    their lengths.

    Args:
        rates: rate matrix (n, n).
        durations: length of each series (series,), in the time unit of the rates.
    """
    n = rates.shape[-1]
    lengths = np.asarray(durations, dtype=float)
    lengths = lengths[lengths > 0.0]
    if n < 2 or len(lengths) == 0:
        return np.zeros(n)
    law = stationary_law(rates)
    eigenvalues, right = np.linalg.eig(generator(rates))
    left = np.linalg.inv(right)
    order = np.argsort(-eigenvalues.real)
    slow = order[1:]  # the first eigenvalue is zero: the stationary part, which the variance leaves out
    eigenvalue = eigenvalues[slow]
    weight = right[:, slow] * left[slow, :].T  # (state, process): diagonal of each spectral projector
    x = eigenvalue[None, :] * lengths[:, None]
    integral = -1.0 / eigenvalue + np.expm1(x) / (eigenvalue * x)
    variance = 2.0 * law * np.real(integral @ weight.T) / lengths[:, None]
    share = lengths / lengths.sum()
    return np.asarray(np.sqrt(np.clip((share[:, None] ** 2 * variance).sum(0), 0.0, None)))
