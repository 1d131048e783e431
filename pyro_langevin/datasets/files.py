"""Where recorded data lie: in a folder that the user names, or else in a cache of downloaded originals."""

from __future__ import annotations

import os
from pathlib import Path

from pyro_langevin.datasets.originals import ORIGINALS

#: Files without a public original, and how to come by them.
_BY_HAND = {
    "stadial_interstadial_intervals.csv": (
        "no public original of it is known: write a CSV file with the columns state (1 interstadial, 0 stadial), start "
        "and end (years before 2000 CE) from table 2 of Rasmussen et al. 2014, Quaternary Science Reviews 106, "
        "14-28, doi:10.1016/j.quascirev.2014.09.007, put it into a folder, and name that in PYRO_LANGEVIN_DATA"
    )
}


def data_file(name: str) -> Path:
    """Where a recorded file (or folder) lies on this machine.

    First the folder that the environment variable ``PYRO_LANGEVIN_DATA`` names, silently and without a network. What is
    not there is downloaded once from a pinned original into the user's cache, its checksum is compared, and its
    licence and citation are printed to standard error; this needs ``pip install 'pyro-langevin[datasets]'``.

    Args:
        name: Its path inside that folder: ``NGRIP_10yr.csv``, ``kinsoft_sim_level1`` (a folder),
            ``lfads_lorenz.h5``, ``mocap35.mat``; ``stadial_interstadial_intervals.csv`` must be given by the user.

    Raises:
        FileNotFoundError: If it is not there and cannot be downloaded either; the message says what to do.
        ValueError: If the downloaded file has another checksum.
    """
    folder = os.environ.get("PYRO_LANGEVIN_DATA")
    if folder and (path := Path(folder) / name).exists():
        return path
    if name in ORIGINALS:
        return ORIGINALS[name].fetch()
    place = f"{folder} (PYRO_LANGEVIN_DATA)" if folder else "the folder that PYRO_LANGEVIN_DATA names (it is not set)"
    advice = _BY_HAND.get(name, "put it there")
    raise FileNotFoundError(f"recorded data: expected {name} in {place}, got no such file; {advice}")

