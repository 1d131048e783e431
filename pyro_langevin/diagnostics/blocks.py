"""Stretches of the record that count as independent, and the test that turns each of them round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.diagnostics.jump_process import relaxation_times
from pyro_langevin.diagnostics.layout import Draws, group, median_gap
from pyro_langevin.diagnostics.path_rates import path_rates

__all__ = ["SignTest", "memory_time", "record_blocks", "sign_test"]

MOST_BLOCKS = 200
"""More blocks than this tell nothing more of a variance; neighbours are then put together."""


def memory_time(idata: Draws) -> float:
    """Slowest relaxation time of the posterior paths' hopping; with one state, of the learned dynamics, or one gap."""
    rates = path_rates(idata).mean("sample", skipna=True).values
    off_diagonal = np.nan_to_num(rates) * (1 - np.eye(len(rates)))
    there = np.flatnonzero((off_diagonal.sum(0) > 0) & (off_diagonal.sum(1) > 0))
    if len(there) > 1:
        slowest = relaxation_times(off_diagonal[np.ix_(there, there)])[0]
        if np.isfinite(slowest):
            return float(slowest)
    kinetics = group(idata, "kinetics")
    if "timescale" in kinetics and bool(kinetics["timescale"].notnull().any()):
        return float(kinetics["timescale"].max())
    return median_gap(idata)


def record_blocks(idata: Draws, *, at_least: float) -> np.ndarray:
    """Number of the block of each observation, (series, time); -1 beyond a series' end.

    Every series is cut into stretches of equal duration, as many as are at least ``at_least`` long (in the data's
    time unit); a shorter series is a block of its own, since series are independent. Beyond 200 blocks neighbours are
    put together.
    """
    constant = group(idata, "constant_data", "time", "length")
    times = constant["time"].transpose("series", "time").values
    lengths = np.asarray(constant["length"].values, dtype=int)
    inside = np.arange(times.shape[1]) < lengths[:, None]
    start = times[:, :1]
    duration = times[np.arange(len(times)), lengths - 1][:, None] - start
    count = np.maximum(1, np.floor(duration / at_least)).astype(int)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(duration > 0.0, (times - start) / duration, 0.0)
    own = np.clip(np.nan_to_num(share) * count, 0, count - 1).astype(int)
    number = own + (np.cumsum(count) - count[:, 0])[:, None]
    total = int(count.sum())
    if total > MOST_BLOCKS:
        number = number * MOST_BLOCKS // total
    return np.where(inside, number, -1)


@dataclass(frozen=True)
class SignTest:
    """Result of :func:`sign_test`.

    Attributes:
        z: Sum of each statistic over its standard deviation, ``(statistic,)``; NaN where it never varies.
        p_value: Probability of so large a largest ``|z|`` if nothing but chance is at work; NaN without blocks.
    """

    z: np.ndarray
    p_value: float


def sign_test(
    blocks: np.ndarray, *, variance: np.ndarray | None = None, flips: int = 4000, seed: int = 0
) -> SignTest:
    """Test that statistics summed over independent blocks have mean zero, all of them together.

    ``z = sum_b r_b / sqrt(sum_b r_b^2)``. Where a block is as likely as its mirror image, with all its statistics of
    the other sign, any choice of signs is as likely as the one seen: the largest ``|z|`` among random choices gives a
    p-value that is exact whatever the correlation of the statistics and the number of blocks. With B blocks ``|z|``
    cannot exceed ``sqrt(B)``. Monte Carlo: the p-value is at least ``1 / (flips + 1)``.

    Args:
        blocks: statistics of each block, (block, statistic).
        variance: variance of each sum, (statistic,), where another than ``sum_b r_b^2`` is known; at least that.
        flips: random choices of signs.
        seed: of the random numbers; the same figures come out every time.
    """
    scale = np.sqrt((blocks**2).sum(0))
    known = scale > 0.0
    z = np.full(blocks.shape[1], np.nan)
    if not known.any():
        return SignTest(z, float("nan"))
    wider = scale if variance is None else np.sqrt(np.maximum(variance, scale**2))
    z[known] = blocks[:, known].sum(0) / wider[known]
    random = np.random.default_rng(seed)
    unit = blocks[:, known] / scale[known]
    largest = np.empty(flips)
    for begin in range(0, flips, 500):  # in parts: many statistics times many flips would fill the memory
        part = slice(begin, min(begin + 500, flips))
        signs = 2.0 * random.integers(0, 2, size=(part.stop - part.start, len(blocks))) - 1.0
        largest[part] = abs(signs @ unit).max(1)
    exceeded = int((largest >= abs(z[known]).max() - 1e-12).sum())
    return SignTest(z, (1 + exceeded) / (1 + flips))
