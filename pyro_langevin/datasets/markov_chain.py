"""Walks of a Markov chain over a few states, and its long-run law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stationary_law(transition: Array) -> Array:
    """Long-run share of each state, ``(state,)``: ``pi P = pi``, ``sum pi = 1``.

    Raises:
        ValueError: If some state cannot be reached from some other one: then there is not one law.
    """
    n = len(transition)
    if not (np.linalg.matrix_power(np.eye(n) + transition, n) > 0.0).all():
        raise ValueError(
            "expected a chain in which every state can be reached from every other one; remove the states that are "
            f"left for good from\n{transition}"
        )
    balance = np.concatenate([transition.T - np.eye(n), np.ones((1, n))])
    law: Array = np.clip(np.linalg.lstsq(balance, np.append(np.zeros(n), 1.0), rcond=None)[0], 0.0, None)
    return law / law.sum()


def walks(
    transition: Array, law: Array, n_series: int, n_times: int, *, random: np.random.Generator
) -> NDArray[np.int64]:
    """Independent walks ``(series, time)``, the first state of each drawn from a law ``(state,)``."""
    states = np.empty((n_series, n_times), dtype=np.int64)
    states[:, 0] = random.choice(len(law), size=n_series, p=law)
    for time in range(1, n_times):
        states[:, time] = one_of_each_row(transition[states[:, time - 1]], random=random)
    return states


def one_of_each_row(probabilities: Array, *, random: np.random.Generator) -> NDArray[np.int64]:
    """One draw from each row of probabilities, ``(*batch, kind)`` to ``(*batch,)``."""
    below = probabilities.cumsum(-1)[..., :-1]  # without the last, so that rounding cannot lead beyond it
    return np.asarray((random.uniform(size=(*probabilities.shape[:-1], 1)) > below).sum(-1), dtype=np.int64)
