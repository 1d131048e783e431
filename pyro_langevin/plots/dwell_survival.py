"""How long visits to each state last."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from pyro_langevin.diagnostics.dwell import dwell_survival, dwell_times
from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame, time_label
from pyro_langevin.plots.palette import INK, state_look

__all__ = ["plot_dwell_survival"]


def plot_dwell_survival(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Probability that a visit outlasts a duration, by state, on a logarithmic scale.

    Steps with bands: Kaplan-Meier of the posterior paths' runs, 90 % intervals. Thin dotted lines:
    exponential laws with the mean dwell from exposure over events; a memoryless state follows its line.
    """
    ax = axes_or_new(ax, height=4.0)
    survival = dwell_survival(idata)
    dwell = dwell_times(idata)
    unit = str(dwell.attrs["time_unit"])
    at = survival["duration"].values
    floor = 1.0
    for state, label in enumerate(state_labels(idata)):
        look = state_look(state)
        curve, low, high = (survival[name].values[state] for name in ("survival", "hdi_low", "hdi_high"))
        if not np.isfinite(curve).any():
            continue
        runs = float(survival["runs"][state])
        mean, least, most = (float(dwell[name][state]) for name in ("mean", "hdi_low", "hdi_high"))
        said = f"{mean:.3g} ({least:.3g} to {most:.3g}) {unit}".rstrip() if np.isfinite(mean) else "unknown"
        visible = np.where(curve > 0.0, curve, np.nan)
        ax.step(
            at,
            visible,
            where="post",
            color=look.colour,
            linestyle=look.line,
            linewidth=1.8,
            label=f"{label}: {runs:.3g} complete visits, mean dwell {said}",
        )
        ax.fill_between(
            at, np.maximum(low, 1e-6), high, step="post", color=look.colour, alpha=0.18, linewidth=0.0
        )
        if np.isfinite(mean):
            ax.plot(at, np.exp(-at / mean), color=look.colour, linewidth=0.9, linestyle=(0, (1, 2)))
        floor = min(floor, 0.5 / max(runs, 1.0))
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    ax.set_ylim(min(floor, 0.3), 1.15)
    ax.set_xlim(0.0, at[-1])
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize="small")
    else:
        ax.text(0.5, 0.5, "no visit with a seen beginning", transform=ax.transAxes, ha="center", color=INK)
    quiet_frame(ax)
    ax.set_xlabel(time_label(idata, "duration of a visit"))
    ax.set_ylabel("probability to last longer")
    return ax
