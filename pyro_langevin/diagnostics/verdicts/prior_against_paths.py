"""Does the learned potential hop as often as its own posterior paths?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.layout import Draws, attribute, group, state_labels
from pyro_langevin.diagnostics.verdicts.wording import plural, time_unit

__all__ = ["prior_against_paths"]

RATE_TOLERANCE = 0.20
"""Relative difference between prior and path rate that is let pass however well the paths' is known."""
SIGMAS = 3.0
"""Of the logarithm of the paths' dwell time: with three states, one false alarm in a hundred fits."""


def prior_against_paths(idata: Draws) -> Iterator[str]:
    """Warning where the potential's dwell times are more than three standard deviations and a fifth off the paths'."""
    dwell = dwell_times(idata)
    prior = group(idata, "kinetics", "dwell_prior")["dwell_prior"].transpose("chain", "state").values
    unit = time_unit(idata)
    seldom: list[str] = []
    often: list[str] = []
    for state, label in enumerate(state_labels(idata)):
        mean, low, high = (float(dwell[name][state]) for name in ("mean", "hdi_low", "hdi_high"))
        learned = prior[:, state]
        log_sd = float(np.nan_to_num(dwell["log_sd"][state]))
        with np.errstate(invalid="ignore"):
            outside = np.abs(np.log(learned / mean)) > SIGMAS * log_sd
            far = np.maximum(learned / mean, mean / learned) > 1.0 + RATE_TOLERANCE
        for words, side in ((seldom, learned > mean), (often, learned < mean)):
            wrong = learned[outside & far & side]
            if len(wrong):
                ends = " to ".join(dict.fromkeys(f"{end:.3g}" for end in (wrong.min(), wrong.max())))
                words.append(
                    f"its mean dwell in {label} is {ends}{unit} in {len(wrong)} of {len(learned)} "
                    f"{plural(len(learned), 'seed')}, the posterior paths' is {mean:.3g}{unit} "
                    f"(90 % interval {low:.3g} to {high:.3g})"
                )
    if attribute(idata, "drawn_from", "guide") == "exact posterior":
        advice = (
            "Neither is biased by a guide: the fit is not finished (more --steps), or the record does not come from "
            "one stationary law (a trend, several kinds of visits). Believe the paths' dwell times for this record."
        )
    elif attribute(idata, "model_fitted_by", "bound") == "evidence":
        advice = (
            "The potential was fitted on the exact evidence, without the guide: believe its rates; the guide's "
            "paths are the worse witness, and more --steps train it further."
        )
    else:
        advice = (
            "Believe the paths' dwell times, not the potential's rates and barriers; a steered guide or a finer "
            "step usually mends it."
        )
    if seldom:
        yield f"The learned potential hops less often than the posterior paths: {'; '.join(seldom)}. {advice}"
    if often:
        if len(state_labels(idata)) > 2:
            advice += " A state may also be the way between two others, for want of a latent dimension."
        yield f"The learned potential hops more often than the posterior paths: {'; '.join(often)}. {advice}"
