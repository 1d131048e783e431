"""Recorded data: read from the folder that ``PYRO_LANGEVIN_DATA`` names, or downloaded once (see ``data_file``)."""

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
    """A record of a Greenland ice core, and the experts' division into cold and warm times.

    Attributes:
        observations: One series, one channel, in which warm is up. Time is **minus the age**: years after
            1950 CE, negative, increasing to the present.
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
    """Dust in the NGRIP ice core, 10-year means: minus the logarithm of the Ca concentration in ng/g.

    Files ``NGRIP_10yr.csv`` (Erhardt et al. 2019, github.com/terhardt/DO-progression) and
    ``stadial_interstadial_intervals.csv`` (Rasmussen et al. 2014; its ages count from 2000 CE, the record's
    from 1950 CE). Missing measurements stay missing.

    Args:
        youngest: Youngest age that is kept, in years before 1950 CE.
        oldest: Oldest age that is kept.

    Raises:
        FileNotFoundError: If a file is neither in the user's folder nor can be downloaded.
    """
    table = _ngrip(youngest, oldest)
    return _with_experts(table, -np.log(table["Ca"].to_numpy()), "-log Ca")


def ice_core_isotopes(*, youngest: float = 20_000.0, oldest: float = 60_000.0) -> IceCore:
    """Water isotopes in the NGRIP ice core, 10-year means: d18O in permille relative to VSMOW.

    Column ``d18O`` of the file that :func:`ice_core` reads the dust from (NGRIP members 2004; Gkinis et al. 2014),
    with the same experts' intervals; before 59,900 years there is none.

    Args:
        youngest: Youngest age that is kept, in years before 1950 CE.
        oldest: Oldest age that is kept.

    Raises:
        FileNotFoundError: If a file is neither in the user's folder nor can be downloaded.
    """
    table = _ngrip(youngest, oldest)
    return _with_experts(table, table["d18O"].to_numpy(), "d18O")


def _ngrip(youngest: float, oldest: float) -> pd.DataFrame:
    """The record between two ages, oldest first."""
    table = pd.read_csv(data_file("NGRIP_10yr.csv"), comment="#").sort_values("Age_BP", ascending=False)
    return table[table["Age_BP"].between(youngest, oldest)]


def _with_experts(table: pd.DataFrame, values: NDArray[np.float64], channel: str) -> IceCore:
    """One column of the record beside the experts' intervals."""
    seen = np.flatnonzero(np.isfinite(values))
    kept = slice(seen[0], seen[-1] + 1)  # nothing is known of what lies before the first value and after the last
    time, values = -table["Age_BP"].to_numpy()[kept], values[kept]
    expert = pd.read_csv(data_file("stadial_interstadial_intervals.csv"))
    state, *bounds = (expert[name].to_numpy() for name in expert.columns[:3])
    intervals = 50.0 - np.stack(bounds, axis=-1)
    overlaps = (intervals[:, 1] > time[0]) & (intervals[:, 0] < time[-1])
    intervals, interval_warm = intervals[overlaps], state[overlaps] == 1
    observations = Observations(
        values[:, None], time, series_names=["NGRIP"], channels=[channel], time_unit="yr"
    )
    warm = interval_warm[np.searchsorted(intervals[:, 0], time, side="right") - 1]
    return IceCore(observations, warm, intervals, interval_warm)


def kinsoft() -> Observations:
    """FRET efficiency of 75 simulated single molecules that switch between two states, 0.2 s a frame.

    kinSoftChallenge level 1 (Götz et al. 2022, Nature Communications 13, 5402; Zenodo 5701310, CC-BY-4.0),
    traces of 256 to 1999 frames. Files ``kinsoft_sim_level1/trace_1.txt`` and so on. The truth:
    :data:`KINSOFT_RATES`.

    Raises:
        FileNotFoundError: If they are neither in the user's folder nor can be downloaded.
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
