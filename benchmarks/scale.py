"""What does a long record cost? Fits of one double well in records of 10^4 to 10^7 observations that are not loaded.

    python benchmarks/scale.py
    python benchmarks/scale.py --cases 1e4:1 1e7:1000 --steps 600 --device cuda

Every record is simulated first, one path or many series as the case says, and written to a temporary folder as a .npy
file; the fit maps it. Each case has processes of its own, so that its peak memory is its own: it is given above what
the imports take. Seconds are CPU seconds of the process on a CPU, so that other work on the machine does not count, and
seconds of the clock on a GPU. Draws are of the whole record up to a million rows, else of a sample of 100,000.

What an iteration costs (a step of the evidence phase: read a batch, its loss, the gradient) is measured in one process,
record after record in turn, for one model.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyro
import torch

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.training.evidence import EvidenceObjective
from pyro_langevin.training.phases import Phase, training_windows

GAP, NOISE, INNER = 0.1, 0.3, 8
BATCH, ROUNDS, WARM_UP, CELLS = 64, 40, 3, 240
DRAWS, WHOLE, SAMPLE = 5, 1_000_000, 100_000


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        rows: Observations of the record.
        series: Its series.
        opened: Seconds to open and check it.
        fitted: Seconds of the fit.
        steps: Iterations it took.
        peak: Peak memory above the imports, MiB.
        barrier: Mean of the two barriers, kT.
        passage: Mean of the two passage times.
        drawn: Seconds of the draws.
        drawn_rows: Rows that were drawn.
    """

    rows: int
    series: int
    opened: float
    fitted: float
    steps: int
    peak: float
    barrier: float
    passage: float
    drawn: float
    drawn_rows: int


def simulate(path: Path, rows: int, series: int) -> None:
    """Write a record ``(series, time, 1)`` of the 4 kT double well, by Heun steps of 1/80."""
    times, step = rows // series, GAP / INNER
    random = np.random.default_rng(0)
    kept = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(series, times, 1))
    noise = (2.0 * step) ** 0.5
    z: list[float] | np.ndarray = random.choice([-1.0, 1.0], size=series)
    for begin in range(0, times, 1000):
        count = min(1000, times - begin)
        path_block = np.empty((count, series))
        for k in range(count):
            kicks = noise * random.standard_normal((INNER, series))
            z = _one(float(z[0]), kicks[:, 0].tolist(), step) if series == 1 else _many(z, kicks, step)
            path_block[k] = z
        kept[:, begin : begin + count, 0] = (path_block + NOISE * random.standard_normal(path_block.shape)).T
    kept.flush()


def _many(z: np.ndarray, kicks: np.ndarray, step: float) -> np.ndarray:
    for kick in kicks:
        slope = 16.0 * z * (z * z - 1.0)
        ahead = z - step * slope + kick
        z = z - 0.5 * step * (slope + 16.0 * ahead * (ahead * ahead - 1.0)) + kick
    return z


def _one(z: float, kicks: list[float], step: float) -> list[float]:
    for kick in kicks:  # plain numbers: arrays of one would take ten times as long
        slope = 16.0 * z * (z * z - 1.0)
        ahead = z - step * slope + kick
        z = z - 0.5 * step * (slope + 16.0 * ahead * (ahead * ahead - 1.0)) + kick
    return [z]


