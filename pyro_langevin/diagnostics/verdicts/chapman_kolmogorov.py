"""Does the learned dynamics carry over from lag to lag as the posterior paths do?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.chapman_kolmogorov import chapman_kolmogorov
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.verdicts.wording import time_unit

__all__ = ["chapman_kolmogorov_failure"]

P_VALUE = 0.002
"""Of the Chapman-Kolmogorov test: alone it raises one false alarm in five hundred fits."""
PROBABILITY_TOLERANCE = 0.03
"""Difference of transition probabilities that is let pass: no figure of the summary would change much by it."""


def chapman_kolmogorov_failure(idata: Draws) -> Iterator[str]:
    """Warning where the learned dynamics' transition probabilities are not those of the posterior paths."""
    if "state_path" not in idata or len(state_labels(idata)) < 2:
        return
    if "transition_prior" not in group(idata, "kinetics"):
        return
    table = chapman_kolmogorov(idata)
    if not float(table["p_value"]) < P_VALUE:
        return
    far = abs(table["prior"] - table["paths"]) > PROBABILITY_TOLERANCE
    surprise = np.nan_to_num(abs(table["z"]).where(far).values)
    if not surprise.any():
        return
    place = np.unravel_index(int(np.argmax(surprise)), surprise.shape)
    cell = table.isel(dict(zip(table["z"].dims, place, strict=True)))
    yield (
        f"The learned dynamics does not carry over from lag to lag as the posterior paths do: "
        f"{float(cell['lag']):.3g}{time_unit(idata)} after {cell['state_from'].item()} it is in "
        f"{cell['state_to'].item()} with probability {float(cell['prior']):.3f}, the paths with "
        f"{float(cell['paths']):.3f} ({abs(float(cell['z'])):.1f} standard deviations; Chapman-Kolmogorov test, p = "
        f"{float(table['p_value']):.2g}). "
        "Off at every lag, the rates are wrong: train longer or take a finer step; off at long lags only, a state may "
        "hide another (one more latent dimension); see transition_matrix and implied_timescales."
    )
