"""Positions and momenta of underdamped paths."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.guide_quality import best_chain
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame, state_badge
from pyro_langevin.plots.palette import INK, PAPER_EDGE, QUIET, state_look

__all__ = ["plot_phase_portrait"]

POINTS = 4000
"""Points of each state that are shown."""


def plot_phase_portrait(
    idata: Draws, *, ax: Axes | None = None, coordinate: int = 0, series: int | None = None
) -> Axes:
    """Positions and momenta of the posterior paths of the seed with the best ELBO, coloured by state.

    Points are those of all draws and series at the observation times. The line is a
    stretch of one draw of one series about one of its hops, where it has one, straight from observation to observation.
    Discs mark the minima, at rest.

    Args:
        idata: the draws of an underdamped fit.
        ax: axes to draw on; a new figure without.
        coordinate: position of the latent coordinate.
        series: position of the series whose path is drawn; the one with most changes of state without.

    Raises:
        ValueError: the draws hold no momenta, as those of overdamped fits do not.
    """
    posterior = group(idata, "posterior")
    if "momentum" not in posterior or "z" not in posterior:
        raise ValueError(
            "idata['posterior']: expected variables z and momentum, came without; only draws of underdamped dynamics "
            "have momenta: fit a model with pyro_langevin.Underdamped"
        )
    ax = axes_or_new(ax, width=6.0, height=4.6)
    chain = best_chain(idata)
    labels = state_labels(idata)
    along = ("draw", "series", "time")
    q = posterior["z"].isel(chain=chain, latent_dim=coordinate).transpose(*along).values
    p = posterior["momentum"].isel(chain=chain).transpose(*along, ...).values[..., coordinate]
    state = group(idata, "state_path", "state")["state"].isel(chain=chain).transpose(*along).values
    for index, label in enumerate(labels):
        look = state_look(index)
        mine = np.flatnonzero(((state == index) & np.isfinite(q) & np.isfinite(p)).ravel())
        mine = mine[np.linspace(0, len(mine) - 1, min(POINTS, len(mine))).astype(int)]
        if len(mine):
            ax.plot(
                q.ravel()[mine], p.ravel()[mine], linestyle="none", marker=look.marker, markersize=2.2,
                color=look.colour, alpha=0.35, markeredgewidth=0.0, rasterized=True, label=label, zorder=1,
            )
    changes = ((np.diff(state[0], axis=-1) != 0) & (state[0, :, 1:] >= 0)).sum(-1)
    shown = int(changes.argmax()) if series is None else series
    _trajectory(ax, q[0, shown], p[0, shown], state[0, shown])
    minimum = group(idata, "states", "minimum")["minimum"].isel(chain=chain, latent_dim=coordinate).values
    for index, label in enumerate(labels):
        if np.isfinite(minimum[index]):
            state_badge(ax, float(minimum[index]), 0.0, label, index)
    ax.axhline(0.0, color=QUIET, linewidth=0.6, zorder=0)
    reach = 1.08 * float(np.nanmax(np.abs(p)))
    ax.set_ylim(-reach, reach)
    quiet_frame(ax)
    ax.set_xlabel("latent position")
    ax.set_ylabel("momentum")
    return ax


def _trajectory(ax: Axes, q: np.ndarray, p: np.ndarray, state: np.ndarray) -> None:
    """The stretch of a path about one of its hops, with its direction."""
    length = int((np.isfinite(q) & np.isfinite(p)).sum())
    hops = np.flatnonzero(np.diff(state[:length]) != 0)
    middle = int(hops[len(hops) // 2]) if len(hops) else length // 2
    part = slice(max(0, middle - 12), min(length, middle + 14))
    q, p = q[part], p[part]
    ax.plot(q, p, color=PAPER_EDGE, linewidth=3.0, zorder=2)
    ax.plot(q, p, color=INK, linewidth=1.2, marker=".", markersize=4, zorder=3)
    for k in range(1, len(q) - 1, 4):
        ax.annotate(
            "", (q[k + 1], p[k + 1]), xytext=(q[k], p[k]), zorder=3,
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
        )
