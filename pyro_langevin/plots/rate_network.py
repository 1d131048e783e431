"""The states and how often each goes to each other."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch

from pyro_langevin.diagnostics.intervals import shortest_interval
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.diagnostics.path_rates import path_rates
from pyro_langevin.plots.canvas import axes_or_new, halo, inverse_time
from pyro_langevin.plots.palette import INK, state_look

__all__ = ["plot_rate_network"]

SEEN = 0.5
"""Transitions a draw, on average, from which on an arrow is drawn."""


def plot_rate_network(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """States as discs with areas in proportion to occupancy, transitions as arrows with widths in proportion to rates.

    Both are of the posterior paths: occupancy is the fraction of time in this record; a rate is transitions between
    cores over the time spent, its median and shortest 90 % interval from the Gamma posteriors
    (:func:`~pyro_langevin.diagnostics.path_rates`). Transitions that draws make less than every other time are left
    out. With three states and more, intervals are written as half their width in per cent of the median.
    """
    labels = state_labels(idata)
    n = len(labels)
    ax = axes_or_new(ax, width=6.0, height=5.0 if n > 2 else 2.8)
    share = np.nan_to_num(occupancy(idata)["mean"].sel(estimator="path").values)
    place = _places(n)
    # Discs never touch: the largest has a fifth of the distance between neighbours.
    gap = min((float(np.hypot(*(a - b))) for i, a in enumerate(place) for b in place[:i]), default=2.0)
    radius = np.maximum(0.2 * gap * np.sqrt(share / max(share.max(), 1e-9)), 0.09 * gap)
    rates, low, high = _rates(idata)
    largest = float(np.nanmax(rates)) if np.isfinite(rates).any() else 1.0
    for i in range(n):
        for j in range(n):
            if np.isfinite(rates[i, j]):
                width = 0.8 + 5.0 * rates[i, j] / largest
                half = 50.0 * (high[i, j] - low[i, j]) / rates[i, j]
                text = f"({low[i, j]:.2g} to {high[i, j]:.2g})" if n < 3 else f"±{half:.0f} %"
                text = f"{rates[i, j]:.2g}\n{text}"
                # Numbers stand at different parts of their ways, or they would meet in the middle of the figure.
                part = 0.5 if n < 3 or (j - i) % n == 1 else 0.36 if n == 3 else 0.16 + 0.3 * ((j - i) % n) / n
                _arrow(ax, place[i], place[j], radius[i], radius[j], width, text, part=part, crowded=n > 3)
    for i, label in enumerate(labels):
        ax.add_patch(
            Circle(place[i], radius[i], facecolor=state_look(i).colour, edgecolor=INK, linewidth=1.2, zorder=3)
        )
        ax.text(
            float(place[i, 0]), float(place[i, 1]), f"{label}\n{100 * share[i]:.0f} %", ha="center", va="center",
            color=INK, fontweight="bold", path_effects=halo(3.0), zorder=5,
        )
    # Room for the numbers outside.
    reach = radius.max() + (0.3 if n > 2 else 0.12) * gap
    ax.update_datalim([place.min(0) - reach, place.max(0) + reach])
    ax.margins(0.0)
    ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_xlabel(f"transitions {inverse_time(idata)} (90 % interval)" if n > 1 else "one state: no transitions")
    ax.set_ylabel("discs: share of time")
    return ax


def _places(n: int) -> np.ndarray:
    """Where the states stand: on a circle of radius one, the first on the left or on top."""
    if n == 1:
        return np.zeros((1, 2))
    angle = (np.pi if n == 2 else np.pi / 2) - 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _rates(idata: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, low and high of the paths' rates, (state_from, state_to); NaN where there is no arrow."""
    samples = path_rates(idata).transpose("sample", "state_from", "state_to").values
    events = group(idata, "kinetics", "events")["events"].transpose("chain", "draw", "state_from", "state_to").values
    n = samples.shape[-1]
    result = np.full((3, n, n), np.nan)
    for i in range(n):
        for j in range(n):
            drawn = samples[:, i, j][np.isfinite(samples[:, i, j])]
            if i != j and len(drawn) and np.nanmean(events[..., i, j]) >= SEEN:
                result[:, i, j] = np.median(drawn), *shortest_interval(drawn, log=True)
    return result[0], result[1], result[2]


def _arrow(
    ax: Axes, start: np.ndarray, stop: np.ndarray, near: float, far: float, width: float, text: str, *,
    part: float, crowded: bool,
) -> None:
    """A bent arrow from disc to disc, its number on its outer side."""
    along = stop - start
    distance = float(np.hypot(*along))
    along = along / distance
    # Left of the way there: the way back then lies on the other side.
    aside = np.array([-along[1], along[0]])
    turn = 0.16 if crowded else 0.2
    tail = start + 1.12 * near * along + 0.35 * near * aside
    head = stop - 1.15 * far * along + 0.35 * far * aside
    ax.add_patch(
        FancyArrowPatch(
            tail, head, connectionstyle=f"arc3,rad={-turn}", arrowstyle="-|>", mutation_scale=10 + 1.6 * width,
            linewidth=width, color=INK, alpha=0.75, shrinkA=0, shrinkB=0, zorder=2,
        )
    )
    room = (np.array([18.0, 9.0]) if crowded else np.array([20.0, 11.0])) + 0.7 * width
    span = head - tail
    bulge = 2 * part * (1 - part) * turn * float(np.hypot(*span))
    ax.annotate(
        text, tail + part * span + bulge * aside, xytext=tuple(room * aside), textcoords="offset points",
        ha="center", va="center", fontsize="x-small" if crowded else "small", color=INK, path_effects=halo(3.0),
        zorder=4,
    )
