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

    Where the loss has a coordinate ``phase`` (chain, iteration), lines in the seeds' colours mark where a phase ends:
    losses of two phases are different quantities. The names above are of the seed with the most phases.
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
    if "phase" in variable.coords:
        _mark_phases(ax, [_spans(names) for names in variable["phase"].transpose("chain", "iteration").values])
    quiet_frame(ax)
    ax.set_xlabel("iteration")
    ax.set_ylabel(str(variable.attrs.get("long_name", "negative ELBO per series (nats)")))
    return ax


def _mark_phases(ax: Axes, phases: list[list[tuple[str, int, int]]]) -> None:
    """A line at the end of every phase but the last, seed by seed, and the names above one seed's phases."""
    for chain, spans in enumerate(phases):
        for _, _, end in spans[:-1]:
            ax.axvline(end + 0.5, color=seed_look(chain).colour, linestyle=":", linewidth=0.8, zorder=0)
    for name, begin, end in max(phases, key=len, default=[]):
        ax.text(
            0.5 * (begin + 1 + end), 1.01, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom",
            fontsize="x-small",
        )  # fmt: skip


def _spans(names: np.ndarray) -> list[tuple[str, int, int]]:
    """Name, begin and end (exclusive) of every run of the same name; steps without one are left out."""
    edges = np.flatnonzero(names[1:] != names[:-1]) + 1
    ends = zip([0, *edges], [*edges, len(names)], strict=True)
    return [(str(names[begin]), int(begin), int(end)) for begin, end in ends if end > begin and names[begin]]


def _running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over a window that shrinks at the ends."""
    half = window // 2
    padded = np.pad(values, half, constant_values=np.nan)
    return np.asarray(np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1))
