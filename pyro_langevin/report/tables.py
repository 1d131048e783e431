"""Tables of the page. Every name from the data is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from pyro_langevin.diagnostics import kinetics_table, summary
from pyro_langevin.diagnostics.layout import Draws
from pyro_langevin.plots.data import clearest_channel

__all__ = ["comparison", "figure_text", "full_summary", "number", "states", "table", "with_range"]

CHANNELS_SHOWN = 4


def number(value: float | None) -> str:
    """At least three significant digits; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0.0 and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"


def figure_text(figure: dict[str, float | None]) -> str:
    """``mean (low to high)`` of a figure of the record."""
    if figure["mean"] is None:
        return "–" if figure["hdi_low"] is None else f"over {number(figure['hdi_low'])}"
    return with_range(figure["mean"], figure["hdi_low"], figure["hdi_high"])


def with_range(mean: float | None, low: float | None, high: float | None) -> str:
    """``mean (low to high)`` as HTML."""
    return f"{number(mean)} <span class='interval'>({number(low)} to {number(high)})</span>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; cells are HTML already, the first of a row is its heading."""
    top = "".join(f"<th scope='col'>{cell}</th>" for cell in head)
    body = "\n".join(
        f"<tr><th scope='row'>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>"


def states(record: dict[str, Any], idata: Draws) -> str:
    """The states: place, occupancy, dwell."""
    unit = html.escape(record["time_unit"])
    channels = record["channels"]
    if len(channels) <= CHANNELS_SHOWN:
        shown = list(range(len(channels)))
    else:
        shown = [clearest_channel(idata)]
    head = ["state", *(html.escape(channels[i]) for i in shown)]
    head += ["occupancy, this record", "long run, paths", "long run, potential"]
    head += [f"mean dwell ({unit})" if unit else "mean dwell"]
    rows = [
        [
            html.escape(state["label"]),
            *(number(state["location"][i]["mean"]) for i in shown),
            figure_text(state["occupancy"]),
            figure_text(state["occupancy_long_run"]),
            figure_text(state["occupancy_stationary"]),
            figure_text(state["dwell_mean"]),
        ]
        for state in record["states"]
    ]
    result = table(head, rows)
    if len(shown) < len(channels):
        result += (
            f"<p class='note'>Of {len(channels)} channels the one that tells the states apart best is shown; "
            "all are in summary.json.</p>"
        )
    return result


def comparison(idata: Draws) -> str:
    """Learned potential against posterior paths, row by row."""
    rows = [
        [
            html.escape(str(name)).replace("-&gt;", "→"),
            with_range(row["prior"], row["prior_low"], row["prior_high"]),
            number(row["chain"]),
            with_range(row["paths"], row["paths_low"], row["paths_high"]),
            number(row["prior_over_paths"]),
            number(row["events"]),
        ]
        for name, row in kinetics_table(idata).iterrows()
    ]
    head = ["", "learned potential", "as discretised", "posterior paths", "potential / paths", "transitions"]
    return table(head, rows)


def full_summary(idata: Draws) -> str:
    """All rows of the summary."""
    rows = [
        [
            html.escape(str(name)).replace("-&gt;", "→"),
            number(row["mean"]),
            number(row["sd"]),
            number(row["hdi_5%"]),
            number(row["hdi_95%"]),
            html.escape(str(row["unit"])),
            html.escape(str(row["estimator"])),
        ]
        for name, row in summary(idata).iterrows()
    ]
    return table(["", "mean", "sd", "5 %", "95 %", "unit", "estimator; what the interval covers"], rows)
