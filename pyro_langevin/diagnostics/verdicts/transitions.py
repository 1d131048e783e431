"""Were enough transitions seen for rates to be known?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.diagnostics.verdicts.wording import percent

__all__ = ["few_transitions"]

FEW_EVENTS = 10.0


def few_transitions(idata: Draws) -> Iterator[str]:
    """Warning where a state was left fewer than ten times."""
    labels = state_labels(idata)
    if len(labels) < 2:
        return
    events = dwell_times(idata)["events"].values
    few = [(label, count) for label, count in zip(labels, events, strict=True) if count < FEW_EVENTS]
    if few:
        doubt = 1.0 / math.sqrt(max(min(count for _, count in few), 1.0))
        words = ", ".join(f"{count:.3g} from {label}" for label, count in few)
        yield (
            f"Few transitions were seen ({words}): rates, dwell times and barriers out of "
            f"{'this state' if len(few) == 1 else 'these states'} are uncertain by "
            f"{percent(doubt)} or more. A longer record helps, more seeds do not."
        )
