"""Standard errors from independent replicas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyro_langevin.landscape.surface import Floats


def jackknife(without: Sequence[Floats] | Floats) -> Floats:
    """Standard error from estimates that leave out one replica each; infinite where one of them is not finite."""
    values = np.stack(list(without))
    finite = np.isfinite(values).all(0)
    spread = np.where(finite, values, 0.0).std(0) * np.sqrt(len(values) - 1.0)
    return np.asarray(np.where(finite, spread, np.inf))
