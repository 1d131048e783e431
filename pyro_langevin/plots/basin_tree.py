"""Which basins join at which height: the disconnectivity graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.basin_tree import basin_tree
from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.canvas import axes_or_new, halo
from pyro_langevin.plots.palette import INK, PAPER_EDGE, QUIET, state_look

__all__ = ["plot_basin_tree"]


@dataclass(frozen=True)
class _Branch:
    """A minimum, or the basins that one pass joins: the leaves from left to right, and where it stands."""

    leaves: tuple[int, ...]
    x: float
    height: float


def plot_basin_tree(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Disconnectivity graph: minima as leaves, joined at the height of the lowest pass between them, in kT.

    Heights are above the lowest minimum (:func:`~pyro_langevin.diagnostics.basin_tree`). The barrier out of a state is
    the way up from its leaf to the next join. Where a leaf stands from left to right means nothing but who joins whom.
    """
    labels = state_labels(idata)
    ax = axes_or_new(ax, width=2.4 + 0.9 * len(labels), height=3.8)
    tree = basin_tree(idata)
    energy = tree["leaf_energy"].values
    joins = zip(*(tree[name].values for name in ("left", "right", "beta_energy")), strict=True)
    merges = [
        (int(left), int(right), float(height))
        for left, right, height in joins
        if np.isfinite([left, right, height]).all() and min(left, right) >= 0
    ]
    present = [state for state in range(len(labels)) if np.isfinite(energy[state])]
    order = _order(present, merges, len(labels))
    branches = {
        state: _Branch((state,), float(place), float(energy[state])) for place, state in enumerate(order)
    }
    top = max([height for *_, height in merges], default=float(np.nanmax(energy, initial=0.0)) + 1.0)
    for number, (left, right, height) in enumerate(merges, start=len(labels)):
        one, other = branches.pop(left), branches.pop(right)
        for branch in (one, other):
            _upright(ax, branch, height)
        ax.plot([one.x, other.x], [height, height], color=INK, linewidth=1.6, solid_capstyle="projecting")
        ax.annotate(
            f"{height:.1f}", ((one.x + other.x) / 2, height), xytext=(4, 3), textcoords="offset points", ha="left",
            va="bottom", fontsize="small", color=INK, path_effects=halo(),
        )
        branches[number] = _Branch(one.leaves + other.leaves, (one.x + other.x) / 2, height)
    for branch in branches.values():  # whatever no known pass joins ends open
        _upright(ax, branch, 1.12 * top, open_end=True)
    for place, state in enumerate(order):
        look = state_look(state)
        ax.plot(
            place, energy[state], marker=look.marker, color=look.colour, markersize=10, markeredgecolor=PAPER_EDGE,
            zorder=4,
        )
        ax.annotate(
            labels[state], (place, energy[state]), xytext=(0, -9), textcoords="offset points", ha="center", va="top",
            fontweight="bold", color=INK,
        )
    ax.set_xlim(-0.6, max(len(order) - 0.4, 0.6))
    ax.set_ylim(-0.16 * top, 1.2 * top)
    ax.set_xticks([])
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set_xlabel("states")
    ax.set_ylabel("potential (kT)")
    return ax


def _order(present: list[int], merges: list[tuple[int, int, float]], n: int) -> list[int]:
    """Leaves from left to right such that no branches cross."""
    members = {state: [state] for state in present}
    for number, (left, right, _) in enumerate(merges, start=n):
        members[number] = members.pop(left) + members.pop(right)
    return [state for group in members.values() for state in group]


def _upright(ax: Axes, branch: _Branch, height: float, *, open_end: bool = False) -> None:
    """A branch from where it stands up to a height; of a single state in its own look."""
    single = len(branch.leaves) == 1
    look = state_look(branch.leaves[0])
    ax.plot(
        [branch.x, branch.x], [branch.height, height], color=look.colour if single else INK,
        linestyle=look.line if single else "-", linewidth=2.2 if single else 1.6,
        alpha=0.8 if open_end else 1.0,
    )
    if open_end and not single:
        ax.lines[-1].set_color(QUIET)
