"""Do the estimators of the Boltzmann occupancy agree?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.layout import Draws, group, state_labels

__all__ = ["stationary_estimators_disagree"]

ESTIMATOR_SIGMAS = 4.0
"""Of the difference of two estimators: over states, seeds and estimators one false alarm in a thousand fits."""
ESTIMATOR_TOLERANCE = 0.02
"""Difference of occupancies that is let pass however small the errors."""


def stationary_estimators_disagree(idata: Draws) -> Iterator[str]:
    """Warning where two estimators that know their error differ by more; Laplace's, an approximation, is not asked."""
    held = group(idata, "occupancy", "stationary")
    if "stationary_error" not in held or "estimator" not in held["stationary"].dims:
        return
    value = held["stationary"].transpose("estimator", "chain", "state").values
    error = held["stationary_error"].transpose("estimator", "chain", "state").values
    names = [str(name) for name in held["estimator"].values]
    difference = abs(value - value[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        surprise = np.where(difference > ESTIMATOR_TOLERANCE, difference / np.hypot(error, error[0]), 0.0)
    surprise = np.where(np.isnan(surprise), 0.0, surprise)
    other, chain, state = np.unravel_index(int(np.argmax(surprise)), surprise.shape)
    if surprise[other, chain, state] > ESTIMATOR_SIGMAS:
        yield (
            f"The learned potential's occupancy of {state_labels(idata)[state]} is {value[0, chain, state]:.3f} by "
            f"'{names[0]}' and {value[other, chain, state]:.3f} by '{names[other]}', more than their Monte Carlo "
            f"errors ({error[0, chain, state]:.2g} and {error[other, chain, state]:.2g}) allow: one of them has not "
            "found all of the potential. Believe the posterior paths' occupancy, and draw again with more samples."
        )
