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

_GAP, _WIDTH, _HEIGHT = 8.0, 105.0, 26.0  # points above a top, and the size of two lines


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
    found = [
        _barrier(idata, x, curves.max(0), centre, one, other) for one, other in zip(known, known[1:], strict=False)
    ]
    tops = [one for one in found if one is not None]
    top = max([height for _, height, _ in tops] + [2.0])
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
    ax.set_ylim(-0.14 * top, (1.45 if len(tops) < 2 else 1.6) * top)
    _write(ax, tops)
    quiet_frame(ax)
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel("potential (kT)")
    return ax


def _barrier(
    idata: Draws, x: np.ndarray, upper: np.ndarray, centre: np.ndarray, one: int, other: int
) -> tuple[float, float, str] | None:
    """Where the band is highest between neighbours, how high, and the two barriers in words."""
    between = np.flatnonzero((x >= centre[one]) & (x <= centre[other]))
    if len(between) == 0:
        return None
    top = between[int(np.argmax(upper[between]))]
    height = barriers(idata)
    labels = state_labels(idata)
    lines = []
    for i, j in ((one, other), (other, one)):
        cell = height.isel(state_from=i, state_to=j)
        reach = float(cell["hdi_high"] - cell["hdi_low"]) / 2
        lines.append(f"{labels[i]}→{labels[j]} {float(cell['mean']):.1f} ± {reach:.1f} kT")
    return float(x[top]), float(upper[top]), "\n".join(lines)


def _write(ax: Axes, tops: list[tuple[float, float, str]]) -> None:
    """Write barriers above their tops, from left to right, and above one another where they would overlap."""
    before = (-np.inf, 0.0)
    for place, height, text in tops:
        across, up = ax.transData.transform((place, height)) * 72.0 / ax.figure.dpi
        level = up + _GAP
        if across - before[0] < _WIDTH and abs(level - before[1]) < _HEIGHT:
            level = before[1] + _HEIGHT
        before = (across, level)
        ax.annotate(
            text,
            (place, height),
            xytext=(0, level - up),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize="small",
            color=INK,
        )
