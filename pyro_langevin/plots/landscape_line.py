"""The learned potential in one dimension."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.kinetics import barriers
from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.canvas import quiet_frame
from pyro_langevin.plots.line_positions import line_positions
from pyro_langevin.plots.palette import INK, PAPER_EDGE, QUIET, state_look

__all__ = ["draw_line"]


def draw_line(idata: Draws, landscape: xr.Dataset, ax: Axes) -> Axes:
    """Mean of the seeds, the band of their extremes, each seed a thin line; minima and barriers."""
    labels = state_labels(idata)
    potential = landscape["beta_potential"].transpose("chain", "point").values
    place, minima, name = line_positions(idata, landscape)
    drawn = np.flatnonzero(np.isfinite(place).all(1))
    # Only where every drawn seed's grid reaches.
    x = np.linspace(place[drawn].min(1).max(), place[drawn].max(1).min(), 600)
    curves = []
    for chain in drawn:
        order = np.argsort(place[chain])
        curves.append(np.interp(x, place[chain][order], potential[chain][order]))
    mean = np.mean(curves, axis=0)
    mean, curves = mean - mean.min(), np.array(curves) - mean.min()
    if len(curves) > 1:
        ax.fill_between(x, curves.min(0), curves.max(0), color=QUIET, alpha=0.3, linewidth=0.0)
        for curve in curves:
            ax.plot(x, curve, color=QUIET, linewidth=0.7)
    ax.plot(x, mean, color=INK, linewidth=1.8)

    centre = np.array(
        [
            np.nanmean(minima[drawn, i]) if np.isfinite(minima[drawn, i]).any() else np.nan
            for i in range(len(labels))
        ]
    )
    known = [int(i) for i in np.argsort(centre) if np.isfinite(centre[i])]
    heights = np.interp(centre, x, mean)
    tops = [
        _annotate_barrier(idata, ax, x, curves.max(0), centre, one, other)
        for one, other in zip(known, known[1:], strict=False)
    ]
    top = max([*tops, 2.0])
    for i in known:
        look = state_look(i)
        ax.plot(
            centre[i],
            heights[i],
            marker=look.marker,
            color=look.colour,
            markersize=9,
            markeredgecolor=PAPER_EDGE,
            zorder=4,
        )
        ax.annotate(
            labels[i],
            (centre[i], heights[i]),
            xytext=(0, -9),
            textcoords="offset points",
            ha="center",
            va="top",
            color=INK,
            fontweight="bold",
        )
    inside = x[mean < 1.45 * top]
    margin = 0.04 * (inside[-1] - inside[0])
    ax.set_xlim(inside[0] - margin, inside[-1] + margin)
    ax.set_ylim(-0.14 * top, 1.45 * top)
    quiet_frame(ax)
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel("potential (kT)")
    return ax


def _annotate_barrier(
    idata: Draws, ax: Axes, x: np.ndarray, upper: np.ndarray, centre: np.ndarray, one: int, other: int
) -> float:
    """Writes the barrier between neighbours above the band, and returns the height of its top."""
    between = np.flatnonzero((x >= centre[one]) & (x <= centre[other]))
    if len(between) == 0:
        return 0.0
    top = between[int(np.argmax(upper[between]))]
    height = barriers(idata)
    labels = state_labels(idata)
    lines = []
    for i, j in ((one, other), (other, one)):
        cell = height.isel(state_from=i, state_to=j)
        reach = float(cell["hdi_high"] - cell["hdi_low"]) / 2
        lines.append(f"{labels[i]}→{labels[j]} {float(cell['mean']):.1f} ± {reach:.1f} kT")
    ax.annotate(
        "\n".join(lines),
        (x[top], upper[top]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize="small",
        color=INK,
    )
    return float(upper[top])
