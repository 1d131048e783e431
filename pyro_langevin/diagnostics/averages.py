"""Means over what is known: a seed that lacks a state has NaN there and does not count."""

from __future__ import annotations

import numpy as np

__all__ = ["mean_of_known"]


def mean_of_known(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """Mean of the finite values along axes; NaN where there are none."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis) / known.sum(axis))
