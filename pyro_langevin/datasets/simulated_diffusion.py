"""Simulated diffusions in a potential, observed with noise: states, positions and noise are known."""

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
    """Paths ``(series, time, dim)`` of an overdamped Langevin process, seen every ``gap``.

    ``dz = -D gradient(z) / temperature dt + sqrt(2 D) dW`` by stochastic Heun steps, of weak order 2 for this
    additive noise (Kloeden & Platen 1992, chapter 15); Euler-Maruyama is of order 1.

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
