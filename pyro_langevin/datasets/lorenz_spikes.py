"""Spike counts of simulated neurons that a Lorenz system drives."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from pyro_langevin.datasets.files import data_file
from pyro_langevin.observations import Observations

_BIN = 0.01  # s
_TRIALS_PER_CONDITION = 40


@dataclass(frozen=True, eq=False)
class LorenzSpikes:
    """Trials of one split, with the truth behind them.

    Attributes:
        observations: Spike counts ``(trial, time, neuron)``, time in seconds.
        rates: True firing rates in spikes a second, the same shape.
        states: The Lorenz system that drives them, standardised, ``(trial, time, 3)``.
        condition: ``(trial,)``, which of 20 initial states each trial starts from: trials of one have the same rates.
    """

    observations: Observations
    rates: NDArray[np.float32]
    states: NDArray[np.float32]
    condition: NDArray[np.int64]


def lorenz_spikes() -> tuple[LorenzSpikes, LorenzSpikes]:
    """Counts of 60 neurons in 100 bins of 10 ms, with log rates that are all but linear in a chaotic Lorenz system.

    File ``lfads_lorenz.h5`` of github.com/felixp8/lfads-nlb-tutorials, after the synthetic benchmark of LFADS
    (Pandarinath et al. 2018, Nature Methods 15, 805). 20 initial states, 40 trials of each, split at random.

    Returns:
        640 trials to train on, 160 to validate.

    Raises:
        FileNotFoundError: If the folder or the file is not there.
    """
    with h5py.File(data_file("lfads_lorenz.h5")) as file:
        return _split(file, "train"), _split(file, "valid")


def _split(file: h5py.File, name: str) -> LorenzSpikes:
    counts, rates, states = (file[f"{name}_{part}"][:] for part in ("data", "truth", "lowd"))
    trials = file[f"{name}_inds"][:]
    observations = Observations(
        counts,
        _BIN * np.arange(counts.shape[1]),
        series_names=[f"trial {trial}" for trial in trials],
        channels=[f"neuron {neuron}" for neuron in range(counts.shape[2])],
        time_unit="s",
    )
    return LorenzSpikes(observations, rates, states, trials // _TRIALS_PER_CONDITION)
