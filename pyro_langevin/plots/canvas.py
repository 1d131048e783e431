"""Axes to draw on, labels with units, and text that stays legible on whatever lies under it."""

from __future__ import annotations

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group
from pyro_langevin.plots.palette import INK, PAPER_EDGE, state_look

__all__ = [
    "axes_or_new", "grid_or_new", "halo", "inverse_time", "quiet_frame", "state_badge", "time_label", "time_unit",
]


def axes_or_new(ax: Axes | None, *, width: float = 7.0, height: float = 3.6) -> Axes:
    """The given axes, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    _, new = plt.subplots(figsize=(width, height), layout="constrained")
    return new


def grid_or_new(
    ax: np.ndarray | None, *, rows: int, columns: int, width: float, height: float, shared: bool = False
) -> np.ndarray:
    """The given array of axes, (rows, columns), or those of a new figure of this size in inches.

    Raises:
        ValueError: the given array has another number of axes.
    """
    if ax is None:
        _, new = plt.subplots(
            rows, columns, figsize=(width, height), layout="constrained", squeeze=False, sharex=shared, sharey=shared
        )
        return np.asarray(new)
    given = np.asarray(ax, dtype=object)
    if given.size != rows * columns:
        raise ValueError(
            f"ax: expected an array of {rows} x {columns} axes, got {given.size}; make them with "
            f"figure.subplots({rows}, {columns}), or leave ax out"
        )
    return given.reshape(rows, columns)


def quiet_frame(ax: Axes) -> None:
    """Only the two sides of the frame that carry numbers."""
    ax.spines[["top", "right"]].set_visible(False)


def time_unit(idata: Draws) -> str:
    """The data's time unit, empty where they name none."""
    return str(group(idata, "kinetics").attrs.get("time_unit", ""))


def time_label(idata: Draws, quantity: str = "time") -> str:
    """``quantity (unit)``, or the quantity alone where the data name no unit."""
    unit = time_unit(idata)
    return f"{quantity} ({unit})" if unit else quantity


def inverse_time(idata: Draws) -> str:
    """The unit of a rate, as text: ``per s``, or ``per time unit``."""
    return f"per {time_unit(idata) or 'time unit'}"


def halo(width: float = 2.5) -> list[effects.AbstractPathEffect]:
    """A white rim round text and lines."""
    return [effects.withStroke(linewidth=width, foreground=PAPER_EDGE)]


def state_badge(ax: Axes, x: float, y: float, label: str, state: int) -> None:
    """The label of a state in a white disc with a rim of the state's colour."""
    badge = {
        "boxstyle": "circle,pad=0.25",
        "facecolor": PAPER_EDGE,
        "edgecolor": state_look(state).colour,
        "linewidth": 2.0,
    }
    ax.text(x, y, label, ha="center", va="center", fontweight="bold", color=INK, bbox=badge, zorder=6, clip_on=True)
