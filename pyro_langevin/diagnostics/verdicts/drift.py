"""Is the record one and the same process from beginning to end?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.diagnostics.stationarity import stationarity
from pyro_langevin.diagnostics.verdicts.wording import time_unit

__all__ = ["record_drifts"]

SIGMAS = 3.5
"""Of the difference between halves: with three states and both checks, one false alarm in three hundred fits."""
RATE_RATIO = 1.25
"""Ratio of the halves' exit rates that is let pass however surely it is known."""
OCCUPANCY_DIFFERENCE = 0.05
"""Difference of the halves' occupancies that is let pass however surely it is known."""
START_SIGMAS = 3.0
"""Series that begin this far from equilibrium have other occupancies at first, and only their rates are compared."""


def record_drifts(idata: Draws) -> Iterator[str]:
    """Warning where rates, or occupancies, of the first and the second half of the records differ."""
    if "state_path" not in idata or len(state_labels(idata)) < 2:
        return
    table = stationarity(idata)
    rates = table["rate_second"] / table["rate_first"].where(table["rate_first"] > 0.0)
    large = ~((rates < RATE_RATIO) & (rates > 1.0 / RATE_RATIO))  # unknown counts: one half has no exits
    surprise = np.nan_to_num(abs(table["rate_z"]).where(large).values)
    unit = time_unit(idata)
    advice = (
        "One potential cannot have both: the figures are an average over the record. Cut it where it changes and fit "
        "the parts, or take the trend out."
    )
    state = int(np.argmax(surprise))
    if surprise[state] > SIGMAS:
        row = table.isel(state=state)
        yield (
            f"The record is not stationary: {row['state'].item()} is left {float(row['rate_first']):.3g} times a"
            f"{unit or ' time unit'} in the first half of the series and {float(row['rate_second']):.3g} times in the "
            f"second, {surprise[state]:.1f} standard deviations apart. {advice}"
        )
        return
    if float(np.nanmax(abs(table["start_z"]).fillna(0.0).values)) > START_SIGMAS:
        return
    apart = abs(table["difference"]) > OCCUPANCY_DIFFERENCE
    surprise = np.nan_to_num(abs(table["z"]).where(apart).values)
    state = int(np.argmax(surprise))
    if surprise[state] > SIGMAS:
        row = table.isel(state=state)
        yield (
            f"The record is not stationary: the share of time in {row['state'].item()} is {float(row['first']):.3f} in "
            f"the first half of the series and {float(row['second']):.3f} in the second, {surprise[state]:.1f} times "
            f"what records of this length allow. {advice}"
        )
