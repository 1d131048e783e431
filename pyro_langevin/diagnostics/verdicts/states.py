"""Is there more than one state, and do the seeds agree on their number?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.layout import Draws, attribute
from pyro_langevin.diagnostics.states import n_states
from pyro_langevin.diagnostics.verdicts.wording import plural

__all__ = ["number_of_states", "one_state"]


def one_state(idata: Draws) -> Iterator[str]:
    """Warning where the potential has one well only."""
    if int(n_states(idata)["mode"]) == 1:
        if attribute(idata, "wells", "learned") == "learned":
            why = (
                "Either the data have one state, or the fit has not found the others (more iterations, another seed, a "
                "finer step)."
            )
        else:
            why = (
                "This kind of potential has no second well whatever the data are: where the question is one of states, "
                "take another, such as NeuralPotential."
            )
        yield (
            "The learned potential has one well only, so there are no states to hop between: occupancies, "
            f"dwell times and passage times say nothing. {why}"
        )


def number_of_states(idata: Draws) -> Iterator[str]:
    """Warning where the seeds found different numbers of states."""
    found = n_states(idata)
    counts = found["n_states"].values
    if float(found["agreement"]) < 1.0:
        numbers, times = np.unique(counts, return_counts=True)
        words = ", ".join(
            f"{count} in {time} {plural(time, 'seed')}" for count, time in zip(numbers, times, strict=True)
        )
        yield (
            f"The seeds disagree on the number of states: {words}. Figures are pooled over matching states "
            "only; look at the ELBO of each seed, and fit more seeds or longer."
        )
