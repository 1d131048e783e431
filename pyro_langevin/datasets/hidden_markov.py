"""A hidden Markov chain that emits one of several kinds: nothing in it is continuous."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyro_langevin.datasets.markov_chain import one_of_each_row, stationary_law, walks
from pyro_langevin.observations import Observations

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HiddenMarkovData:
    """Observed categories, with the chain that lies behind them.

    Attributes:
        observations: What a fit gets to see: one channel of codes 0, 1, ...
        states: ``(series, time)``, the true states.
        transition: ``(state, state)``, probabilities of the chain from one observation to the next.
        emission: ``(state, category)``, probabilities of the categories.
        occupancy: ``(state,)``, the chain's stationary law.
        mean_dwell: ``(state,)``, mean visit in steps, ``1 / (1 - transition[i, i])``.
    """

    observations: Observations
    states: NDArray[np.int64]
    transition: Array
    emission: Array
    occupancy: Array
    mean_dwell: Array


def hidden_markov(
    transition: ArrayLike,
    emission: ArrayLike,
    n_series: int = 64,
    n_times: int = 500,
    *,
    seed: int = 0,
) -> HiddenMarkovData:
    """Categories emitted by a hidden Markov chain: ``s_{t+1} ~ transition[s_t]``, ``y_t ~ emission[s_t]``.

    Series begin in the stationary law. The chain need not be reversible: with net flux round a cycle it is data that no
    potential explains. Exact: drawn, not integrated. A step is the unit of time.

    Args:
        transition: ``(state, state)``, rows of probabilities; every state can be reached from every other one.
        emission: ``(state, category)``, rows of probabilities.
        n_series: Number of independent series.
        n_times: Number of observations in each.
        seed: Seed of the random numbers.

    Raises:
        ValueError: If a matrix is not of that shape, its rows are not probabilities, or the chain falls apart.
    """
    chain, output = _probabilities("transition", transition), _probabilities("emission", emission)
    n = len(chain)
    if chain.shape != (n, n) or len(output) != n or output.shape[1] < 2:
        raise ValueError(
            f"hidden_markov: expected a transition matrix (state, state) and an emission matrix (state, category) with "
            f"at least 2 categories, got {chain.shape} and {output.shape}; give both one row for each state"
        )
    occupancy = stationary_law(chain)
    random = np.random.default_rng(seed)
    states = walks(chain, occupancy, n_series, n_times, random=random)
    codes = one_of_each_row(output[states], random=random)
    return HiddenMarkovData(
        observations=Observations(codes[..., None].astype(np.float64), time_unit="step"),
        states=states,
        transition=chain,
        emission=output,
        occupancy=occupancy,
        mean_dwell=1.0 / (1.0 - np.diag(chain)),
    )


def _probabilities(name: str, matrix: ArrayLike) -> Array:
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.ndim != 2 or rows.size == 0 or (rows < 0.0).any() or not np.allclose(rows.sum(-1), 1.0):
        raise ValueError(
            f"hidden_markov: expected {name} as a matrix whose rows are probabilities of sum 1, got shape {rows.shape}"
            f"{'' if rows.ndim != 2 else f' with row sums {rows.sum(-1)}'}; divide each row by its sum"
        )
    return rows
