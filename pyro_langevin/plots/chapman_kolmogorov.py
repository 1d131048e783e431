"""Chapman-Kolmogorov test: does the learned dynamics carry over from lag to lag as the data do?"""

from __future__ import annotations

import numpy as np

from pyro_langevin.diagnostics.chapman_kolmogorov import chapman_kolmogorov
from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.canvas import grid_or_new, halo, quiet_frame, time_label
from pyro_langevin.plots.palette import INK, state_look

__all__ = ["plot_chapman_kolmogorov"]


def plot_chapman_kolmogorov(idata: Draws, *, ax: np.ndarray | None = None) -> np.ndarray:
    """Probability to be in one state a lag after another, by the learned dynamics and by the posterior paths.

    One panel a pair of states: rows are where it starts, columns where it ends. The line is the learned dynamics in
    equilibrium, the marks with 90 % intervals are the posterior paths. The test's p-value stands above.

    Args:
        idata: the draws.
        ax: an array of states x states axes; a new figure without.

    Returns:
        The axes, (state_from, state_to).

    Raises:
        ValueError: not that many axes, or the draws hold no transition probabilities.
    """
    labels = state_labels(idata)
    n = len(labels)
    table = chapman_kolmogorov(idata).transpose("lag", "state_from", "state_to", ...)
    lags = table["lag"].values.astype(float)
    size = max(4.0, 1.2 + 1.7 * n)
    panels = grid_or_new(ax, rows=n, columns=n, width=size, height=size if n > 1 else 3.2, shared=True)
    prior, paths, low, high = (table[name].values for name in ("prior", "paths", "paths_low", "paths_high"))
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            panel, look = panels[i, j], state_look(j)
            panel.plot(lags, prior[:, i, j], color=look.colour, linestyle=look.line, linewidth=1.8)
            known = np.isfinite(paths[:, i, j])
            panel.vlines(lags[known], low[known, i, j], high[known, i, j], color=INK, linewidth=1.2)
            panel.plot(
                lags[known], paths[known, i, j], linestyle="none", marker=look.marker, color=INK, markersize=3.5,
                markerfacecolor="white",
            )
            high_up = float(np.nanmean([prior[-1, i, j], paths[-1, i, j]])) > 0.5 if known.any() else False
            panel.text(
                0.96, 0.08 if high_up else 0.92, f"{one}→{other}", transform=panel.transAxes, ha="right",
                va="bottom" if high_up else "top", fontweight="bold", color=INK, path_effects=halo(),
            )
            panel.set_ylim(-0.03, 1.03)
            panel.set_yticks([0.0, 0.5, 1.0])
            panel.set_xlim(0.0, 1.04 * lags.max())
            quiet_frame(panel)
            if i == n - 1:
                panel.set_xlabel(time_label(idata, "lag"))
            if j == 0:
                panel.set_ylabel("probability")
    p_value = float(table["p_value"])
    said = f"p = {p_value:.2g}" if np.isfinite(p_value) else "p unknown"
    panels[0, 0].set_title(f"line: learned, marks: paths; {said}", fontsize="small", loc="left")
    return panels
