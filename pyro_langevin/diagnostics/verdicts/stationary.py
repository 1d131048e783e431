"""Does the potential share out the time as its posterior paths do?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.layout import Draws
from pyro_langevin.diagnostics.occupancy import occupancy

__all__ = ["stationary_against_path"]

OCCUPANCY_SIGMAS = 2.8
"""Of the difference, in what the record allows: two would alarm in one fit of twenty all by itself."""
OCCUPANCY_TOLERANCE = 0.02
"""Difference of occupancies that is let pass however long the record."""


def stationary_against_path(idata: Draws) -> Iterator[str]:
    """Warning where Boltzmann and path occupancy differ by more than the record allows."""
    table = occupancy(idata)
    mean = table["mean"]
    difference = abs(mean.sel(estimator="stationary") - mean.sel(estimator="path"))
    sigmas = abs(table["disagreement"]).where(difference > OCCUPANCY_TOLERANCE, 0.0)
    # One state's surplus is the others' lack: the worst one stands for all.
    worst = sigmas.isel(state=int(np.argmax(np.round(sigmas.fillna(0.0).values, 6))))
    if float(worst) > OCCUPANCY_SIGMAS:
        label = str(worst["state"].values)
        path, stationary = (float(mean.sel(estimator=name, state=label)) for name in ("path", "stationary"))
        yield (
            f"The learned potential's occupancy of {label} ({stationary:.3f}) and the posterior paths' "
            f"({path:.3f}) differ by {float(worst):.1f} times what a record of this length allows. "
            "Believe the paths' for this record; the potential's may be misfitted, or the record does not "
            "come from one stationary law."
        )
