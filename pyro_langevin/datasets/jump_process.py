"""Any jump process of a few states, seen with noise at equal times."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm

from pyro_langevin.datasets.markov_chain import stationary_law, walks
from pyro_langevin.datasets.simulated_jumps import SimulatedJumps
from pyro_langevin.observations import Observations


def jump_process(
    rates: ArrayLike,
    means: ArrayLike,
    n_series: int = 64,
    n_times: int = 1000,
    *,
    gap: float = 1.0,
    noise: float = 0.2,
    time_unit: str = "",
    seed: int = 0,
) -> SimulatedJumps:
    """Noisy levels of a Markov jump process: ``y = means[s(t)] + noise``, with s leaving i for j at ``rates[i, j]``.

    For example the current through an ion channel, whose levels are its conformations. Series begin in the stationary
    law. Exact at the observation times, by ``exp(gap * rates)``: jumps and returns between two of them leave no trace.
    The rates need not fulfil detailed balance.

    Args:
        rates: ``(state, state)``, in one over the unit of ``gap``; the diagonal is ignored.
        means: ``(state, channel)``, the noise-free observation of every state.
        n_series: Number of independent series.
        n_times: Number of observations in each, ``gap`` apart.
        gap: Time between observations.
        noise: Standard deviation of the observation noise in every channel.
        time_unit: Name of the unit of time.
        seed: Seed of the random numbers.

    Raises:
        ValueError: If the shapes do not match, a rate is negative, ``gap`` is not positive, or a state is left for
            good.
    """
    generator, levels = np.array(rates, dtype=np.float64), np.asarray(means, dtype=np.float64)
    n = len(generator)
    if generator.shape != (n, n) or n < 2 or levels.ndim != 2 or len(levels) != n:
        raise ValueError(
            f"jump_process: expected rates (state, state) and means (state, channel), got {generator.shape} and "
            f"{levels.shape}; give both one row for each state"
        )
    np.fill_diagonal(generator, 0.0)
    if (generator < 0.0).any() or not gap > 0.0:
        raise ValueError(
            f"jump_process: expected rates of at least 0 and a positive gap, got a least rate of {generator.min()} and "
            f"a gap of {gap}; a rate is jumps per unit of time, its sign is not"
        )
    np.fill_diagonal(generator, -generator.sum(-1))
    transition = expm(gap * generator)
    occupancy = stationary_law(transition)
    random = np.random.default_rng(seed)
    states = walks(transition, occupancy, n_series, n_times, random=random)
    values = levels[states] + noise * random.normal(size=(n_series, n_times, levels.shape[1]))
    return SimulatedJumps(
        observations=Observations(values, gap * np.arange(n_times), time_unit=time_unit),
        states=states,
        means=levels,
        transition=transition,
        occupancy=occupancy,
        mean_dwell=-1.0 / np.diag(generator),
        noise=noise,
    )
