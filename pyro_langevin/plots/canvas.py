"""Axes to draw on, and labels with units."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group

__all__ = ["axes_or_new", "quiet_frame", "time_label"]


def axes_or_new(ax: Axes | None, *, width: float = 7.0, height: float = 3.6) -> Axes:
    """The given axes, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    _, new = plt.subplots(figsize=(width, height), layout="constrained")
    return new


def quiet_frame(ax: Axes) -> None:
    """Only the two sides of the frame that carry numbers."""
    ax.spines[["top", "right"]].set_visible(False)


def time_label(idata: Draws, quantity: str = "time") -> str:
    """``quantity (unit)``, or the quantity alone where the data name no unit."""
    unit = str(group(idata, "kinetics").attrs.get("time_unit", ""))
    return f"{quantity} ({unit})" if unit else quantity
