"""How well the guide covers the posterior of each series."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics import effective_samples
from pyro_langevin.diagnostics.guide_quality import k_hat
from pyro_langevin.diagnostics.layout import Draws, attribute, group
from pyro_langevin.plots.canvas import axes_or_new, halo, quiet_frame
from pyro_langevin.plots.palette import INK, OUTSIDE, QUIET, seed_look

__all__ = ["plot_guide_quality"]

NAMED = 3
"""Series with the largest k-hat that are named."""
FLOOR = -0.5
"""Smaller k-hat, down to minus infinity for weights that are all alike, are drawn here."""


def plot_guide_quality(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Pareto k-hat of the importance weights against effective draws, one mark for each series and seed.

    On the grey ground (k-hat above .7) weights cannot correct the guide, between the lines (.5 to .7) only just. To the
    right is good: many of the draws count. The worst series are named. Draws of the exact posterior have weights that
    are all alike: they lie in the lower right corner.
    """
    ax = axes_or_new(ax, height=4.0)
    shape = k_hat(idata).transpose("chain", "series")
    effective = effective_samples(idata)["paths"].transpose("chain", "series").values
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
    top = max(1.05, 1.08 * float(np.nanmax(drawn, initial=0.0)))
    ax.axhspan(0.7, top, color=OUTSIDE, linewidth=0.0, zorder=0)
    for level in (0.5, 0.7):
        ax.axhline(level, color=QUIET, linewidth=0.8, zorder=0)
        ax.annotate(
            f"{level}", (1.0, level), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize="small", color=INK,
        )
    worst = np.argsort(np.where(np.isfinite(k), k, -np.inf), axis=None)[::-1][:NAMED]
    for flat in worst:
        chain, series = np.unravel_index(flat, k.shape)
        if np.isfinite(k[chain, series]) and k[chain, series] > 0.5:
            ax.annotate(
                str(shape["series"].values[series]), (effective[chain, series], drawn[chain, series]), xytext=(6, 3),
                textcoords="offset points", fontsize="small", color=INK, path_effects=halo(), parse_math=False,
            )
    if not np.isfinite(k).any() and not np.isneginf(k).any():
        ax.text(0.5, 0.5, "k-hat needs 25 draws", transform=ax.transAxes, ha="center", color=INK)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(k), 5), frameon=False, fontsize="small")
    ax.set_xscale("log")
    ax.set_xlim(0.9, 1.15 * draws)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set_ylim(FLOOR - 0.1, top)
    quiet_frame(ax)
    ax.set_xlabel(f"effective draws of {draws}")
    ax.set_ylabel("Pareto k-hat")
    return ax
