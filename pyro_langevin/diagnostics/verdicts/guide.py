"""Is the guide close enough to the posterior for the figures that its draws give?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.diagnostics.guide_quality import evidence_gap
from pyro_langevin.diagnostics.layout import Draws, attribute, group
from pyro_langevin.diagnostics.pareto import LEAST_DRAWS

__all__ = ["corrected_figures", "guide_too_far", "guide_too_narrow"]

GAP_TOLERANCE = 0.05
"""Nats by which the bound may fall short of the evidence, for each observation time and latent coordinate."""
SIGMAS = 3.0
WIDENING_TOLERANCE = 1.15
"""Factor on the guide's deviations that is let pass."""
CORRECTION_TOLERANCE = 0.02
"""Correction of an occupancy that is let pass, in standard deviations of being in the state or not."""


def guide_too_narrow(idata: Draws) -> Iterator[str]:
    """Warning where the guide's bound rises when all its steps are widened."""
    stats = group(idata, "sample_stats")
    if _is_exact(idata) or "guide_widening" not in stats:
        return
    widening = float(stats["guide_widening"].median("series").max("chain"))
    if widening > WIDENING_TOLERANCE:
        yield (
            "The guide is too narrow: its bound is highest with its steps' standard deviations multiplied by about "
            f"{widening:.3g}. Intervals over its draws are too short, and the fitted parameters may be biased; train "
            "it longer (more --steps), or take a SteeredGuide."
        )


def guide_too_far(idata: Draws) -> Iterator[str]:
    """Warning where the guide's bound is far below the evidence, by particles or at least by its own weights."""
    if _is_exact(idata):
        return
    gaps = evidence_gap(idata)
    known = np.isfinite(gaps["particles"].values).all()
    name = "particles" if known else "iwae"
    size = group(idata, "states", "minimum")["minimum"].sizes["latent_dim"]
    observations = float(group(idata, "constant_data", "length")["length"].sum())
    gap = gaps[name].sum("series").values / observations
    error = np.sqrt((gaps[f"{name}_error"] ** 2).sum("series").values) / observations
    worst = int(np.nanargmax(gap))
    if gap[worst] > GAP_TOLERANCE * size and gap[worst] > SIGMAS * np.nan_to_num(error[worst]):
        seed = attribute(idata, "seeds", list(range(len(gap))))[worst]
        against = "the evidence that guided particles find" if known else "the evidence"
        yield (
            f"The guide is far from the posterior: its bound is {'' if known else 'at least '}{gap[worst]:.2g} nats "
            f"per observation time below {against} (seed {seed}). What was fitted on this bound may be biased, dwell "
            "times and rates most; train the guide longer (more --steps), or take one that holds the posterior."
        )


def corrected_figures(idata: Draws) -> Iterator[str]:
    """Warning where the corrected occupancy lies outside the interval of the guide's."""
    if _is_exact(idata) or group(idata, "occupancy", "path")["path"].sizes["draw"] < LEAST_DRAWS:
        return
    table = corrected_occupancy(idata)
    believed = table.attrs["believed"]
    if believed == "guide" or table.sizes["state"] < 2:
        return
    guide, chosen = (table.sel(estimator=name) for name in ("guide", believed))
    mean = chosen["mean"].values
    moved = np.abs(table["correction"].values)
    with np.errstate(invalid="ignore"):
        outside = (mean < guide["hdi_low"].values) | (mean > guide["hdi_high"].values)
        sure = moved > SIGMAS * table["correction_error"].values
        much = moved > CORRECTION_TOLERANCE * np.sqrt(np.clip(mean * (1.0 - mean), 0.0, None))
    for state in np.flatnonzero(outside & sure & much):
        yield (
            f"The guide misjudges the occupancy of {table['state'].values[state]}: its draws give "
            f"{float(guide['mean'][state]):.3f} (90 % interval {float(guide['hdi_low'][state]):.3f} to "
            f"{float(guide['hdi_high'][state]):.3f}), corrected by {_how(believed)} it is {mean[state]:.3f} "
            f"({float(chosen['hdi_low'][state]):.3f} to {float(chosen['hdi_high'][state]):.3f}). Believe the latter."
        )


def _how(estimator: str) -> str:
    return "importance weights" if estimator == "weights" else "guided particles"


def _is_exact(idata: Draws) -> bool:
    return bool(attribute(idata, "drawn_from", "guide") == "exact posterior")
