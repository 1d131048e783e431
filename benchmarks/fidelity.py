"""Are the kinetics right? Fits of systems with known answers and of real records, several seeds, beside the truth.

    python benchmarks/fidelity.py double_well_fine double_well_coarse three_states three_states_uneven \
        three_states_underdamped underdamped_double_well kinsoft ice_core

Real records are read from the folder that PYRO_LANGEVIN_DATA names. Every row is one figure; every column one seed.
A row is "ok" if all seeds are within what is allowed. Times are those of this machine with OMP_NUM_THREADS threads.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.diagnostics.layout import trusted_stationary
from pyro_langevin.potentials.analytic import DoubleWell


@dataclass(frozen=True)
class Figure:
    """One figure of one fit: what was found, the truth, and the allowed difference (relative where said)."""

    name: str
    found: float
    truth: float
    allowed: float
    relative: bool = True

    @property
    def ok(self) -> bool:
        scale = abs(self.truth) if self.relative else 1.0
        return bool(abs(self.found - self.truth) <= self.allowed * scale)


def fitted(
    observations: pl.Observations,
    seed: int,
    *,
    dynamics: type[pl.Overdamped | pl.Underdamped] = pl.Overdamped,
    latent_dim: int = 1,
    draws: int | None = None,
) -> tuple[Any, float]:
    """Draws of a fit with all defaults, and the seconds it took."""
    pyro.set_rng_seed(seed)
    begin = time.perf_counter()
    prior = dynamics(pl.NeuralPotential(latent_dim))
    model = pl.LangevinModel(prior, pl.GaussianEmission(latent_dim, observations.obs_dim))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(observations.obs_dim))
    result = pl.fit(model, guide, observations, seeds=[seed], progress=False)
    seconds = time.perf_counter() - begin
    return pl.posterior(result, observations, draws=draws), seconds


def two_state_figures(idata: Any, seconds: float) -> list[Figure]:
    """Figures of a fit common to all systems with two states, without a truth yet."""
    kinetics = idata["kinetics"].isel(chain=0)
    mfpt, counts = kinetics["mfpt"].values, kinetics["events"].sum("draw").values
    paths = kinetics["exposure"].sum("draw").values / counts.sum(-1)
    unknown, occupancy = np.nan, idata["occupancy"]
    return [
        Figure("states", float(idata["states"]["n_states"][0]), 2, 0, relative=False),
        Figure("MFPT A->B", mfpt[0, 1], unknown, 0.15),
        Figure("MFPT B->A", mfpt[1, 0], unknown, 0.15),
        Figure("rate A->B (1/MFPT)", 1.0 / mfpt[0, 1], unknown, 0.12),
        Figure("rate B->A (1/MFPT)", 1.0 / mfpt[1, 0], unknown, 0.12),
        Figure("barrier A->B (kT)", float(idata["states"]["beta_barrier"][0, 0, 1]), unknown, 0.3, relative=False),
        Figure("barrier B->A (kT)", float(idata["states"]["beta_barrier"][0, 1, 0]), unknown, 0.3, relative=False),
        Figure("occupancy A, paths", float(occupancy["path"][0, ..., 0].mean()), unknown, 0.02, relative=False),
        Figure("occupancy A, potential", float(trusted_stationary(idata)[0, 0]), unknown, 0.05, relative=False),
        Figure("dwell A, paths", float(paths[0]), unknown, 0.15),
        Figure("dwell B, paths", float(paths[1]), unknown, 0.15),
        Figure("dwell A, prior", float(kinetics["dwell_prior"][0]), unknown, 0.15),
        Figure("dwell B, prior", float(kinetics["dwell_prior"][1]), unknown, 0.15),
        Figure("dwell A, prior's chain", float(kinetics["dwell_chain"][0]), unknown, 0.15),
        Figure("dwell B, prior's chain", float(kinetics["dwell_chain"][1]), unknown, 0.15),
        Figure("seconds (fit)", seconds, 0.0, 180.0, relative=False),
    ]


def underdamped_double_well(seed: int) -> list[Figure]:
    """The 4 kT double well at friction 1, 512 x 400 positions every .2 with noise .2; new data for every seed."""
    data = noisy_positions(512, 400, gap=0.2, noise=0.2, seed=seed)
    idata, seconds = fitted(data, seed, dynamics=pl.Underdamped, draws=3)
    if int(idata["states"]["n_states"][0]) != 2:
        return [Figure("states", float(idata["states"]["n_states"][0]), 2, 0, relative=False)]
    passage = 83.5
    truth = {
        "MFPT A->B": (passage, 0.15), "MFPT B->A": (passage, 0.15),
        "barrier A->B (kT)": (4.0, 0.4), "barrier B->A (kT)": (4.0, 0.4), "seconds (fit)": (np.nan, 0.0),
    }
    figures = with_truth(two_state_figures(idata, seconds), truth)
    friction, noise = (float(idata["posterior"][name].mean()) for name in ("friction", "noise"))
    return [*figures, Figure("friction", friction, 1.0, 0.25), Figure("noise", noise, 0.2, 0.1)]


def noisy_positions(n_series: int, n_times: int, *, gap: float, noise: float, seed: int) -> pl.Observations:
    """Positions of underdamped particles in 4 (q^2 - 1)^2 at friction 1, by OBABO steps of .01."""
    torch.manual_seed(1000 + seed)
    dynamics = pl.Underdamped(DoubleWell(4.0), friction=1.0).read()
    step, every, before = torch.tensor(0.01), round(gap / 0.01), 500
    z = torch.stack([torch.where(torch.rand(n_series) < 0.5, -1.0, 1.0), torch.randn(n_series)], -1)
    kept = []
    with torch.no_grad():
        for k in range(before + n_times * every):
            z = dynamics.transition(z, step).apply(torch.randn(n_series, 2))
            if k >= before and (k - before) % every == 0:
                kept.append(z[:, :1])
    path = torch.stack(kept, 1)
    return pl.Observations(path + noise * torch.randn_like(path), gap * np.arange(n_times))


def with_truth(figures: list[Figure], truth: dict[str, tuple[float, float]]) -> list[Figure]:
    """The same figures, those named with a truth and an allowance."""
    return [
        Figure(f.name, f.found, *truth[f.name], f.relative) if f.name in truth else f for f in figures
    ]


def double_well(gap: float, seed: int) -> list[Figure]:
    """The 4 kT double well of 256 x 201 observations with noise .3; the data are the same for all seeds."""
    data = datasets.double_well(gap=gap, noise=0.3, seed=7)
    idata, seconds = fitted(data.observations, seed)
    if int(idata["states"]["n_states"][0]) != 2:
        return [Figure("states", float(idata["states"]["n_states"][0]), 2, 0, relative=False)]
    exact = datasets.DOUBLE_WELL
    passage, left = exact.mfpt[0, 1], float((np.asarray(data.states) == 0).mean())
    truth = {
        "MFPT A->B": (passage, 0.15), "MFPT B->A": (passage, 0.15),
        "barrier A->B (kT)": (4.0, 0.3), "barrier B->A (kT)": (4.0, 0.3),
    }
    first = idata["states"]["location"].values[0, :, 0].argmin()
    share = left if first == 0 else 1.0 - left
    return with_truth(two_state_figures(idata, seconds), truth | {"occupancy A, paths": (share, 0.02)})


def three_states(
    weights: tuple[float, float, float] | None,
    seed: int,
    *,
    n_series: int = 1024,
    dynamics: type[pl.Overdamped | pl.Underdamped] = pl.Overdamped,
) -> list[Figure]:
    """Three states in 15 channels; a new data set for every seed."""
    data = datasets.three_states(n_series, weights=weights, seed=seed)
    idata, seconds = fitted(data.observations, seed, dynamics=dynamics, latent_dim=2, draws=3)
    count = int(idata["states"]["n_states"][0])
    figures = [
        Figure("states", float(count), 3, 0, relative=False),
        Figure("seconds (fit)", seconds, 0.0, 120.0, relative=False),
    ]
    if count != 3:
        return figures
    found, true = idata["state_path"]["state"].values[0], np.asarray(data.states)
    order = max(itertools.permutations(range(3)), key=lambda p: float((np.array(p)[found[0]] == true).mean()))
    figures.append(Figure("state accuracy", float((np.array(order)[found] == true).mean()), 1.0, 0.01))
    kinetics = idata["kinetics"].isel(chain=0)
    exposure, events = kinetics["exposure"].sum("draw").values, kinetics["events"].sum("draw").values.sum(-1)
    occupancy = idata["occupancy"]["path"].mean(("chain", "draw", "series")).values
    for own, state in enumerate(order):
        truth = float(data.mean_dwell[state])
        figures += [
            Figure(f"occupancy {state}", float(occupancy[own]), float((true == state).mean()), 0.02, relative=False),
            Figure(f"dwell {state}, paths", float(exposure[own] / events[own]), truth, 0.10),
            Figure(f"dwell {state}, prior", float(kinetics["dwell_prior"][own]), truth, 0.30),
            Figure(f"dwell {state}, prior's chain", float(kinetics["dwell_chain"][own]), truth, 0.30),
        ]
    return sorted(figures, key=lambda f: f.name)


def kinsoft(seed: int) -> list[Figure]:
    """KinSoftChallenge level 1; truth .15 and .22 per s, occupancy .595."""
    idata, seconds = fitted(datasets.kinsoft(), seed)
    figures = two_state_figures(idata, seconds)
    low = int(idata["states"]["location"].values[0, :, 0].argmin())
    first, second = (0.15, 0.22) if low == 0 else (0.22, 0.15)
    share = 0.595 if low == 0 else 0.405
    return with_truth(
        figures,
        {
            "rate A->B (1/MFPT)": (first, 0.12),
            "rate B->A (1/MFPT)": (second, 0.12),
            "occupancy A, paths": (share, 0.02),
            "dwell A, paths": (1 / first, 0.12),
            "dwell B, paths": (1 / second, 0.12),
        },
    )


def ice_core(seed: int) -> list[Figure]:
    """NGRIP dust, 20 to 60 ka; the experts' occupancy and dwells of the warm state."""
    core = datasets.ice_core()
    idata, seconds = fitted(core.observations, seed)
    figures = two_state_figures(idata, seconds)
    warm_state = int(idata["states"]["location"].values[0, :, 0].argmax())  # -log Ca is high when it is warm
    warm = np.asarray(core.warm, dtype=bool).reshape(-1)
    p_warm = idata["occupancy"]["p_state"].values[0, 0, : len(warm), warm_state]
    agreement = float(((p_warm > 0.5) == warm).mean())
    first, second = (820.0, 966.0) if warm_state == 0 else (966.0, 820.0)
    share = 0.43 if warm_state == 0 else 0.57
    figures = with_truth(
        figures,
        {"occupancy A, paths": (share, 0.05), "dwell A, paths": (first, 0.35), "dwell B, paths": (second, 0.35)},
    )
    return [*figures, Figure("agreement with experts", agreement, 1.0, 0.05, relative=False)]


