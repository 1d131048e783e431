"""Figures as pictures inside the page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_langevin.diagnostics.layout import Draws, group, has_landscape, state_labels
from pyro_langevin.diagnostics.states import state_probability
from pyro_langevin.plots import plot_data, plot_dwell_survival, plot_landscape, plot_loss, plot_occupancy

__all__ = ["figures"]

SERIES_SHOWN = 3
DPI = 144


def figures(idata: Draws) -> str:
    """Every figure that the draws allow, each an HTML ``figure`` with its caption."""
    constant = group(idata, "constant_data")
    names = [str(name) for name in constant["series"].values]
    parts = []
    for position in _liveliest(idata):
        name = names[position]

        def series(idata: Draws, *, ax: Axes, position: int = position) -> Axes:
            return plot_data(idata, ax=ax, series=position)

        caption = (
            f"Series {name}: observations coloured by their most probable state, and the posterior mean of "
            "the location. The strip along the foot stacks the states' probabilities."
        )
        parts.append(_picture(idata, series, (9.0, 3.0), caption))
    if len(names) > SERIES_SHOWN:
        parts.append(
            _note(f"Shown are the {SERIES_SHOWN} of {len(names)} series that change state most often.")
        )
    if has_landscape(idata):
        plane = "grid" not in group(idata, "landscape")
        size = (6.4, 5.0) if plane else (7.0, 4.0)
        text = (
            "The learned potential of the seed with the best ELBO; dots are points of its posterior paths."
            if plane
            else "The learned potential: mean over the seeds, band of their extremes. Barriers are given "
            "with half the width of their 90 % interval."
        )
        parts.append(_picture(idata, plot_landscape, size, text))
    height = 1.3 + 0.75 * len(state_labels(idata))
    text = (
        "Fraction of time in each state. The posterior paths' interval covers this record; the other two "
        "cover the long run, with what a record of this length leaves open."
    )
    parts.append(_picture(idata, plot_occupancy, (7.0, height), text))
    text = (
        "How long visits last: Kaplan-Meier estimate from the posterior paths (steps, 90 % bands) and the "
        "exponential law with the mean dwell (dotted)."
    )
    parts.append(_picture(idata, plot_dwell_survival, (7.0, 4.0), text))
    if "loss" in group(idata, "sample_stats"):
        parts.append(_picture(idata, plot_loss, (7.0, 3.4), "Loss during training, one line a seed."))
    return "\n".join(parts)


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _liveliest(idata: Draws) -> list[int]:
    """Positions of the series whose most probable state changes most often, in the order of the data."""
    probability = state_probability(idata).values
    inside = np.isfinite(probability).all(-1)
    state = np.where(inside, np.nan_to_num(probability).argmax(-1), -1)
    changes = ((np.diff(state, axis=-1) != 0) & inside[:, 1:]).sum(-1)
    return sorted(np.argsort(-changes, kind="stable")[:SERIES_SHOWN].tolist())


def _picture(idata: Draws, plot: Callable[..., Axes], size: tuple[float, float], caption: str) -> str:
    # Not through pyplot: a report must open no window and leave no figure behind.
    figure = Figure(figsize=size, layout="constrained")
    plot(idata, ax=figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    text = html.escape(caption)
    width = round(96 * size[0])
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text}" width="{width}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
