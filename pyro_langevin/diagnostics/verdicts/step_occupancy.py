"""Does the step of the time grid change the occupancies?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.layout import Draws, group, state_labels, trusted_stationary
from pyro_langevin.diagnostics.occupancy_variance import occupancy_variance

__all__ = ["step_dominates_occupancy"]

OCCUPANCY_SHIFT = 0.02
"""Shift of an occupancy by the step that is let pass however sure the occupancy is otherwise."""
STEP_SHARE = 0.5
"""Share of an occupancy's variance that the step may make up: beyond, it is the largest source by far."""


def step_dominates_occupancy(idata: Draws) -> Iterator[str]:
    """Warning where the dynamics as discretised shares out the time otherwise than the Boltzmann law."""
    held = group(idata, "occupancy")
    if "stationary_chain" not in held or len(state_labels(idata)) < 2:
        return
    variance = occupancy_variance(idata)["variance"]
    total = variance.sum("source").values
    step = variance.sel(source="step").values
    wrong = (np.sqrt(step) > OCCUPANCY_SHIFT) & (step > STEP_SHARE * total)
    if not wrong.any():
        return
    state = int(np.argmax(np.where(wrong, step, 0.0)))
    chain = float(held["stationary_chain"].transpose("chain", "state")[:, state].mean())
    continuous = float(trusted_stationary(idata)[:, state].mean())
    yield (
        f"The step is too long for the occupancies: the learned dynamics is in {state_labels(idata)[state]} for "
        f"{chain:.3f} of the time as discretised and {continuous:.3f} in continuous time, which is "
        f"{100 * step[state] / total[state]:.0f} % of that occupancy's variance. Fit again with a smaller --max-step."
    )