SYSTEMS: dict[str, Callable[[int], list[Figure]]] = {
    "double_well_fine": lambda seed: double_well(0.1, seed),
    "double_well_coarse": lambda seed: double_well(0.5, seed),
    "three_states": lambda seed: three_states(None, seed),
    "three_states_uneven": lambda seed: three_states((0.5, 0.4, 0.1), seed),
    "three_states_underdamped": lambda seed: three_states(None, seed, n_series=96, dynamics=pl.Underdamped),
    "underdamped_double_well": underdamped_double_well,
    "kinsoft": kinsoft,
    "ice_core": ice_core,
}


def table(columns: list[list[Figure]]) -> str:
    """Rows of figures over seeds."""
    names = list(dict.fromkeys(figure.name for column in columns for figure in column))
    lines = []
    for name in names:
        row = [next((f for f in column if f.name == name), None) for column in columns]
        known = next(f for f in row if f is not None)
        values = " ".join(f"{f.found:10.4g}" if f is not None else f"{'-':>10}" for f in row)
        judged = np.isfinite(known.truth)
        verdict = "" if not judged else ("ok" if all(f is not None and f.ok for f in row) else "OFF")
        truth = f"{known.truth:10.4g}" if judged else f"{'':>10}"
        lines.append(f"  {name:26s} {truth} | {values} | {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Fit the systems named and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", choices=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    for name in options.systems:
        columns = []
        for seed in options.seeds:
            columns.append(SYSTEMS[name](seed))
            print(f"{name}: seed {seed} done", flush=True)
        print(f"\n{name}: figure, truth | seeds {options.seeds} | verdict\n{table(columns)}\n", flush=True)


if __name__ == "__main__":
    main()
