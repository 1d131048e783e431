"""Pareto-smoothed importance weights: the shape of their tail, and weights that it has tamed."""

from __future__ import annotations

import numpy as np

__all__ = ["log_mean_exp", "smoothed_weights", "tail_shape", "trusted_shape"]

LEAST_DRAWS = 25
"""Draws below which no tail is fitted."""
_PRIOR_DRAWS, _PRIOR_SHAPE = 10, 0.5


def tail_shape(log_weights: np.ndarray) -> float:
    """k-hat: shape of a generalised Pareto law fitted to the largest ``min(S / 5, 3 sqrt(S))`` of S weights.

    (Zhang and Stephens 2009, drawn towards .5 as in Vehtari et al. 2024.) NaN with fewer than 25 draws or a weight
    that is not finite (minus infinity, a weight of zero, is); minus infinity where all weights are alike.
    """
    return _fitted(log_weights)[0]


def smoothed_weights(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to one, the largest ones replaced by the quantiles of the Pareto law fitted to them.

    (Vehtari et al. 2024.) No weight grows beyond the largest raw one. With fewer than 25 draws they stay as they are.
    """
    shape, scale, tail, cutoff = _fitted(log_weights)
    weights = np.exp(log_weights - log_weights.max())
    if np.isfinite(shape):
        place = (np.arange(tail) + 0.5) / tail
        excess = -scale * np.log1p(-place) if abs(shape) < 1e-9 else scale / shape * np.expm1(-shape * np.log1p(-place))
        weights[np.argsort(weights)[-tail:]] = np.minimum(cutoff + excess, 1.0)
    return np.asarray(weights / weights.sum())


def trusted_shape(draws: int) -> float:
    """k-hat up to which weights of so many draws can be trusted, ``min(1 - 1 / log10 S, .7)`` (Vehtari et al. 2024)."""
    return float(min(1.0 - 1.0 / np.log10(max(draws, 2)), 0.7))


def log_mean_exp(log_weights: np.ndarray) -> np.ndarray:
    """Logarithm of the mean weight over the last axis."""
    peak = log_weights.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(log_weights - peak).mean(-1)) + peak[..., 0])


def _fitted(log_weights: np.ndarray) -> tuple[float, float, int, float]:
    """Shape, scale, number of weights in the tail, and where it begins, in units of the largest weight."""
    draws = len(log_weights)
    tail = int(np.ceil(min(draws / 5, 3 * np.sqrt(draws))))
    if draws < LEAST_DRAWS or np.isnan(log_weights).any() or not np.isfinite(log_weights.max()):
        return float("nan"), float("nan"), tail, float("nan")
    ordered = np.sort(log_weights - log_weights.max())
    cutoff = float(np.exp(max(ordered[-tail - 1], np.log(np.finfo(float).tiny))))
    excess = np.exp(ordered[-tail:]) - cutoff
    if excess[-1] <= 1e-6:  # all weights alike up to rounding: the draws are exact
        return float("-inf"), float("nan"), tail, cutoff
    return *_pareto_law(np.maximum(excess, 0.0)), tail, cutoff


def _pareto_law(excess: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto law of sorted excesses (Zhang and Stephens 2009)."""
    n = len(excess)
    grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    if quartile <= 0.0:
        quartile = excess[excess > 0.0][0]
    b = (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile) + 1.0 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(1)
    with np.errstate(over="ignore"):
        likelihood = n * (np.log(-b / k) - k - 1.0)
        weight = 1.0 / np.exp(likelihood - likelihood[:, None]).sum(1)
    weight = np.where(weight < 10 * np.finfo(float).eps, 0.0, weight)
    mean = (b * weight).sum() / weight.sum()
    shape = np.log1p(-mean * excess).mean()
    return float((n * shape + _PRIOR_DRAWS * _PRIOR_SHAPE) / (n + _PRIOR_DRAWS)), float(-shape / mean)
