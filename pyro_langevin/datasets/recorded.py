"""Recorded data: read from the folder that the environment variable ``PYRO_LANGEVIN_DATA`` names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_langevin.datasets.files import data_file
from pyro_langevin.observations import Observations

#: True rates (state 1 to 2, 2 to 1; per second) and occupancies of :func:`kinsoft` (Götz et al. 2022).
KINSOFT_RATES = (0.15, 0.22)
KINSOFT_OCCUPANCY = (0.595, 0.405)


@dataclass(frozen=True, eq=False)
class IceCore:
    """The dust record of a Greenland ice core, and the experts' division into cold and warm times.

    Attributes:
        observations: One series, one channel: minus the logarithm of the Ca concentration in ng/g, so that
            warm is up. Time is **minus the age**: years after 1950 CE, negative, increasing to the present.
        warm: ``(time,)``, whether the experts call the time of each observation an interstadial (warm).
        intervals: ``(interval, 2)``, start and end of the expert intervals that overlap the record, in the
            time of ``observations``, oldest first; the first and the last reach beyond it.
        interval_warm: ``(interval,)``, whether each is warm.
    """

    observations: Observations
    warm: NDArray[np.bool_]
    intervals: NDArray[np.float64]
    interval_warm: NDArray[np.bool_]


def ice_core(*, youngest: float = 20_000.0, oldest: float = 60_000.0) -> IceCore:
    """Dust in the NGRIP ice core, 10-year means, with the experts' stadials and interstadials.

    Files ``NGRIP_10yr.csv`` (Erhardt et al. 2019, github.com/terhardt/DO-progression at 7ac2cdd) and
    ``stadial_interstadial_intervals.csv`` (Rasmussen et al. 2014; its ages count from 2000 CE, the record's
    from 1950 CE). Missing measurements stay missing.

    Args:
        youngest: Youngest age that is kept, in years before 1950 CE.
        oldest: Oldest age that is kept.

    Raises:
        FileNotFoundError: If the folder or a file is not there.
    """
    table = pd.read_csv(data_file("NGRIP_10yr.csv"), comment="#").sort_values("Age_BP", ascending=False)
    table = table[table["Age_BP"].between(youngest, oldest)]
    time = -table["Age_BP"].to_numpy()
    expert = pd.read_csv(data_file("stadial_interstadial_intervals.csv"))
    state, *bounds = (expert[name].to_numpy() for name in expert.columns[:3])
    intervals = 50.0 - np.stack(bounds, axis=-1)
    overlaps = (intervals[:, 1] > time[0]) & (intervals[:, 0] < time[-1])
    intervals, interval_warm = intervals[overlaps], state[overlaps] == 1
    observations = Observations(
        -np.log(table[["Ca"]].to_numpy()), time, series_names=["NGRIP"], channels=["-log Ca"], time_unit="yr"
    )
    warm = interval_warm[np.searchsorted(intervals[:, 0], time, side="right") - 1]
    return IceCore(observations, warm, intervals, interval_warm)


def kinsoft() -> Observations:
    """FRET efficiency of 75 simulated single molecules that switch between two states, 0.2 s a frame.

    kinSoftChallenge level 1 (Götz et al. 2022, Nature Communications 13, 5402; Zenodo 5701310, CC-BY-4.0),
    traces of 256 to 1999 frames. Files ``kinsoft_sim_level1/trace_1.txt`` and so on. The truth:
    :data:`KINSOFT_RATES`.

    Raises:
        FileNotFoundError: If the folder or a file is not there.
    """
    folder = data_file("kinsoft_sim_level1")
    files = sorted(folder.glob("trace_*.txt"), key=lambda file: int(file.stem.removeprefix("trace_")))
    if not files:
        raise FileNotFoundError(
            f"recorded data: expected trace_*.txt in {folder}, got none; unpack the traces there"
        )
    tables = [pd.read_csv(file, sep="\t") for file in files]
    return Observations(
        [table[["FRET E"]].to_numpy() for table in tables],
        [table["%t (s)"].to_numpy() for table in tables],
        series_names=[file.stem for file in files],
        channels=["FRET E"],
        time_unit="s",
    )
