"""Time reversal of the observed data: moments that vanish if the record read backwards looks the same."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.blocks import memory_time, record_blocks, sign_test
from pyro_langevin.diagnostics.cycles import cycle_part
from pyro_langevin.diagnostics.lagged_counts import lagged_pairs
from pyro_langevin.diagnostics.layout import Draws, group, median_gap

__all__ = ["data_asymmetry"]

MEMORIES_PER_BLOCK = 3.0
"""Length of a block in relaxation times: what is left of the correlation between neighbours is then a few per cent."""
MOST_LAGS = 5
MOST_KINDS = 8
"""A channel of no more distinct values than this is read as categories, too: their numbers may mean nothing."""


def data_asymmetry(idata: Draws) -> xr.Dataset:
    """Moments of the observed data that are zero if the process is reversible, over their standard deviation.

    Off the diagonal the area that two channels sweep, ``<x_a(t) x_b(t + lag) - x_b(t) x_a(t + lag)>``; on the diagonal
    the third moment ``<x_a(t)^2 x_a(t + lag) - x_a(t) x_a(t + lag)^2>``, with x the channel less its mean; of a channel
    that takes three to eight distinct values also the areas that the indicators of two values sweep (passages from one
    to the other less those back, as far as they go round), since a cycle of categories need not show in the moments of
    their codes. Any function of the positions of a Langevin process in a potential, with or without momentum, seen with
    noise that does not know the time, has none of these; nor do its records, block by block. Lags are 1, 2, 4, ...
    median gaps up to the relaxation time. Nothing is fitted here: this is a verdict on the data. It takes for granted
    that the record is stationary: series that all begin in one state relax, and relaxing is no more reversible.

    Returns:
        ``z`` (lag, channel, channel_other), NaN where too few times have every channel observed, on the diagonal that
        of the channel's moments which is largest; ``p_value``, of the largest ``|z|`` of all by random signs of blocks
        of three relaxation times
        (:func:`~pyro_langevin.diagnostics.blocks.sign_test`).

    Source:
        Steinberg (1986) for the third moment, Ghanta, Neu and Teitsworth (2017) for the area.
    """
    data = group(idata, "observed_data", "y")["y"].transpose("series", "time", "channel")
    constant = group(idata, "constant_data", "time", "length")
    times = constant["time"].transpose("series", "time").values
    lengths = np.asarray(constant["length"].values, dtype=int)
    memory = memory_time(idata)
    blocks = record_blocks(idata, at_least=MEMORIES_PER_BLOCK * memory)
    gap = median_gap(idata)
    lags = gap * 2.0 ** np.arange(MOST_LAGS)
    lags = lags[lags <= max(memory, gap)]
    x = data.values.astype(float)
    seen = np.where(np.isfinite(x), x, np.nan).reshape(-1, x.shape[-1])
    known = np.isfinite(seen).all(1)
    n_channels = x.shape[-1]
    sums = np.zeros((int(blocks.max()) + 1, len(lags), n_channels, n_channels))
    if known.sum() > 1:
        scale = seen[known].std(0)
        x = (x - seen[known].mean(0)) / np.where(scale > 0.0, scale, 1.0)
        for place, lag in enumerate(lags):
            series, start, end = lagged_pairs(times, lengths, float(lag))
            sums[:, place] = _sums(x[series, start], x[series, end], blocks[series, start], len(sums))
    areas = [
        np.stack([_areas(data.values[..., own], blocks, len(sums), times, lengths, float(lag)) for lag in lags], 1)
        for own in range(n_channels)
    ]
    test = sign_test(np.concatenate([part.reshape(len(sums), -1) for part in (sums, *areas)], 1))
    z, *of_kinds = np.split(test.z, np.cumsum([part[0].size for part in (sums, *areas)])[:-1])
    z = z.reshape(len(lags), n_channels, n_channels)
    for own, found in enumerate(of_kinds):
        every = np.concatenate([z[:, own, own, None], found.reshape(len(lags), -1)], 1)
        z[:, own, own] = every[np.arange(len(lags)), np.argmax(np.nan_to_num(abs(every)), axis=1)]
    names = [str(name) for name in data["channel"].values]
    return xr.Dataset(
        {
            "z": (("lag", "channel", "channel_other"), z),
            "p_value": test.p_value,
        },
        coords={"lag": lags, "channel": names, "channel_other": names},
    )


def _sums(now: np.ndarray, then: np.ndarray, block: np.ndarray, n_blocks: int) -> np.ndarray:
    """Sums of both moments over the pairs of each block, (block, channel, channel)."""
    whole = np.isfinite(now).all(1) & np.isfinite(then).all(1)
    now, then, block = now[whole], then[whole], block[whole]
    order = np.argsort(block, kind="stable")
    now, then = now[order], then[order]
    ends = np.searchsorted(block[order], np.arange(n_blocks + 1))
    result = np.zeros((n_blocks, now.shape[1], now.shape[1]))
    for number, (low, high) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        product = now[low:high].T @ then[low:high]
        result[number] = product - product.T
        third = (now[low:high] ** 2 * then[low:high] - now[low:high] * then[low:high] ** 2).sum(0)
        np.fill_diagonal(result[number], third)
    return result


def _areas(
    values: np.ndarray, blocks: np.ndarray, n_blocks: int, times: np.ndarray, lengths: np.ndarray, lag: float
) -> np.ndarray:
    """Passages from one value of a channel to another less those back, of what goes round only, (block, pair).

    No pair unless the channel has a few values.

    Args:
        values: of the channel, (series, time).
        blocks: number of each observation's block, (series, time).
        n_blocks: number of blocks.
        times: of the observations, (series, time).
        lengths: observations in each series.
        lag: time between the two observations of a pair.
    """
    kinds = np.unique(values[np.isfinite(values)])
    if not 3 <= len(kinds) <= MOST_KINDS:
        return np.zeros((n_blocks, 0))
    series, start, end = lagged_pairs(times, lengths, lag)
    known = np.isfinite(values[series, start]) & np.isfinite(values[series, end])
    series, start, end = series[known], start[known], end[known]
    shape = (n_blocks, len(kinds), len(kinds))
    now, then = np.searchsorted(kinds, values[series, start]), np.searchsorted(kinds, values[series, end])
    place = np.ravel_multi_index((blocks[series, start], now, then), shape)
    passages = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    net, total = passages - np.swapaxes(passages, 1, 2), passages.sum(0)
    # What begins in one category and ends in another cancels from block to block, and would only add noise.
    return np.asarray(cycle_part(net, total + total.T)[:, *np.triu_indices(len(kinds), 1)])
