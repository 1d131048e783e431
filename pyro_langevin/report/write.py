"""The page and its parts."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

from pyro_langevin.diagnostics import summary_record
from pyro_langevin.diagnostics.layout import Draws, group
from pyro_langevin.report.atomic import write_text
from pyro_langevin.report.figures import figures
from pyro_langevin.report.style import STYLE
from pyro_langevin.report.tables import comparison, full_summary, number, states

__all__ = ["write_report"]


def write_report(idata: Draws, path: str | os.PathLike[str]) -> Path:
    """Report of a fit as one HTML file: warnings, states, kinetics, figures, how it was computed.

    Figures are inside the file, which opens without a network. It is written under another name and then
    moved into place, so that an error leaves an older report whole.

    Args:
        idata: the draws, as :func:`pyro_langevin.posterior` makes them.
        path: where to write; the folder must be there.

    Returns:
        The path.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    record = summary_record(idata)
    write_text(target, _page(idata, record))
    return target


def _page(idata: Draws, record: dict[str, Any]) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pyro_langevin: {_headline(record)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Report of a Langevin fit</h1>
<p class="lead">{_headline(record)} in {_data(idata)}.</p>
{_warnings(record)}
<h2>States</h2>
{states(record, idata)}
<p class="note">Figures in brackets are 90 % intervals. <em>This record</em>: how its time was divided among
the states by the posterior paths; the interval holds what the noise leaves open. <em>Long run</em>: from the
transition rates of the same paths, and as the Boltzmann law of the learned potential; these intervals
also hold what a record of this length leaves open. The mean dwell is time in the state over departures, so
that visits cut off by the end count rightly.</p>
<h2>Learned potential against posterior paths</h2>
{comparison(idata)}
<p class="note">Mean dwell and first passage times{_unit(record)}. The paths follow the data; the potential
is what was learned from them. Where the two disagree, believe the paths. The column “as discretised” has the
same potential with the time step of the fit: where it differs, the step is too long.</p>
<h2>Figures</h2>
{figures(idata)}
<h2>All figures in numbers</h2>
{full_summary(idata)}
<h2>How it was computed</h2>
{_provenance(idata, record)}
</body>
</html>
"""


def _headline(record: dict[str, Any]) -> str:
    count = record["n_states"]
    return "One state" if count == 1 else f"{count} states"


def _data(idata: Draws) -> str:
    constant = group(idata, "constant_data", "length")
    observed = group(idata, "observed_data", "y")["y"]
    observations = int(observed.notnull().any("channel").sum())
    series, channels = constant.sizes["series"], observed.sizes["channel"]
    return (
        f"{observations:,} observations, {series} {'series' if series != 1 else 'series'}, "
        f"{channels} channel{'s' if channels != 1 else ''}"
    )


def _warnings(record: dict[str, Any]) -> str:
    if not record["warnings"]:
        return (
            '<div class="clean"><p>No check failed: potential and paths agree, the step is short enough, '
            "the seeds agree.</p></div>"
        )
    items = "\n".join(f"<li>{html.escape(text)}</li>" for text in record["warnings"])
    count = len(record["warnings"])
    title = "One warning" if count == 1 else f"{count} warnings"
    return f'<section class="warnings" role="alert"><h2>{title}</h2><ul>\n{items}\n</ul></section>'


def _provenance(idata: Draws, record: dict[str, Any]) -> str:
    unit = f" {record['time_unit']}" if record["time_unit"] else ""
    posterior = group(idata, "posterior")
    step = record["step"]
    entries = {
        "time step": "not recorded" if step is None else f"at most {number(float(step))}{unit}",
        "times of the potential": record["time_convention"] or "not recorded",
        "seeds": ", ".join(map(str, record["seeds"])),
        "number of states": ", ".join(map(str, record["n_states_per_seed"])) + " (by seed)",
        "ELBO per series": ", ".join(number(value) for value in record["elbo_per_series"])
        + " nats (by seed)",
        "draws": f"{posterior.sizes.get('draw', 0)} from each seed's guide",
    }
    stats = group(idata, "sample_stats")
    if "iteration" in stats.sizes:
        iterations = stats["loss"].notnull().sum("iteration").values
        entries["iterations"] = ", ".join(str(int(count)) for count in iterations) + " (by seed)"
    entries["versions"] = ", ".join(f"{k} {v}" for k, v in record["versions"].items()) or "not recorded"
    rows = "\n".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(str(value))}</dd>" for key, value in entries.items()
    )
    return f"<dl>\n{rows}\n</dl>"


def _unit(record: dict[str, Any]) -> str:
    return f" in {html.escape(record['time_unit'])}" if record["time_unit"] else ""
