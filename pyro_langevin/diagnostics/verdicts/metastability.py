"""Are the states left cleanly, or are they halves of one broad well?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.recrossing import recrossing

__all__ = ["states_do_not_hold"]

LOW_BARRIER = 2.0
"""kT: below, a path that leaves a well comes back within the time that it would have spent inside."""
RECROSSING_RATIO = 1.25
"""Crossings for one transition: above, the observations are close enough to see a path come back.

The ratio alone is no sign: at a barrier of 4 kT it is 1.2 where observations are 1/70 of a dwell apart, and 4 where
they are 1/2000 apart.
"""


def states_do_not_hold(idata: Draws) -> Iterator[str]:
    """Warning where the lowest barrier out of a state is under 2 kT and its boundary is recrossed."""
    if "state_path" not in idata or "visit" not in group(idata, "state_path") or len(state_labels(idata)) < 2:
        return
    barrier = group(idata, "states", "beta_barrier")["beta_barrier"].transpose("chain", "state_from", "state_to").values
    elsewhere = np.isfinite(barrier) & ~np.eye(barrier.shape[-1], dtype=bool)
    lowest = np.where(elsewhere, barrier, np.inf).min(2)
    lowest = mean_of_known(np.where(np.isfinite(lowest), lowest, np.nan))
    table = recrossing(idata)
    ratio = table["ratio"].values
    low = np.nan_to_num(lowest, nan=np.inf) < LOW_BARRIER
    shallow = np.flatnonzero(low & (np.nan_to_num(ratio) > RECROSSING_RATIO))
    if len(shallow):
        labels = state_labels(idata)
        words = "; ".join(
            f"{labels[i]}: barrier {lowest[i]:.1f} kT, {ratio[i]:.1f} crossings of its boundary for one transition"
            for i in shallow
        )
        yield (
            f"States that hardly hold ({words}): they are left before motion inside has settled, so dwell times and "
            "rates depend on where the cores' edges are drawn, and a Markov chain of states is a poor picture. Merge "
            f"them (posterior with merge_below above {max(lowest[i] for i in shallow):.1f}), or believe occupancies "
            "only."
        )
