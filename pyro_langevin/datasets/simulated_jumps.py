"""Simulated jumps between states, observed with noise: states, means and kinetics are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.observations import Observations

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SimulatedJumps:
    """Observations of a Markov chain that jumps between states, with what lies behind them.

    Attributes:
        observations: What a fit gets to see.
        states: ``(series, time)``, the true states.
        means: ``(state, channel)``, the noise-free observation of every state.
        transition: ``(state, state)``, probabilities of the chain from one observation to the next.
        occupancy: ``(state,)``, the chain's stationary law.
        mean_dwell: ``(state,)``, mean visit in the observations' unit of time.
        noise: Standard deviation of the observation noise in every channel.
    """

    observations: Observations
    states: NDArray[np.int64]
    means: Array
    transition: Array
    occupancy: Array
    mean_dwell: Array
    noise: float


def three_states(
    n_series: int = 1024,
    n_times: int = 200,
    *,
    channels: int = 15,
    switch: float = 0.03,
    weights: tuple[float, float, float] | None = None,
    noise: float = 0.5,
    first_state: int | None = None,
    seed: int = 0,
) -> SimulatedJumps:
    """Noisy channels that hop between three random means, the data of Neural Langevin Dynamics in kind.

    From state i the chain goes to state j with probability ``c weights[j]``: reversible, with the
    stationary law ``weights``, and ``c`` such that a fraction ``switch`` of all frames ends in a jump. Means
    are standard normal in every channel. There is no diffusion inside a state: such data are hard for a
    Langevin prior.

    Args:
        n_series: Number of independent series.
        n_times: Number of frames in each; a frame is the unit of time.
        channels: Number of observed channels.
        switch: Mean probability of a jump per frame.
        weights: Stationary law of the three states. Default: equal.
        noise: Standard deviation of the observation noise.
        first_state: State of every first frame. Default: drawn from the stationary law.
        seed: Seed of the random numbers.
    """
    occupancy = np.full(3, 1 / 3) if weights is None else np.array(weights, dtype=np.float64)
    if occupancy.shape != (3,) or (occupancy <= 0).any() or not np.isclose(occupancy.sum(), 1.0):
        raise ValueError(
            f"three_states: expected three positive weights of sum 1, got {weights}; normalise them"
        )
    pull = switch / (1.0 - np.sum(occupancy**2))
    transition = np.tile(pull * occupancy, (3, 1))
    transition[np.diag_indices(3)] += 1.0 - pull
    if not 0 < switch < 1 or pull >= 1:
        raise ValueError(
            f"three_states: expected a jump probability well below 1, got {switch}; take a smaller one"
        )
    rng = np.random.default_rng(seed)
    states = np.empty((n_series, n_times), dtype=np.int64)
    states[:, 0] = rng.choice(3, size=n_series, p=occupancy) if first_state is None else first_state
    for time in range(1, n_times):
        # With probability `pull` the state is drawn afresh (perhaps the same), else it stays.
        fresh = rng.choice(3, size=n_series, p=occupancy)
        states[:, time] = np.where(rng.uniform(size=n_series) < pull, fresh, states[:, time - 1])
    means = rng.normal(size=(3, channels))
    values = means[states] + noise * rng.normal(size=(n_series, n_times, channels))
    return SimulatedJumps(
        observations=Observations(values, time_unit="frame"),
        states=states,
        means=means,
        transition=transition,
        occupancy=occupancy,
        mean_dwell=1.0 / (1.0 - np.diag(transition)),
        noise=noise,
    )
