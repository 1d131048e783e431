"""The loss of each seed over training."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, attribute, group
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame
from pyro_langevin.plots.palette import seed_look

__all__ = ["plot_loss"]


def plot_loss(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Loss over the iterations, one line a seed: running median over pale raw values.

    The loss is named by its attribute ``long_name``, else taken for the negative ELBO per series. The
    vertical range leaves out the first steep fall, so that the plateau and the seeds' differences are seen.
    """
    ax = axes_or_new(ax)
    variable = group(idata, "sample_stats", "loss")["loss"].transpose("chain", "iteration")
    loss = variable.values
    seeds = attribute(idata, "seeds", list(range(len(loss))))
    window = max(1, loss.shape[1] // 50)
    lows, highs = [], []
    for chain, values in enumerate(loss):
        look = seed_look(chain)
        finite = np.flatnonzero(np.isfinite(values))
        if len(finite) == 0:
            continue
        smooth = _running_median(values[finite], window)
        ax.plot(finite + 1, values[finite], color=look.colour, linewidth=0.5, alpha=0.3)
        ax.plot(
            finite + 1,
            smooth,
            color=look.colour,
            linestyle=look.line,
            linewidth=1.6,
            label=f"seed {seeds[chain]}",
        )
        settled = values[finite][len(finite) // 10 :]
        lows.append(settled.min())
        highs.append(np.quantile(settled, 0.97))
    if lows:
        low, high = min(lows), max(highs)
        margin = 0.06 * (high - low) or 1.0
        ax.set_ylim(low - margin, high + margin)
        ax.legend(frameon=False, fontsize="small")
    quiet_frame(ax)
    ax.set_xlabel("iteration")
    ax.set_ylabel(str(variable.attrs.get("long_name", "negative ELBO per series (nats)")))
    return ax


def _running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over a window that shrinks at the ends."""
    half = window // 2
    padded = np.pad(values, half, constant_values=np.nan)
    return np.asarray(np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1))
