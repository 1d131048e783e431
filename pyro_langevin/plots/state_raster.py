"""The most probable state over time, for many series at once."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.states import state_probability
from pyro_langevin.plots.canvas import axes_or_new, halo, time_label
from pyro_langevin.plots.palette import INK, OUTSIDE, PAPER_EDGE, state_look

__all__ = ["plot_state_raster"]

COLUMNS = 1200
"""Times at which the state is drawn."""


def plot_state_raster(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Most probable state over time, one row a series, in the order of the data.

    Each column shows the nearest observation, so series may have times of their own; rows end with their series.
    Probabilities are averaged over seeds and draws; how sure a state is does not show here
    (:func:`~pyro_langevin.plot_state_probability` shows it).
    """
    labels = state_labels(idata)
    probability = state_probability(idata).transpose("series", "time", "state")
    constant = group(idata, "constant_data", "time", "length")
    times = constant["time"].transpose("series", "time").values
    lengths = np.asarray(constant["length"].values, dtype=int)
    n_series = len(lengths)
    ax = axes_or_new(ax, width=8.0, height=float(np.clip(1.4 + 0.16 * n_series, 1.9, 6.0)))
    begin = min(float(row[0]) for row in times)
    end = max(float(row[length - 1]) for row, length in zip(times, lengths, strict=True))
    end = end if end > begin else begin + 1.0
    columns = np.linspace(begin, end, COLUMNS)
    shown = np.ma.masked_all((n_series, COLUMNS), dtype=int)
    for row in range(n_series):
        at, values = times[row, : lengths[row]], probability.values[row, : lengths[row]]
        nearest = np.searchsorted((at[1:] + at[:-1]) / 2, columns)
        inside = (columns >= at[0]) & (columns <= at[-1])
        shown[row, inside] = np.nan_to_num(values).argmax(-1)[nearest[inside]]
    looks = [state_look(state) for state in range(len(labels))]
    colours = ListedColormap([look.colour for look in looks]).with_extremes(bad=OUTSIDE)
    ax.imshow(
        shown, cmap=colours, vmin=-0.5, vmax=len(labels) - 0.5, aspect="auto", interpolation="nearest",
        interpolation_stage="rgba", extent=(begin, end, n_series - 0.5, -0.5),
    )
    if n_series <= 40:
        for row in range(1, n_series):
            ax.axhline(row - 0.5, color=PAPER_EDGE, linewidth=0.8)
    for state, label in enumerate(labels):
        _name_longest_run(ax, shown == state, columns, label)
    handles = [Patch(facecolor=look.colour, label=label) for look, label in zip(looks, labels, strict=True)]
    ax.legend(
        handles=handles, title="state", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False,
        fontsize="small", handlelength=1.4, handleheight=1.2,
    )
    if n_series <= 12:
        names = [str(name) for name in constant["series"].values]
        ax.set_yticks(range(n_series), names, parse_math=False)
    ax.set_xlabel(time_label(idata))
    ax.set_ylabel("series")
    return ax


def _name_longest_run(ax: Axes, mine: np.ndarray, columns: np.ndarray, label: str) -> None:
    """Writes the label into the longest run of a state over all series, if it has room there."""
    changes = np.diff(np.pad(np.ma.filled(mine, False), ((0, 0), (1, 1))).astype(int), axis=1)
    (rows, starts), (_, stops) = np.nonzero(changes == 1), np.nonzero(changes == -1)
    if len(rows) == 0:
        return
    longest = int(np.argmax(stops - starts))
    if stops[longest] - starts[longest] < 0.025 * len(columns):
        return
    middle = (columns[starts[longest]] + columns[stops[longest] - 1]) / 2
    ax.text(
        middle, rows[longest], label, ha="center", va="center", fontweight="bold", fontsize="small", color=INK,
        path_effects=halo(), clip_on=True,
    )
