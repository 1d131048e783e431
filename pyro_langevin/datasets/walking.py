"""A person's walk, as motion capture recorded it."""

from __future__ import annotations

import numpy as np
from scipy.io import loadmat

from pyro_langevin.datasets.files import data_file
from pyro_langevin.observations import Observations


def walking() -> tuple[Observations, Observations, Observations]:
    """Joint angles of subject 35 of the CMU motion capture library, walking: 300 frames of 50 channels a sequence.

    File ``mocap35.mat`` (recorded by mocap.cs.cmu.edu; copy of github.com/uncbiag/neuro_shooting at ebf80a9). The
    benchmark: three frames are seen, and the mean of the other 297 is predicted; its score is the mean squared error
    over the test sequences. Published (Li, Wong, Chen and Duvenaud 2020): latent SDE 4.03, latent ODE 5.98.

    Returns:
        16 sequences to train on, 3 to validate, 4 to test. Time is the number of the frame.

    Raises:
        FileNotFoundError: If the folder or the file is not there.
    """
    table = loadmat(str(data_file("mocap35.mat")))
    train, valid, test = (
        Observations(table[name], np.arange(table[name].shape[1], dtype=np.float64), time_unit="frame")
        for name in ("Xtr", "Xval", "Xtest")
    )
    return train, valid, test
