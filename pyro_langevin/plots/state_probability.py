"""The states' probabilities over time, stacked."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.states import state_probability
from pyro_langevin.plots.canvas import axes_or_new, halo, quiet_frame, time_label
from pyro_langevin.plots.palette import INK, state_look

__all__ = ["plot_state_probability"]

NAMED = 0.04
"""Least share of the time axis that a stay must last to carry its state's label."""


def plot_state_probability(idata: Draws, *, ax: Axes | None = None, series: int = 0) -> Axes:
    """Probability of each state given all data, p(state | y, t), stacked over time, for one series.

    Averaged over seeds and draws. The edges between states are drawn in ink; a state's label stands in its longest
    stay, and in the legend with its pattern.

    Args:
        idata: the draws.
        ax: axes to draw on; a new figure without.
        series: position of the series.
    """
    ax = axes_or_new(ax, width=9.0, height=2.8)
    labels = state_labels(idata)
    end = int(group(idata, "constant_data", "length")["length"].values[series])
    array = state_probability(idata)
    probability = array.values[series, :end]
    times = array["t"].values[series, :end]
    edges = np.concatenate([np.zeros((end, 1)), np.nan_to_num(probability).cumsum(1)], axis=1)
    for state, label in enumerate(labels):
        look = state_look(state)
        ax.fill_between(
            times, edges[:, state], edges[:, state + 1], step="mid", facecolor=look.colour,
            edgecolor=(1.0, 1.0, 1.0, 0.45), hatch=look.hatch, linewidth=0.0, label=label,
        )
    for state in range(1, len(labels)):
        ax.step(times, edges[:, state], where="mid", color=INK, linewidth=0.6)
    for state, label in enumerate(labels):
        _name_longest_stay(ax, times, edges[:, state : state + 2], label)
    ax.set_xlim(times[0], times[-1] if end > 1 else times[0] + 1.0)
    ax.set_ylim(0.0, 1.0)
    ax.legend(
        title="state", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small", reverse=True,
        handlelength=1.4, handleheight=1.2,
    )
    quiet_frame(ax)
    ax.set_xlabel(time_label(idata))
    ax.set_ylabel("p(state | data)")
    name = group(idata, "constant_data")["series"].values[series]
    ax.set_title(f"series {name}", loc="left", fontsize="medium", parse_math=False)
    return ax


def _name_longest_stay(ax: Axes, times: np.ndarray, edge: np.ndarray, label: str) -> None:
    """Writes the label into the longest time over which the state is likely, if that is long enough."""
    likely = np.flatnonzero(np.diff(edge, axis=1)[:, 0] > 0.5)
    if len(likely) == 0:
        return
    stays = np.split(likely, np.flatnonzero(np.diff(likely) > 1) + 1)
    longest = max(stays, key=lambda stay: float(times[stay[-1]] - times[stay[0]]))
    if times[longest[-1]] - times[longest[0]] < NAMED * (times[-1] - times[0]):
        return
    middle = longest[len(longest) // 2]
    ax.text(
        (times[longest[0]] + times[longest[-1]]) / 2, edge[middle].mean(), label, ha="center", va="center",
        fontweight="bold", color=INK, path_effects=halo(3.0),
    )