def measure(path: Path, steps: int, device: str) -> Row:
    """Fit a record and draw from it."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pyro.set_rng_seed(0)
    clock = _clock(device)
    begin = clock()
    record = pl.LongRecord(np.load(path, mmap_mode="r"), GAP)
    opened = clock() - begin
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
    begin = clock()
    result = pl.fit(model, guide, record, steps=steps, device=device, progress=False)
    fitted = clock() - begin
    whole = record.n_rows <= WHOLE
    windows = record.windows(record.n_times)
    data = windows.select(torch.arange(windows.n_series)) if whole else record.sample(SAMPLE)
    begin = clock()
    idata = pl.posterior(result, data, draws=DRAWS)
    drawn = clock() - begin
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024.0
    barrier, passage = np.nan, np.nan
    if int(idata["states"]["n_states"][0]) == 2:
        barriers, passages = idata["states"]["beta_barrier"].values[0], idata["kinetics"]["mfpt"].values[0]
        barrier, passage = (0.5 * float(table[0, 1] + table[1, 0]) for table in (barriers, passages))
    return Row(
        record.n_rows, record.n_series, opened, fitted, len(result.members[0].loss), peak, barrier, passage, drawn,
        int(data.lengths.sum()),
    )  # fmt: skip


def _clock(device: str) -> Callable[[], float]:
    """Seconds that count on the device."""
    if device == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


def iterations(paths: list[Path], device: str) -> np.ndarray:
    """Seconds of single iterations on several records, ``(round, record)``."""
    clock, grid = _clock(device), pl.StateGrid.around(-2.5, 2.5, size=CELLS, margin=0.0)
    pyro.set_rng_seed(0)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1)).to(device)
    records = [pl.LongRecord(np.load(path, mmap_mode="r"), GAP).to(device) for path in paths]
    phase = Phase("evidence", 1, 1e-2, 1.0, 0.0)
    batches = [training_windows(model, record, phase, None) for record in records]
    objective = EvidenceObjective.on(grid, model, records[0])
    found = np.empty((WARM_UP + ROUNDS, len(records)))
    for row in found:
        for place, windows in enumerate(batches):
            begin = clock()
            objective(model, windows.select(torch.randint(windows.n_series, (BATCH,)))).backward()
            row[place] = clock() - begin
    return found[WARM_UP:]


def line(row: Row) -> str:
    """One line of the table."""
    return (
        f"{row.rows:>11,} {row.series:>8,} {row.opened:7.1f} {row.fitted:8.1f} {row.steps:6d} "
        f"{row.rows / row.fitted:12,.0f} {row.peak:9,.0f} {row.barrier:8.2f} {row.passage:8.2f} {row.drawn:8.1f} "
        f"{row.drawn_rows:>10,}"
    )


def main() -> None:
    """Measure the cases and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["1e4:1", "1e5:1", "1e6:1", "1e7:1000", "1e7:100000"]
    parser.add_argument("--cases", nargs="+", default=default, help="observations:series")
    parser.add_argument("--steps", type=int, default=300, help="most steps of a fit")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}; {torch.get_default_dtype()}; at most {options.steps} steps of {BATCH} windows; {DRAWS} draws")
    exact = datasets.DOUBLE_WELL
    print(f"exact: barrier {exact.energy_saddles[0] - exact.energy_minima[0]:.2f} kT, MFPT {exact.mfpt[0, 1]:.2f}")
    names = "{:>11} {:>8} {:>7} {:>8} {:>6} {:>12} {:>9} {:>8} {:>8} {:>8} {:>10}"
    heads = ("rows", "series", "open s", "fit s", "steps", "rows/s", "peak MiB", "barrier", "MFPT", "draws s", "drawn")
    print(names.format(*heads))
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, processes.Pool(1, maxtasksperchild=1) as pool:
        paths = []
        for case in options.cases:
            rows, series = (round(float(number)) for number in case.split(":"))
            paths.append(Path(folder) / f"{rows}_{series}.npy")
            pool.apply(simulate, (paths[-1], rows, series))
            print(line(pool.apply(measure, (paths[-1], options.steps, device))), flush=True)
        print("ms an iteration, in turn: median (quartiles)")
        found = 1000.0 * pool.apply(iterations, (paths, device))
        for case, (low, middle, high) in zip(options.cases, np.quantile(found, [0.25, 0.5, 0.75], 0).T, strict=True):
            print(f"{case:>20} {middle:8.1f} ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
