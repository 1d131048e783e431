"""``pyro-langevin fit``: from files to states and a report."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pyro_langevin.cli import choices, results
from pyro_langevin.cli.command import (
    DONE,
    INTERRUPTED,
    character,
    interval,
    names,
    output_folder,
    positive,
    tell,
    whole_number,
)
from pyro_langevin.inference_data import posterior
from pyro_langevin.tables import read_table
from pyro_langevin.training import FitResult, fit
from pyro_langevin.training.distributed import launched, launched_rank


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    parser = commands.add_parser("fit", help="fit time series and write a report", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="CSV, TSV, Parquet or NetCDF")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    _add_table_options(parser.add_argument_group("data"))
    _add_model_options(parser.add_argument_group("model"))
    _add_training_options(parser.add_argument_group("training and results"))


def _add_table_options(group: Any) -> None:
    add = group.add_argument
    add("--time", required=True, metavar="COL", help="column of the times: numbers, or dates like 2024-03-31 09:58:30")
    add("--values", required=True, type=names, metavar="COL[,COL]", help="columns of the channels")
    add("--series", metavar="COL", help="column that tells series apart; else each file is one")
    add("--transform", metavar="EXPR", help="channels as an expression over columns, like '-log(Ca)'")
    add("--time-range", type=interval, metavar="LO,HI", help="times to use; either end may be left out")
    add("--time-unit", default="", metavar="U", help="unit of the times; dates are counted in it")
    add("--delimiter", type=character, metavar="C", help="of text files, or 'tab'; found out by default")
    add("--decimal", default=".", metavar="C", help="decimal sign of text files, '.' (default) or ','")
    add("--missing", type=names, default=(), metavar="TEXT[,TEXT]", help="what else stands for a missing value: -999")


def _add_model_options(group: Any) -> None:
    add = group.add_argument
    add("--latent-dim", type=whole_number(1), default=1, metavar="N", help="dimension (default: 1)")
    dynamics = " or ".join(choices.DYNAMICS)
    add("--dynamics", default="overdamped", metavar="NAME", help=f"{dynamics} (default: overdamped)")
    add("--emission", default="gaussian", metavar="NAME", help=f"{', '.join(choices.EMISSIONS)} (default: gaussian)")
    add("--potential", default="neural", metavar="NAME", help=f"{' or '.join(choices.POTENTIALS)} (default: neural)")
    add("--max-step", type=positive, metavar="H", help="largest time step; chosen by the fit by default")


def _add_training_options(group: Any) -> None:
    add = group.add_argument
    for option, default, least, text in (
        ("--seeds", choices.SEEDS, 1, "number of independent fits"),
        ("--steps", choices.STEPS, 3, "optimiser steps a seed"),
        ("--draws", choices.DRAWS, 1, "posterior draws a seed"),
    ):
        help_text = f"{text} (default: {'by the number of series' if default is None else default})"
        add(option, type=whole_number(least), default=default, metavar="N", help=help_text)
    add(
        "--window",
        type=whole_number(2),
        metavar="N",
        help="observations a training window; chosen by the fit",
    )
    add(
        "--merge-below",
        type=positive,
        default=choices.MERGE_BELOW,
        metavar="KT",
        help=f"basins shallower than this, in kT, are no states (default: {choices.MERGE_BELOW:g})",
    )
    add(
        "--workers",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="seeds trained at once, each in a process of its own (default: 1)",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, with the same options")
    add("--quiet", action="store_true", help="print warnings and errors only")


def run(options: argparse.Namespace) -> int:
    """Reads, fits, draws, writes and prints; returns the exit code.

    Started by ``torchrun``, all processes read and fit together, and the first one does the rest.
    """
    with launched():
        return _run(options, first=launched_rank() == 0)


def _run(options: argparse.Namespace, *, first: bool) -> int:
    told = first and not options.quiet
    if not first:
        warnings.simplefilter("ignore")  # the first process warns
    # before anything is read: a slip here should not cost the time that large files take
    build = partial(
        choices.model_and_guide,
        potential=options.potential,
        dynamics=options.dynamics,
        emission=options.emission,
        max_step=options.max_step,
    )
    build(options.latent_dim, len(options.values))
    observations = read_table(
        options.files,
        time=options.time,
        values=options.values,
        series=options.series,
        transform=options.transform,
        delimiter=options.delimiter,
        decimal=options.decimal,
        missing=options.missing,
        time_range=options.time_range,
        time_unit=options.time_unit,
    )
    folder = output_folder(options.out) if first else options.out
    if told:
        print(observations, flush=True)
    model, guide = build(options.latent_dim, observations.obs_dim, categories=choices.categories(observations))
    result = fit(
        model,
        guide,
        observations,
        steps=options.steps,
        seeds=options.seeds,
        window=options.window,
        device=options.device,
        checkpoint=folder / results.CHECKPOINT,
        resume=options.resume,
        workers=options.workers,
        progress=told,
    )
    code = INTERRUPTED if result.interrupted else DONE
    if not first:
        return code
    if result.interrupted:
        tell(f"interrupted; reporting what is fitted; --resume goes on from {folder / results.CHECKPOINT}")
    idata = posterior(reportable(result), observations, draws=options.draws, merge_below=options.merge_below)
    results.write_all(idata, folder)
    if told:
        results.print_results(idata)
    results.tell_warnings(idata)
    if told:
        print(f"\n{folder}: {results.REPORT}, {results.SUMMARY}, {results.POSTERIOR}, {results.CHECKPOINT}")
    return code


def reportable(result: FitResult) -> FitResult:
    """An interrupted fit without the seed that was under way: it would spoil the figures of the others."""
    finished = [member for member in result.members if member.finished]
    if not finished:
        return result
    for member in result.members:
        if not member.finished:
            tell(f"seed {member.seed} is not finished and is left out of the report")
    return replace(result, members=finished, interrupted=False)
