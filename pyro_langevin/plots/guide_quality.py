"""How well the guide covers the posterior of each series."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from pyro_langevin.diagnostics.effective_samples import effective_samples
from pyro_langevin.diagnostics.guide_quality import k_hat
from pyro_langevin.diagnostics.layout import Draws, attribute, group, state_labels
from pyro_langevin.plots.canvas import axes_or_new, halo, quiet_frame
from pyro_langevin.plots.palette import INK, OUTSIDE, PAPER_EDGE, QUIET, seed_look, state_look

__all__ = ["plot_guide_quality"]

NAMED = 3
"""Series with the largest k-hat that are named."""
FLOOR = -0.5
"""Smaller k-hat, down to minus infinity for weights that are all alike, are drawn here."""


def plot_guide_quality(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Pareto k-hat of the importance weights against effective draws: whole series, and what is asked of them.

    Grey marks are series, one for each seed: how well weights would correct any function of the whole path. The worst
    are named. Coloured marks are the states' occupancies over all series, one for each seed: it is these that
    occupancy is judged by, and they may be sound where whole paths are not. On the grey ground (k-hat above .7)
    weights cannot correct the guide, between the lines (.5 to .7) only just. To the right is good: many of the draws
    count. Draws of the exact posterior have weights that are all alike: they lie at the lower right, and there is
    nothing to correct.
    """
    ax = axes_or_new(ax, height=4.0)
    shape = k_hat(idata).transpose("chain", "series")
    table = effective_samples(idata)
    effective = table["paths"].transpose("chain", "series").values
    k = shape.values
    draws = group(idata, "sample_stats", "log_p").sizes["draw"]
    seeds = attribute(idata, "seeds", list(range(len(k))))
    drawn = np.maximum(k, FLOOR)
    size = float(np.clip(40.0 / np.sqrt(max(k.shape[1], 1)), 3.0, 8.0))
    for chain in range(len(k)):
        look = seed_look(chain)
        ax.plot(
            effective[chain], drawn[chain], linestyle="none", marker=look.marker, markersize=size, color=look.colour,
            markerfacecolor="none", alpha=0.8, label=f"seed {seeds[chain]}",
        )
    highest = [float(np.nanmax(drawn, initial=0.0))]
    exact = attribute(idata, "drawn_from") == "exact posterior"
    if exact:
        ax.text(0.03, 0.05, "draws of the exact posterior: nothing to correct", transform=ax.transAxes, color=INK)
    else:
        _occupancies(ax, table, state_labels(idata))
        highest.append(float(np.nanmax(table["k_hat_pooled"].values, initial=0.0)))
    top = max(1.05, 1.08 * max(highest))
    ax.axhspan(0.7, top, color=OUTSIDE, linewidth=0.0, zorder=0)
    for level in (0.5, 0.7):
        ax.axhline(level, color=QUIET, linewidth=0.8, zorder=0)
        ax.annotate(
            f"{level}", (1.0, level), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize="small", color=INK,
        )
    worst = np.argsort(np.where(np.isfinite(k), k, -np.inf), axis=None)[::-1][:NAMED]
    for flat, below in zip(worst, (3, -11, 14), strict=False):  # neighbours are not written over one another
        chain, series = np.unravel_index(flat, k.shape)
        if np.isfinite(k[chain, series]) and k[chain, series] > 0.5:
            ax.annotate(
                str(shape["series"].values[series]), (effective[chain, series], drawn[chain, series]),
                xytext=(6, below), textcoords="offset points", fontsize="small", color=INK, path_effects=halo(),
                parse_math=False,
            )
    if not np.isfinite(k).any() and not np.isneginf(k).any():
        ax.text(0.5, 0.5, "k-hat needs 25 draws", transform=ax.transAxes, ha="center", color=INK)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize="small")
    ax.set_xscale("log")
    ax.set_xlim(max(0.9, 0.6 * float(np.nanmin(effective, initial=draws / 4))), 1.15 * draws)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set_ylim(FLOOR - 0.1, top)
    quiet_frame(ax)
    ax.set_xlabel(f"effective draws of {draws}")
    ax.set_ylabel("Pareto k-hat")
    return ax


def _occupancies(ax: Axes, table: xr.Dataset, labels: list[str]) -> None:
    """One mark for the occupancy of each state and seed."""
    effective = table["pooled"].transpose("chain", "state").values
    k = table["k_hat_pooled"].transpose("chain", "state").values
    for state, label in enumerate(labels):
        known = np.flatnonzero(~np.isnan(k[:, state]) & np.isfinite(effective[:, state]))
        if len(known) == 0:
            continue
        # Two states have the same figures: the later is drawn smaller, so that both are seen.
        look, drawn = state_look(state), np.maximum(k[known, state], FLOOR)
        ax.plot(
            effective[known, state], drawn, linestyle="none", marker=look.marker, color=look.colour,
            markersize=max(6.0, 14.0 - 5.0 * state), markeredgecolor=PAPER_EDGE, zorder=4,
            label=f"occupancy of {label}",
        )
