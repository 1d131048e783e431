"""Do the intervals hold the truth as often as they say? Many data sets from random wells, fitted, intervals counted.

    python benchmarks/calibration.py --sets 30
    python benchmarks/calibration.py --first 15 --sets 15 --out second_half.csv

Every data set has a potential of its own: double wells ``h (x^2 - 1)^2 + t x`` and triple wells ``c x^2 (x^2 - 1.6^2)^2
+ t x``, in turn, with barrier, tilt and noise drawn from the priors below. The fit has all defaults and one seed. Every
interval claims 90 %. A row of the table is one kind of figure: the share of its intervals that hold the truth with the
standard error over data sets (figures of one data set are not independent), and the mean and standard deviation of
``(found - truth) / sd``, whose ideal is 0 and 1: a mean away from 0 is a bias, a deviation above 1 means intervals that
are too narrow.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

import pyro_langevin as pl
from pyro_langevin import diagnostics
from pyro_langevin.datasets.simulated_diffusion import simulate_overdamped
from pyro_langevin.landscape import continuous_kinetics
from pyro_langevin.potentials.analytic import AnalyticPotential

SERIES, TIMES, GAP = 64, 201, 0.1
BARRIER = (2.5, 5.0)  # kT, uniform
TILT = (-0.5, 0.5)  # kT over the unit of length, uniform
NOISE = (0.15, 0.45)  # uniform in the logarithm
NARROWEST = 1e-6
NUMBERS = ("truth", "found", "low", "high", "z")
WIDTHS = (10, 10, 10, 8, 8, 8)  # of the table's columns


@dataclass(frozen=True)
class Row:
    """One interval of one data set.

    Attributes:
        data: Number of the data set, which is its seed too.
        kind: The quantity and where it comes from.
        figure: Which states.
        truth: The exact value.
        found: The reported one.
        low: Lower end of the reported interval.
        high: Its upper end.
        z: ``(found - truth) / sd``, of the logarithm for times.
    """

    data: int
    kind: str
    figure: str
    truth: float
    found: float
    low: float
    high: float
    z: float

    @property
    def covered(self) -> bool:
        return self.low <= self.truth <= self.high


def polynomial(generator: np.random.Generator, wells: int) -> list[float]:
    """Coefficients of a double or triple well, ascending, in kT."""
    height, tilt = generator.uniform(*BARRIER), generator.uniform(*TILT)
    if wells == 2:
        return [height, tilt, -2.0 * height, 0.0, height]
    outer = 1.6
    scale = height * 27.0 / (4.0 * outer**6)
    return [0.0, tilt, scale * outer**4, 0.0, -2.0 * scale * outer**2, 0.0, scale]


def simulated(number: int) -> tuple[list[float], pl.Observations]:
    """Potential and observations of one data set."""
    generator = np.random.default_rng(10_000 + number)
    coefficients = polynomial(generator, wells=2 + number % 2)
    noise = math.exp(generator.uniform(*np.log(NOISE)))
    energy = np.polynomial.Polynomial(coefficients)
    line = np.linspace(-3.0, 3.0, 20_001)
    weight = np.exp(-energy(line))
    start = np.interp(generator.uniform(size=SERIES), np.cumsum(weight) / weight.sum(), line)
    path = simulate_overdamped(energy.deriv(), start[:, None], n_times=TIMES, gap=GAP, seed=generator)
    return coefficients, pl.Observations(path + noise * generator.normal(size=path.shape), GAP * np.arange(TIMES))


def fitted(observations: pl.Observations, seed: int) -> Any:
    """Draws of a fit with all defaults."""
    pyro.set_rng_seed(seed)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
    return pl.posterior(pl.fit(model, guide, observations, seeds=[seed], progress=False), observations)


def intervals(number: int) -> list[Row]:
    """Every interval of one data set beside its truth; none if the fit found another number of states."""
    coefficients, observations = simulated(number)
    exact = pl.find_landscape(AnalyticPotential([coefficients]), np.linspace(-1.8, 1.8, 200)[:, None], merge_below=0.5)
    kinetics = continuous_kinetics(exact, 1.0)
    idata = fitted(observations, number)
    for warning in diagnostics.all_warnings(idata):
        print(f"  data set {number}: {warning}", flush=True)
    if int(idata["states"]["n_states"][0]) != exact.n_states:
        print(f"  data set {number}: {int(idata['states']['n_states'][0])} states found, {exact.n_states} true")
        return []
    order = np.argsort(idata["states"]["location"].values[0, :, 0])  # exact states run from left to right
    rows = list(_occupancies(number, idata, kinetics.occupancy, order))
    passage, barrier = diagnostics.mfpt(idata), diagnostics.barriers(idata)
    for i, j in np.ndindex(exact.n_states, exact.n_states):
        if i == j:
            continue
        pair, here = f"{i}->{j}", {"state_from": int(order[i]), "state_to": int(order[j])}
        for estimator in ("prior", "paths"):
            cell = passage.sel(estimator=estimator).isel(here)
            shift = math.log(float(cell["mean"]) / kinetics.mfpt[i, j])
            z = shift / max(float(cell["log_sd"]), NARROWEST)
            rows.append(_row(number, f"MFPT, {estimator}", pair, float(kinetics.mfpt[i, j]), cell, z))
        cell, truth = barrier.isel(here), float(exact.beta_barrier[i, j])
        z = (float(cell["mean"]) - truth) / max(float(cell["sd"]), NARROWEST)
        rows.append(_row(number, "barrier", pair, truth, cell, z))
    return rows


def _occupancies(number: int, idata: Any, exact: np.ndarray, order: np.ndarray) -> Iterator[Row]:
    table = diagnostics.occupancy(idata)
    for estimator in ("long_run", "stationary"):
        for state, own in enumerate(order):
            cell = table.sel(estimator=estimator).isel(state=int(own))
            z = (float(cell["mean"]) - exact[state]) / max(float(cell["sd"]), NARROWEST)
            yield _row(number, f"occupancy, {estimator}", str(state), float(exact[state]), cell, z)


def _row(number: int, kind: str, figure: str, truth: float, cell: Any, z: float) -> Row:
    found, low, high = (float(cell[name]) for name in ("mean", "hdi_low", "hdi_high"))
    return Row(number, kind, figure, truth, found, low, high, z)


def table(rows: Iterable[Row]) -> str:
    """Coverage by kind of figure."""
    rows = list(rows)
    head = ("intervals", "data sets", "coverage", "+-", "mean z", "sd z")
    lines = [f"{'figure':24s}" + "".join(f"{name:>{width}s}" for name, width in zip(head, WIDTHS, strict=True))]
    for kind in dict.fromkeys(row.kind for row in rows):
        mine = [row for row in rows if row.kind == kind]
        sets = sorted({row.data for row in mine})
        share = np.array([np.mean([row.covered for row in mine if row.data == number]) for number in sets])
        z = np.array([row.z for row in mine])
        error = share.std(ddof=1) / math.sqrt(len(sets)) if len(sets) > 1 else np.nan
        covered = float(np.mean([row.covered for row in mine]))
        cells = (len(mine), len(sets), f"{covered:.3f}", f"{error:.3f}", f"{z.mean():.2f}", f"{z.std():.2f}")
        lines.append(f"{kind:24s}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)))
    return "\n".join(lines)


def main() -> None:
    """Fit the data sets and print the coverage of their intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=30, help="number of data sets")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--out", type=Path, help="CSV file of all intervals")
    parser.add_argument("--join", type=Path, nargs="+", default=[], help="CSV files of earlier runs to add")
    options = parser.parse_args()
    torch.set_num_threads(1)  # small tensors gain nothing from more
    rows = [row for path in options.join for row in _read(path)]
    for number in range(options.first, options.first + options.sets):
        begin = time.perf_counter()
        rows += intervals(number)
        print(f"data set {number} done in {time.perf_counter() - begin:.0f} s", flush=True)
        if options.out is not None:
            _write(options.out, rows)
    print(table(rows))


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(int(line["data"]), line["kind"], line["figure"], *(float(line[name]) for name in NUMBERS))
            for line in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
