"""``pyro-langevin report``: the report again, from the draws of a fit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pyro_langevin.cli import results
from pyro_langevin.cli.command import DONE, CommandError, one_line
from pyro_langevin.inference_data import load_draws


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    parser = commands.add_parser("report", help="write the report of a fit again", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that fit or demo wrote to")


def run(options: argparse.Namespace) -> int:
    """Reads the draws, writes summary and report, prints; returns the exit code."""
    path = options.folder / results.POSTERIOR
    if not path.is_file():
        raise CommandError(
            f"{path}: expected the draws of a fit, found no such file; name the folder of --out"
        )
    try:
        idata = load_draws(path)
    except (OSError, KeyError, ValueError) as error:
        raise _no_draws(path, error) from error
    try:
        results.write_summary_and_report(idata, options.folder)
    except (KeyError, ValueError) as error:  # a NetCDF file, but of something else
        raise _no_draws(path, error) from error
    results.print_results(idata)
    results.tell_warnings(idata)
    print(f"\n{options.folder}: {results.REPORT}, {results.SUMMARY}")
    return DONE


def _no_draws(path: Path, error: Exception) -> CommandError:
    return CommandError(
        f"{path}: expected the draws of a fit, got another file ({one_line(error)}); fit again"
    )
