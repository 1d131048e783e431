"""Posterior predictive check: do data drawn from the fit look like the data?"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group
from pyro_langevin.plots.canvas import grid_or_new, quiet_frame
from pyro_langevin.plots.data import clearest_channel
from pyro_langevin.plots.palette import INK, QUIET

__all__ = ["plot_predictive"]

DRAWS = 40
"""Draws that are compared with the data."""
BINS = 40
LAGS = 50


def plot_predictive(
    idata: Draws, *, ax: np.ndarray | None = None, channel: int | None = None, prior: bool = False
) -> np.ndarray:
    """Histogram and autocorrelation of one channel of the data, against those of draws of the posterior predictive.

    Draws of the posterior predictive are new measurements along the same paths: they check the emission. Those of the
    prior predictive run along new paths of the learned dynamics: they check its occupancy and kinetics too.

    The data are the black line; the band holds 90 % of the draws, the thin lines are some of them. Autocorrelations are
    averages over the series about the channel's overall mean, by number of observations; they are right for even gaps
    and only a comparison otherwise.

    Args:
        idata: the draws, with a group ``posterior_predictive`` (or ``prior_predictive``) that holds ``y`` (chain, draw,
            series, time, channel).
        ax: two axes, for histogram and autocorrelation; a new figure without.
        channel: position of the channel; the one that tells the states apart best without.
        prior: compare with new paths of the learned dynamics, from the group ``prior_predictive``.

    Returns:
        The two axes.

    Raises:
        ValueError: there are no predictive draws, or not two axes.
    """
    name = "prior_predictive" if prior else "posterior_predictive"
    if name not in idata:
        raise ValueError(
            f"idata: expected a group {name!r} with y (chain, draw, series, time, channel), came without; make it with "
            f"pyro_langevin.add_{name}"
        )
    drawn = group(idata, name, "y")["y"]
    channel = clearest_channel(idata) if channel is None else channel
    observed = group(idata, "observed_data", "y")["y"].transpose("series", "time", "channel")
    y = observed.values[..., channel].astype(float)
    copies = _copies(drawn, channel)
    copies = np.where(np.isfinite(y), copies, np.nan)  # seen where the data were, and nowhere else
    left, right = grid_or_new(ax, rows=1, columns=2, width=8.5, height=3.2).ravel()
    everything = np.concatenate([y.ravel(), copies.ravel()])
    low, high = np.nanquantile(everything, [0.0005, 0.9995])
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    _compare(left, middle, _histogram(y, edges), np.array([_histogram(copy, edges) for copy in copies]))
    lags = np.arange(min(LAGS, y.shape[1] - 1) + 1)
    _compare(right, lags, _autocorrelation(y, lags), np.array([_autocorrelation(copy, lags) for copy in copies]))
    left.set_xlabel(str(observed["channel"].values[channel]), parse_math=False)
    left.set_ylabel("density")
    left.set_ylim(bottom=0.0)
    right.axhline(0.0, color=QUIET, linewidth=0.6)
    right.set_xlabel("lag (observations)")
    right.set_ylabel("autocorrelation")
    right.legend(frameon=False, fontsize="small", title="prior predictive" if prior else "posterior predictive")
    return np.array([left, right])


def _copies(drawn: xr.DataArray, channel: int) -> np.ndarray:
    """Some of the draws of all chains, (copy, series, time)."""
    values = drawn.transpose("chain", "draw", "series", "time", "channel")
    total = values.sizes["chain"] * values.sizes["draw"]
    picks = np.unique(np.linspace(0, total - 1, min(DRAWS, total)).astype(int))
    pairs = [divmod(int(pick), values.sizes["draw"]) for pick in picks]
    return np.stack([values[chain, draw, :, :, channel].values for chain, draw in pairs]).astype(float)


def _compare(ax: Axes, x: np.ndarray, data: np.ndarray, copies: np.ndarray) -> None:
    low, high = np.nanquantile(copies, [0.05, 0.95], axis=0)
    ax.fill_between(x, low, high, color=QUIET, alpha=0.35, linewidth=0.0, label="90 % of draws")
    for copy in copies[:5]:
        ax.plot(x, copy, color=QUIET, linewidth=0.6)
    ax.plot(x, data, color=INK, linewidth=1.8, label="data")
    quiet_frame(ax)


def _histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the finite values in each bin over its width."""
    finite = values[np.isfinite(values)]
    counts, _ = np.histogram(finite, edges)
    return np.asarray(counts / (max(len(finite), 1) * np.diff(edges)))


def _autocorrelation(values: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Autocorrelation over all pairs of finite values, (lag); NaN for a constant record."""
    centred = values - np.nanmean(values)
    variance = np.nanmean(centred**2)
    result = np.full(len(lags), np.nan)
    for place, lag in enumerate(lags):
        products = centred[:, lag:] * centred[:, : values.shape[1] - lag]
        if np.isfinite(products).any() and variance > 0.0:
            result[place] = np.nanmean(products) / variance
    return result
