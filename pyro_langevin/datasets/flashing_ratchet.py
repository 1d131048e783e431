"""A molecular motor in miniature: a particle on a ring whose potential is switched on and off."""

from __future__ import annotations

import numpy as np

from pyro_langevin.datasets.jump_process import jump_process
from pyro_langevin.datasets.simulated_jumps import Array, SimulatedJumps

_SITES = 3


def flashing_ratchet(
    n_series: int = 64,
    n_times: int = 1000,
    *,
    height: float = 2.0,
    flip: float = 1.0,
    gap: float = 0.1,
    noise: float = 0.2,
    seed: int = 0,
) -> SimulatedJumps:
    """Noisy positions of a discrete flashing ratchet, which no potential can explain: it runs in a circle.

    Three sites on a ring. With the potential on, their energies are 0, ``height`` and ``2 height`` kT and hops go at
    rates ``exp(-(E_j - E_i) / 2)``; with it off all hops go at rate 1. The potential flips on and off at rate ``flip``,
    whatever the particle does, which costs energy and drives currents: up the energies while off, down while on. The
    model of Roldan and Parrondo (Phys. Rev. Lett. 105, 150607, 2010), a test of jump-process inference since. Observed
    are the site (-1, 0, 1) and the potential (1 on, -1 off); the sites alone would show next to no current. States 0 to
    2 are the sites with the potential on, 3 to 5 with it off. Sampled exactly at the observation times.

    Args:
        n_series: Number of independent series, started in the stationary law.
        n_times: Number of observations in each, ``gap`` apart.
        height: Energy difference of neighbouring sites while on, kT; at 0 detailed balance holds.
        flip: Rate of switching on and off.
        gap: Time between observations.
        noise: Standard deviation of the observation noise.
        seed: Seed of the random numbers.
    """
    if not (flip > 0 and gap > 0):
        raise ValueError(f"flashing_ratchet: expected a positive flip rate and gap, got {flip} and {gap}")
    means = np.stack([np.tile([-1.0, 0.0, 1.0], 2), np.repeat([1.0, -1.0], _SITES)], -1)
    return jump_process(_rates(height, flip), means, n_series, n_times, gap=gap, noise=noise, seed=seed)


def _rates(height: float, flip: float) -> Array:
    """Rate matrix ``(6, 6)`` of site and potential."""
    energy = height * np.arange(_SITES)
    rates = np.zeros((2 * _SITES, 2 * _SITES))
    for i in range(_SITES):
        rates[i, _SITES + i] = rates[_SITES + i, i] = flip
        for j in range(_SITES):
            if i != j:
                rates[i, j] = np.exp(-0.5 * (energy[j] - energy[i]))
                rates[_SITES + i, _SITES + j] = 1.0
    return rates
