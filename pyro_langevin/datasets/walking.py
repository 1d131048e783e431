"""A person's walk, as motion capture recorded it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from pyro_langevin.datasets.files import data_file

Array = NDArray[np.float64]


def walking() -> tuple[Array, Array, Array]:
    """Joint angles of subject 35 of the CMU motion capture library, walking: 300 frames of 50 channels a sequence.

    Four channels never move, which :class:`~pyro_langevin.Observations` would refuse: hence plain arrays.

    File ``mocap35.mat`` (recorded by mocap.cs.cmu.edu; copy of github.com/uncbiag/neuro_shooting at ebf80a9). The
    benchmark: three frames are seen, and the mean of the other 297 is predicted; its score is the mean squared error
    over the test sequences. Published (Li, Wong, Chen and Duvenaud 2020): latent SDE 4.03, latent ODE 5.98.

    Returns:
        16 sequences to train on, 3 to validate, 4 to test: ``(sequence, frame, channel)``.

    Raises:
        FileNotFoundError: If the folder or the file is not there.
    """
    table = loadmat(str(data_file("mocap35.mat")))
    train, valid, test = (np.asarray(table[name], dtype=np.float64) for name in ("Xtr", "Xval", "Xtest"))
    return train, valid, test
