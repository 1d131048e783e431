"""``pyro-langevin demo``: a system whose answer is known exactly, recovered from noisy channels."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pyro_langevin import datasets
from pyro_langevin.cli import choices, results
from pyro_langevin.cli.command import DONE, INTERRUPTED, OFF, output_folder, whole_number
from pyro_langevin.cli.fit import reportable
from pyro_langevin.cli.scores import Score, double_well_scores
from pyro_langevin.inference_data import posterior
from pyro_langevin.training import fit

CHANNELS, NOISE = 15, 0.3
STEPS = 220  # enough for data this dense
DRAWS = 20  # of 256 series


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    parser = commands.add_parser(
        "demo", help="recover a known system from noisy channels, and check", allow_abbrev=False
    )
    parser.set_defaults(run=run)
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    for option, default, least, text in (
        ("--seeds", choices.SEEDS, 1, "number of independent fits"),
        ("--steps", STEPS, 3, "optimiser steps a seed"),
    ):
        parser.add_argument(
            option,
            type=whole_number(least),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )


def run(options: argparse.Namespace) -> int:
    """Simulates, fits, compares, writes; returns 0 if every figure was recovered and 1 if not."""
    folder = output_folder(options.out)
    data = datasets.double_well(tilt=0.5, channels=CHANNELS, gap=0.1, noise=NOISE)
    exact = datasets.TILTED_DOUBLE_WELL
    print(f"U = {exact.potential}, seen through {CHANNELS} channels with noise of {NOISE}")
    print(data.observations, flush=True)
    model, guide = choices.model_and_guide(1, CHANNELS)
    workers = min(options.seeds, os.cpu_count() or 1)
    result = fit(model, guide, data.observations, steps=options.steps, seeds=options.seeds, workers=workers)
    kept = reportable(result)
    idata = posterior(kept, data.observations, draws=DRAWS)
    results.write_all(idata, folder)
    results.print_results(idata)
    scores = double_well_scores(idata, data.loadings, exact)
    print("\nRecovered against exact\n")
    print(scores_text(scores, [member.seed for member in kept.members]), flush=True)
    results.tell_warnings(idata)
    print(f"\n{folder}: {results.REPORT}, {results.SUMMARY}, {results.POSTERIOR}")
    if result.interrupted:
        return INTERRUPTED
    return DONE if all(score.recovered for score in scores) else OFF


def scores_text(scores: list[Score], seeds: list[int]) -> str:
    """Table: exact value, what every seed found, their spread, what is allowed, and the verdict."""
    rows = [
        [
            score.name,
            results.number(score.exact),
            *map(results.number, score.found),
            results.number(score.spread),
            results.number(score.allowed),
            "ok" if score.recovered else "OFF",
        ]
        for score in scores
    ]
    head = ["", "exact", *(f"seed {seed}" for seed in seeds), "spread", "allowed", "verdict"]
    return results.text_table(head, rows)
