"""The data with the state that each observation belongs to."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.states import state_probability
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame, time_label
from pyro_langevin.plots.palette import INK, PAPER_EDGE, state_look

__all__ = ["clearest_channel", "plot_data"]

STRIP = 0.09
"""Height of the strip of state probabilities, as a fraction of the axes."""


def plot_data(idata: Draws, *, ax: Axes | None = None, series: int = 0, channel: int | None = None) -> Axes:
    """One channel of one series over time, its points coloured by state.

    Points take the colour and marker of their most probable state. The line is the posterior mean of the
    location, ``sum_k p_k(t) location_k``, from state probabilities averaged over seeds and draws. The strip
    along the foot stacks the probabilities themselves: where it is of two colours the state is in doubt.

    Args:
        idata: the draws.
        ax: axes to draw on; a new figure without.
        series: position of the series.
        channel: position of the channel; the one that tells the states apart best without.
    """
    ax = axes_or_new(ax, width=9.0)
    labels = state_labels(idata)
    channel = clearest_channel(idata) if channel is None else channel
    end = int(group(idata, "constant_data", "length")["length"].values[series])
    probability = state_probability(idata).values[series, :end]
    times = group(idata, "constant_data")["time"].transpose("series", "time").values[series, :end]
    observed = group(idata, "observed_data", "y")["y"].transpose("series", "time", "channel")
    values = observed.values[series, :end, channel]
    location = _locations(idata)[:, channel]
    mean = probability @ np.nan_to_num(location)

    # A fixed share of the height below the data belongs to the strip.
    levels = np.concatenate([values[np.isfinite(values)], mean, location[np.isfinite(location)]])
    low, high = float(levels.min()), float(levels.max())
    room = (high - low) or 1.0
    ax.set_ylim(low - room * (STRIP + 0.08) / (1 - STRIP - 0.08), high + 0.05 * room)
    ax.set_xlim(times[0], times[-1])

    winner = probability.argmax(-1)
    size = float(np.clip(2500.0 / end, 3.0, 18.0))
    crowded = end > 2000
    for state, label in enumerate(labels):
        look, mine = state_look(state), winner == state
        if mine.any():
            ax.scatter(
                times[mine],
                values[mine],
                s=size,
                color=look.colour,
                marker=look.marker,
                linewidths=0.0,
                alpha=0.75,
                rasterized=crowded,
                label=label,
                zorder=2,
            )
    ax.plot(times, mean, color=INK, linewidth=0.7 if crowded else 1.2, zorder=3)
    _strip(ax, times, probability)
    for state, label in enumerate(labels):
        if np.isfinite(location[state]):
            ax.annotate(
                label,
                (1.0, location[state]),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                fontweight="bold",
                annotation_clip=False,
            )
    quiet_frame(ax)
    ax.set_xlabel(time_label(idata))
    # A name is no formula, whatever dollar signs are in it.
    ax.set_ylabel(str(observed["channel"].values[channel]), parse_math=False)
    ax.set_title(
        f"series {observed['series'].values[series]}", loc="left", fontsize="medium", parse_math=False
    )
    return ax


def clearest_channel(idata: Draws) -> int:
    """Position of the channel in which the states lie furthest apart, in units of its spread."""
    location = _locations(idata)
    observed = group(idata, "observed_data", "y")["y"].transpose("series", "time", "channel").values
    spread = np.array(
        [np.std(column[np.isfinite(column)]) for column in observed.reshape(-1, observed.shape[-1]).T]
    )
    if len(location) < 2:
        return int(np.argmax(spread))
    known = location[np.isfinite(location).all(1)]
    return int(np.argmax(np.ptp(known, axis=0) / np.where(spread > 0.0, spread, np.inf)))


def _locations(idata: Draws) -> np.ndarray:
    """Mean over the chains of each state's location, (state, channel)."""
    location = group(idata, "states", "location")["location"]
    return np.asarray(location.mean("chain", skipna=True).transpose("state", "channel").values)


def _strip(ax: Axes, times: np.ndarray, probability: np.ndarray) -> None:
    """Stacked probabilities along the foot of the axes."""
    edges = np.concatenate([np.zeros((len(times), 1)), probability.cumsum(1)], axis=1) * STRIP
    across = ax.get_xaxis_transform()
    for state in range(probability.shape[1]):
        ax.fill_between(
            times,
            edges[:, state],
            edges[:, state + 1],
            step="mid",
            transform=across,
            color=state_look(state).colour,
            linewidth=0.0,
            zorder=1,
        )
    ax.axhline(STRIP, color=PAPER_EDGE, linewidth=1.0, zorder=2).set_transform(ax.transAxes)
