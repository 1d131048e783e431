"""Counts of pairs of observations one lag apart: which basin the paths were in first, which one then."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from pyro_langevin.diagnostics.blocks import record_blocks
from pyro_langevin.diagnostics.layout import Draws, group, median_gap, state_labels

__all__ = ["chosen_lags", "count_pairs", "lagged_counts", "lagged_pairs"]

LAG_TOLERANCE = 0.1
"""How far from the lag a pair of irregular times may be apart, as a share of the lag."""
LAGS_PER_BLOCK = 5.0
"""Length of a block in lags: a pair reaches into the next block, and at five lags a tenth of them does, on average."""
MOST_PAIRS = 100_000_000
"""Pairs that are counted at most; of larger data fewer draws are read, evenly spread."""

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def chosen_lags(idata: Draws, lags: npt.ArrayLike | None = None) -> np.ndarray:
    """Lags in the data's time unit: as given, or those that the draws hold, or 1, 2, 5, 10 and 20 median gaps."""
    if lags is not None:
        chosen = np.atleast_1d(np.asarray(lags, dtype=float))
        if not (np.isfinite(chosen) & (chosen > 0.0)).all():
            raise ValueError(f"lags: expected positive times, got {chosen.tolist()}")
        return chosen
    kinetics = group(idata, "kinetics")
    if "lag" in kinetics.coords:
        return np.asarray(kinetics["lag"].values, dtype=float)
    return median_gap(idata) * np.array([1.0, 2.0, 5.0, 10.0, 20.0])


def lagged_pairs(times: np.ndarray, lengths: np.ndarray, lag: float) -> Pairs:
    """Series, first and second index of every pair of observation times one lag apart.

    To each time belongs the one nearest to a lag later, if it is that within a tenth of the lag: at equal gaps the
    exact pairs, at irregular times nearly so; times without a partner are skipped.

    Args:
        times: (series, time), ascending within each length.
        lengths: (series,) observations of each series.
        lag: in the unit of the times.
    """
    inside = np.arange(times.shape[1]) < np.asarray(lengths)[:, None]
    series, start = np.nonzero(inside)
    own = times[inside]
    first = np.cumsum(np.append(0, lengths[:-1]))
    # One ascending row of all series, each shifted so far that no lag reaches from one into the next.
    low, high = own.min(), own.max()
    shift = (high - low + 3.0 * lag) * series
    row = own - low + shift
    target = row + lag
    after = np.minimum(np.searchsorted(row, target), len(row) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(abs(row[after] - target) < abs(row[before] - target), after, before)
    here = (series[nearest] == series) & (abs(row[nearest] - target) <= LAG_TOLERANCE * lag)
    here &= nearest != np.arange(len(row))
    kept = np.flatnonzero(here)
    return series[kept], start[kept], nearest[kept] - first[series[kept]]


def count_pairs(paths: np.ndarray, pairs: Pairs, block: np.ndarray, n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of pairs of states, of each draw and of each block.

    Args:
        paths: states, (draw, series, time); negative where unknown, which is not counted.
        pairs: series, first and second index of each pair.
        block: block of each pair, (pair,).
        n_states: number of states.

    Returns:
        Counts of each draw (draw, from, to), and of each block (block, from, to), the mean over draws.
    """
    series, start, end = pairs
    n_blocks = int(block.max()) + 1 if len(block) else 1
    size = n_states + 1  # the last one takes the unknown
    drawn = np.zeros((len(paths), size, size))
    blocks = np.zeros(n_blocks * size * size)
    for draw, path in enumerate(paths):
        state = np.where(path < 0, n_states, path).astype(np.int64)
        cell = (block * size + state[series, start]) * size + state[series, end]
        counted = np.bincount(cell, minlength=len(blocks)).astype(float)
        blocks += counted
        drawn[draw] = counted.reshape(n_blocks, size, size).sum(0)
    blocks = blocks.reshape(n_blocks, size, size)[:, :n_states, :n_states] / len(paths)
    return drawn[:, :n_states, :n_states], blocks


def lagged_counts(idata: Draws, lags: np.ndarray) -> xr.Dataset:
    """Pairs of observation times a lag apart, counted by the basins that the posterior paths are in.

    Args:
        idata: the draws.
        lags: (lag,) in the data's time unit.

    Returns:
        ``drawn`` (chain, draw, lag, state_from, state_to), counts of each draw; ``blocks`` (chain, lag, block,
        state_from, state_to), of each block of the record, the mean over draws; ``stride`` (lag), number of pairs that
        begin within one lag of a series: that many overlap, so counts divided by it are about independent ones.
    """
    labels = state_labels(idata)
    n = len(labels)
    states = group(idata, "state_path", "state")["state"].transpose("chain", "draw", "series", "time")
    constant = group(idata, "constant_data", "time", "length")
    times = constant["time"].transpose("series", "time").values
    lengths = np.asarray(constant["length"].values, dtype=int)
    number = record_blocks(idata, at_least=LAGS_PER_BLOCK * float(lags.max()))
    n_blocks = int(number.max()) + 1
    every = max(1, -(-states.size * len(lags) // MOST_PAIRS))
    read = states.isel(draw=slice(None, None, every))
    paths = read.values
    drawn = np.zeros((*paths.shape[:2], len(lags), n, n))
    blocks = np.zeros((len(paths), len(lags), n_blocks, n, n))
    stride = np.ones(len(lags))
    for place, lag in enumerate(lags):
        pairs = lagged_pairs(times, lengths, float(lag))
        if len(pairs[0]) == 0:
            continue
        block = number[pairs[0], pairs[1]]
        gaps = (times[np.arange(len(times)), lengths - 1] - times[:, 0]).sum() / max((lengths - 1).sum(), 1)
        stride[place] = max(1.0, float(lag) / gaps)
        for chain, path in enumerate(paths):
            drawn[chain, :, place], counted = count_pairs(path, pairs, block, n)
            blocks[chain, place, : len(counted)] = counted
    pair = ("state_from", "state_to")
    return xr.Dataset(
        {
            "drawn": (("chain", "draw", "lag", *pair), drawn),
            "blocks": (("chain", "lag", "block", *pair), blocks),
            "stride": ("lag", stride),
        },
        coords={
            "chain": states["chain"].values, "draw": read["draw"].values, "lag": lags,
            "state_from": labels, "state_to": labels,
        },
    )
