"""The figures of the gallery page, from real fits: python docs/gallery/make.py [names of figures].

Five fits take about 20 minutes on one core. With ``--keep FOLDER`` their draws are kept there and used again. The
environment variable PYRO_LANGEVIN_DATA must name the folder with the kinSoft traces.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyro
import torch

import pyro_langevin as pl
from pyro_langevin import datasets, plots
from pyro_langevin.inference_data import add_prior_predictive
from pyro_langevin.potentials.analytic import DoubleWell

HERE = Path(__file__).parent
DPI = 100


Dynamics = type[pl.Overdamped | pl.Underdamped]


def fitted(
    observations: pl.Observations, *, dim: int, seeds: int, dynamics: Dynamics = pl.Overdamped
) -> pl.FitResult:
    """A fit with all defaults."""
    pyro.set_rng_seed(0)
    model = pl.LangevinModel(dynamics(pl.NeuralPotential(dim)), pl.GaussianEmission(dim, observations.obs_dim))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(observations.obs_dim))
    return pl.fit(model, guide, observations, seeds=seeds)


@cache
def double_well_fit() -> tuple[pl.FitResult, pl.Observations]:
    """Two seeds on an uneven double well seen through three channels."""
    data = datasets.double_well(n_series=32, tilt=0.5, channels=3, gap=0.1, noise=0.3).observations
    return fitted(data, dim=1, seeds=2), data


def double_well() -> Any:
    """Draws of the exact posterior of the double well."""
    result, data = double_well_fit()
    return add_prior_predictive(pl.posterior(result, data, draws=40), result, data, draws=40)


def double_well_guide() -> Any:
    """The same fit, drawn from its guide."""
    result, data = double_well_fit()
    return pl.posterior(result, data, draws=100, exact=False)


def three_states() -> Any:
    """Two seeds on three states of unlike weight, seen through six channels, in a plane."""
    data = datasets.three_states(n_series=48, weights=(0.5, 0.35, 0.15), channels=6, seed=0).observations
    return pl.posterior(fitted(data, dim=2, seeds=2), data, draws=20)


def three_states_in_space() -> Any:
    """One short fit with the fast guide to the same kind of data, in three latent dimensions."""
    data = datasets.three_states(n_series=24, channels=6, seed=1).observations
    pyro.set_rng_seed(0)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(3)), pl.GaussianEmission(3, data.obs_dim))
    guide = pl.GaussMarkovGuide(model, pl.RecurrentEncoder(data.obs_dim))
    return pl.posterior(pl.fit(model, guide, data, steps=300), data, draws=5)


def single_molecules() -> Any:
    """One seed on the traces of the kinSoft challenge, level 1."""
    data = datasets.kinsoft()
    return pl.posterior(fitted(data, dim=1, seeds=1), data, draws=20)


def inertial() -> Any:
    """One seed on noisy positions of underdamped particles in a double well."""
    torch.manual_seed(1000)
    times = torch.arange(200) * 0.2
    start = torch.stack([torch.where(torch.rand(16) < 0.5, -1.0, 1.0), torch.randn(16)], -1)
    dynamics = pl.Underdamped(DoubleWell(4.0), friction=1.0)
    positions = pl.simulate(dynamics, times, initial=start, max_step=0.01, n_paths=16)[..., :1]
    data = pl.Observations(positions + 0.2 * torch.randn_like(positions), times.numpy(), time_unit="s")
    return pl.posterior(fitted(data, dim=1, seeds=1, dynamics=pl.Underdamped), data, draws=4)


FIGURES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "data": (double_well, partial(plots.plot_data, series=3)),
    "landscape_line": (double_well, plots.plot_landscape),
    "landscape_plane": (three_states, plots.plot_landscape),
    "landscape_cut": (three_states_in_space, plots.plot_landscape),
    "basin_tree": (three_states, plots.plot_basin_tree),
    "occupancy": (double_well_guide, plots.plot_occupancy),
    "occupancy_variance": (three_states, plots.plot_occupancy_variance),
    "state_probability": (three_states, plots.plot_state_probability),
    "state_raster": (single_molecules, plots.plot_state_raster),
    "dwell_survival": (single_molecules, plots.plot_dwell_survival),
    "rate_network": (three_states, plots.plot_rate_network),
    "mfpt": (three_states, plots.plot_mfpt),
    "committor_line": (double_well, plots.plot_committor),
    "committor_plane": (three_states, plots.plot_committor),
    "timescales": (three_states, plots.plot_timescales),
    "chapman_kolmogorov": (three_states, plots.plot_chapman_kolmogorov),
    "guide_quality": (double_well_guide, plots.plot_guide_quality),
    "predictive": (double_well, partial(plots.plot_predictive, prior=True)),
    "phase_portrait": (inertial, plots.plot_phase_portrait),
    "loss": (double_well, plots.plot_loss),
}
"""Of each figure: the draws, and what draws them."""


def main() -> None:
    """Fit, draw and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"figures; all by default: {', '.join(FIGURES)}")
    parser.add_argument("--keep", type=Path, help="folder that draws are kept in and read from")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    options = parser.parse_args()
    kept: dict[str, Any] = {}
    for name in options.names or FIGURES:
        source, plot = FIGURES[name]
        if source.__name__ not in kept:
            kept[source.__name__] = draws_of(source, options.keep)
        axes = np.ravel(np.asarray(plot(kept[source.__name__]), dtype=object))
        # Small palettes make small files; these figures have few colours.
        axes[0].figure.savefig(options.out / f"{name}.png", dpi=DPI)
        plt.close("all")
        print(name, flush=True)


def draws_of(source: Callable[[], Any], folder: Path | None) -> Any:
    """The draws, from the folder where they are kept there."""
    if folder is None:
        return source()
    path = folder / f"{source.__name__}.nc"
    if not path.exists():
        pl.save_draws(source(), path)
    return pl.load_draws(path)


if __name__ == "__main__":
    main()
