"""Does the step of the time grid change the kinetics?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.verdicts.wording import percent, time_unit

__all__ = ["step_size"]

STEP_TOLERANCE = 0.10
"""Relative difference between chain and continuous kinetics that is let pass."""
STEP_TARGET = 0.05
"""Difference that the advised step should bring about."""


def step_size(idata: Draws) -> Iterator[str]:
    """Warning where the dynamics as discretised dwell otherwise than in continuous time."""
    kinetics = group(idata, "kinetics", "dwell_prior")
    if "dwell_chain" not in kinetics or len(state_labels(idata)) < 2:
        return
    chain = kinetics["dwell_chain"].transpose("chain", "state").values
    prior = kinetics["dwell_prior"].transpose("chain", "state").values
    log_sd = np.nan_to_num(dwell_times(idata)["log_sd"].values)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(np.log(chain / prior))
    # 1.645: the same 90 % as every interval.
    wrong = error > np.maximum(np.log1p(STEP_TOLERANCE), 1.645 * log_sd)
    if not wrong.any():
        return
    chain_index, state = np.unravel_index(int(np.nanargmax(np.where(wrong, error, np.nan))), error.shape)
    worst = float(error[chain_index, state])
    order = float(kinetics.attrs.get("order", 1.0))
    halvings = max(1, math.ceil(math.log2(worst / STEP_TARGET) / order))
    step = kinetics.attrs.get("step")
    if step is not None and np.isfinite(float(step)):
        advice = f"--max-step {float(step) / 2**halvings:.3g} (now {float(step):.3g})"
    else:
        advice = f"a --max-step {2**halvings} times smaller"
    unit = time_unit(idata)
    yield (
        f"The step is too long: the learned dynamics' mean dwell in {state_labels(idata)[state]} is "
        f"{chain[chain_index, state]:.3g}{unit} as discretised and {prior[chain_index, state]:.3g}{unit} in "
        f"continuous time. Fit again with {advice}; the difference should then fall below "
        f"{percent(STEP_TARGET)}."
    )
