"""Which encoder? Held-out ELBO of a steered guide after equal times of training, each with the shipped encoders.

Three kinds of data: states that a single observation tells; a double well in so much noise that a state is known only
after many rows; and one with 70 % of the values missing. Model and guide are trained together on the ELBO of windows of
50 rows. Seconds are those of one thread's own work, so that a busy machine does not count.

    python benchmarks/encoders.py --seconds 10 30
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pyro
import torch

import pyro_langevin as pl
from pyro_langevin import datasets

BATCH, WINDOW, HELD_OUT, DRAWS = 64, 50, 64, 4
INNER = 8  # steps a gap, as `fit` begins with

ENCODERS: dict[str, Callable[[int], pl.Encoder]] = {
    "recurrent, 64": lambda channels: pl.RecurrentEncoder(channels),
    "recurrent, 32": lambda channels: pl.RecurrentEncoder(channels, 32),
    "convolutional, 64": lambda channels: pl.ConvolutionalEncoder(channels),
    "the same, bfloat16": lambda channels: pl.ConvolutionalEncoder(channels, autocast=torch.bfloat16),
}


def three_states() -> tuple[pl.Observations, int]:
    """Jumps in 15 channels, told by every frame."""
    return datasets.three_states(n_series=512, seed=0).observations, 2


def noisy_well() -> tuple[pl.Observations, int]:
    """A double well in one channel with noise 1.5 times the distance of a well from the barrier."""
    return datasets.double_well(gap=0.1, noise=1.5, seed=0).observations, 1


def mostly_missing() -> tuple[pl.Observations, int]:
    """A double well with noise .3, of which 70 % of the values are missing."""
    data = datasets.double_well(gap=0.1, noise=0.3, seed=0).observations
    seen = np.random.default_rng(0).uniform(size=data.mask.shape) > 0.7
    return pl.Observations(data.values, data.times, mask=seen), 1


SYSTEMS = {"three states": three_states, "noisy well": noisy_well, "70 % missing": mostly_missing}


def elbos(observations: pl.Observations, latent: int, encoder: pl.Encoder, due: list[float], seed: int) -> list[float]:
    """Held-out ELBO per observed value after these seconds of training."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    held_out = observations.select(range(HELD_OUT))
    train = observations.select(range(HELD_OUT, observations.n_series))
    windows = train.windows(WINDOW)
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(latent)),
        pl.GaussianEmission(latent, observations.obs_dim),
        max_step=observations.typical_gap / INNER,
    )
    guide = pl.SteeredGuide(model, encoder)
    guide.initialise(train, model.initialise(train))
    loss = pl.PathELBO()(model, guide)
    loss(held_out.select([0]))  # Pyro makes its parameters at the first call
    learned = [*model.parameters(), *guide.parameters()]
    optimizer = torch.optim.Adam(learned, lr=0.003)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=20)
    spent, found = 0.0, []
    while len(found) < len(due):
        begin = time.process_time()
        batch = windows.select(torch.randint(windows.n_series, (BATCH,)))
        optimizer.zero_grad()
        (loss(batch) / batch.mask.sum()).backward()
        if bool(torch.isfinite(torch.nn.utils.clip_grad_norm_(learned, 1.0))):
            optimizer.step()
        warm_up.step()
        spent += time.process_time() - begin
        if spent >= due[len(found)]:
            with torch.no_grad():
                total = np.mean([-float(loss(held_out)) for _ in range(DRAWS)])
            found.append(float(total) / int(held_out.mask.sum()))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':14s}{'':20s}" + "".join(f"{f'{due:g} s':>24s}" for due in options.seconds))
    for name, system in SYSTEMS.items():
        observations, latent = system()
        for kind, make in ENCODERS.items():
            runs = [
                elbos(observations, latent, make(observations.obs_dim), options.seconds, seed)
                for seed in range(options.seeds)
            ]
            cells = (" ".join(f"{value:.4f}" for value in column) for column in zip(*runs, strict=True))
            print(f"{name:14s}{kind:20s}" + "".join(f"{cell:>24s}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
