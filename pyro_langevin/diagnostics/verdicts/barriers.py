"""Do the data tell barriers, or only how often they are crossed?"""

from __future__ import annotations

from collections.abc import Iterator

from pyro_langevin.diagnostics.layout import Draws, attribute, state_labels

__all__ = ["barriers_not_told"]


def barriers_not_told(idata: Draws) -> Iterator[str]:
    """Warning where a fit went by the hops at a lag, which know nothing of the way over a barrier."""
    seeds = attribute(idata, "barriers_not_told", [])
    if seeds and len(state_labels(idata)) > 1:
        yield (
            f"Barriers and diffusion are not told by these data (seed {', '.join(map(str, seeds))}): hops between "
            "neighbouring observations and hops at a lag contradict each other, as where levels drift or jumps take "
            "no time, and the fit goes by the lag. Occupancies, dwell times and passage times stand; barriers in kT, "
            "the diffusion, motion inside the states and forecasts of the next rows do not."
        )
