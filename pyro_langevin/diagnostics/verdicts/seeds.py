"""Did the seeds end equally well?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.guide_quality import elbo
from pyro_langevin.diagnostics.layout import Draws, attribute, group

__all__ = ["elbo_spread"]

ELBO_TOLERANCE = 0.02
"""Spread of the seeds' ELBO, in nats per observation time, that is let pass."""


def elbo_spread(idata: Draws) -> Iterator[str]:
    """Warning where a seed ended at a lower ELBO than the best."""
    bound = elbo(idata)
    mean = bound["mean"].values
    if np.isfinite(mean).sum() < 2:
        return
    error = np.nan_to_num(bound["standard_error"].values)
    best, worst = int(np.nanargmax(mean)), int(np.nanargmin(mean))
    gap = float(mean[best] - mean[worst])
    observations = float(group(idata, "constant_data", "length")["length"].mean())
    if gap > ELBO_TOLERANCE * observations and gap > 3.0 * math.hypot(error[best], error[worst]):
        seeds = attribute(idata, "seeds", list(range(len(mean))))
        yield (
            f"The seeds ended at different ELBOs: seed {seeds[worst]} is {gap:.3g} nats per series below "
            f"seed {seeds[best]}. The lower one is the worse fit and widens every interval; "
            "fit longer, or keep the best seeds."
        )
