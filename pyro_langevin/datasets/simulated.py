"""Simulated observations whose states, kinetics and noise are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.observations import Observations

Array = NDArray[np.float64]

#: Step of the simulations: the bias of the double well's slowest timescale is then below 0.1 % (tested).
STEP = 0.0025


@dataclass(frozen=True, eq=False)
class SimulatedData:
    """Observations of a simulated diffusion, with what lies behind them.

    Attributes:
        observations: What a fit gets to see.
        latent: ``(series, time, dim)``, the true positions at the observation times.
        states: ``(series, time)``, the basin of the potential that each position lies in; state 0 lies left.
        loadings: ``(channel, dim)``: the observations are ``loadings @ latent`` and noise.
        noise: Standard deviation of the observation noise in every channel.
    """

    observations: Observations
    latent: Array
    states: NDArray[np.int64]
    loadings: Array
    noise: float


def double_well(
    n_series: int = 256,
    n_times: int = 201,
    *,
    gap: float = 0.1,
    noise: float = 0.3,
    tilt: float = 0.0,
    channels: int = 1,
    seed: int = 0,
) -> SimulatedData:
    """Noisy observations of a particle in ``U = 4 (x^2 - 1)^2 + tilt x``, temperature = friction = 1.

    Series start in the Boltzmann law. With one channel the position itself is observed; with more, it is read
    out by random loadings of unit norm, so that all channels together tell as much as the one would. Exact
    answers for tilt 0 and 0.5 are in :mod:`pyro_langevin.datasets.reference`.

    Args:
        n_series: Number of independent series.
        n_times: Number of observations in each, ``gap`` apart.
        gap: Time between observations, in units of ``length^2 / D``.
        noise: Standard deviation of the observation noise.
        tilt: Slope added to the symmetric double well; there are two wells for ``|tilt|`` below 6.16.
        channels: Number of observed channels.
        seed: Seed of the random numbers.
    """
    stationary = np.roots([16.0, 0.0, -16.0, tilt])
    if np.abs(stationary.imag).max() > 1e-9:
        raise ValueError(
            f"double_well: expected a tilt with two wells (|tilt| < 6.16), got {tilt}; take a smaller one"
        )
    saddle = np.sort(stationary.real)[1]
    rng = np.random.default_rng(seed)

    def gradient(x: Array) -> Array:
        return 16.0 * x * (x * x - 1.0) + tilt

    grid = np.linspace(-2.5, 2.5, 20001)
    boltzmann = np.exp(-4.0 * (grid**2 - 1.0) ** 2 - tilt * grid)
    start = np.interp(rng.uniform(size=n_series), np.cumsum(boltzmann) / boltzmann.sum(), grid)
    latent = simulate_overdamped(gradient, start[:, np.newaxis], n_times=n_times, gap=gap, seed=rng)
    loadings = np.ones((1, 1))
    if channels > 1:
        loadings = rng.normal(size=(channels, 1))
        loadings /= np.linalg.norm(loadings)
    values = latent @ loadings.T + noise * rng.normal(size=(n_series, n_times, channels))
    observations = Observations(values, gap * np.arange(n_times))
    return SimulatedData(observations, latent, (latent[..., 0] > saddle).astype(np.int64), loadings, noise)


def simulate_overdamped(
    gradient: Callable[[Array], Array],
    start: Array,
    *,
    n_times: int,
    gap: float,
    diffusion: float = 1.0,
    temperature: float = 1.0,
    max_step: float = STEP,
    seed: int | np.random.Generator = 0,
) -> Array:
    """Paths ``(series, time, dim)`` of ``dz = -D gradient(z)/temperature dt + sqrt(2 D) dW``, seen every ``gap``.

    Stochastic Heun steps, of weak order 2 for this additive noise (Kloeden & Platen 1992, section 15.1), where
    Euler-Maruyama needs steps twenty times smaller for the same bias.

    Args:
        gradient: Gradient of the potential, ``(series, dim)`` to ``(series, dim)``.
        start: Positions ``(series, dim)`` at the first time.
        n_times: Number of times, the start included.
        gap: Time between them; it is cut into equal steps of at most ``max_step``.
        diffusion: ``D = temperature / friction``.
        temperature: k_B T in the unit of the potential.
        max_step: Largest step; keep it well below ``1 / (D beta max eigenvalue of the Hessian)``.
        seed: A seed, or the generator to draw from.
    """
    rng = np.random.default_rng(seed)
    inner = int(np.ceil(gap / max_step - 1e-9))
    step = gap / inner
    mobility = diffusion / temperature
    z = np.array(start, dtype=np.float64)
    paths = np.empty((len(z), n_times, z.shape[1]))
    paths[:, 0] = z
    for time in range(1, n_times):
        for kick in np.sqrt(2.0 * diffusion * step) * rng.normal(size=(inner, *z.shape)):
            z = heun_step(gradient, z, mobility * step, kick)
        paths[:, time] = z
    return paths


def heun_step(gradient: Callable[[Array], Array], z: Array, step: float, kick: Array) -> Array:
    """Position after one stochastic Heun step; ``step`` is mobility times time, ``kick`` the step's noise."""
    slope = gradient(z)
    return z - 0.5 * step * (slope + gradient(z - step * slope + kick)) + kick


@dataclass(frozen=True, eq=False)
class SimulatedJumps:
    """Observations of a Markov chain that jumps between states, with what lies behind them.

    Attributes:
        observations: What a fit gets to see.
        states: ``(series, time)``, the true states.
        means: ``(state, channel)``, the noise-free observation of every state.
        transition: ``(state, state)``, probabilities of the chain from one frame to the next.
        occupancy: ``(state,)``, the chain's stationary law.
        mean_dwell: ``(state,)``, mean visit in frames, ``1 / (1 - transition[i, i])``.
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

    From state i the chain goes to state j with probability ``c weights[j]``, reversible and with the stationary
    law ``weights``; ``c`` is set so that a fraction ``switch`` of all frames ends in a jump. Means are standard
    normal in every channel. There is no diffusion inside a state: such data are hard for a Langevin prior.

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
