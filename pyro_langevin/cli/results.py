"""What a fit leaves: files, written whole or not at all, and a table on the screen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyro_langevin.cli.command import CommandError, one_line, tell
from pyro_langevin.diagnostics import all_warnings, kinetics_table, summary, summary_record
from pyro_langevin.inference_data import save_draws
from pyro_langevin.report import write_report
from pyro_langevin.report.atomic import write_text

CHECKPOINT = "checkpoint.pt"
POSTERIOR = "posterior.nc"
SUMMARY = "summary.json"
REPORT = "report.html"


def write_all(idata: Any, folder: Path) -> None:
    """Writes ``posterior.nc``, ``summary.json`` and ``report.html``.

    Raises:
        CommandError: A file cannot be written; what was there before is whole.
    """
    with _writing(folder / POSTERIOR):
        save_draws(idata, folder / POSTERIOR)
    write_summary_and_report(idata, folder)


def write_summary_and_report(idata: Any, folder: Path) -> None:
    """Writes ``summary.json`` and ``report.html``.

    Raises:
        CommandError: A file cannot be written; what was there before is whole.
    """
    record = json.dumps(summary_record(idata), indent=1, ensure_ascii=False, allow_nan=False)
    with _writing(folder / SUMMARY):
        write_text(folder / SUMMARY, record + "\n")
    with _writing(folder / REPORT):
        write_report(idata, folder / REPORT)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Says which file could not be written: the system's error for a full disk does not."""
    try:
        yield
    except OSError as error:
        raise CommandError(
            f"{path}: could not be written ({one_line(error)}); the old one is untouched; free some "
            "space or choose another folder"
        ) from error


def print_results(idata: Any) -> None:
    """Prints the states' figures, and the potential's kinetics beside those of the posterior paths."""
    print("\n" + summary_text(idata))
    print("\nLearned potential against posterior paths (their ratio should be near 1)\n")
    print(kinetics_text(idata), flush=True)


def tell_warnings(idata: Any) -> None:
    """What in the fit is not to be believed, a line each."""
    for warning in all_warnings(idata):
        tell(f"warning: {warning}")


def summary_text(idata: Any) -> str:
    """The summary as a table of text."""
    rows = [
        [str(name), *(number(row[column]) for column in ("mean", "sd", "hdi_5%", "hdi_95%")), row["unit"]]
        for name, row in summary(idata).iterrows()
    ]
    return text_table(["", "mean", "sd", "5 %", "95 %", "unit"], rows)


def kinetics_text(idata: Any) -> str:
    """Dwell and passage times by every route as a table of text."""
    columns = {
        "prior": "potential",
        "chain": "discretised",
        "paths": "paths",
        "paths_low": "5 %",
        "paths_high": "95 %",
        "prior_over_paths": "potential/paths",
        "events": "transitions",
    }
    rows = [
        [str(name), *(number(row[column]) for column in columns)]
        for name, row in kinetics_table(idata).iterrows()
    ]
    return text_table(["", *columns.values()], rows)


def number(value: float) -> str:
    """Four significant digits; a dash for what is not known."""
    return f"{value:.4g}" if math.isfinite(value) else "-"


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text; the first is set to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
