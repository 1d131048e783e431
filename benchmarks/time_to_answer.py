"""Seconds of training until the answer is there: a steered guide against a neural SDE on torchsde.

Three states in 15 channels, 1024 series of 200 frames for training and 128 to judge by. The neural SDE is trained for a
given time, from each of several learning rates, and the best of them is the mark: how long does the steered guide
take to reach its held-out ELBO, and how long until 98 % of the frames are in the right state? The clock stands still
while a side is judged.

    python benchmarks/time_to_answer.py --minutes 5 --learning-rates 0.01 0.003 0.001
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyro
import torch
from neural_sde import NeuralSDE, divergence_as_state

import pyro_langevin as pl
from pyro_langevin import datasets

GAP = 0.1  # as the neural SDE is used on these data; the unit of time is free
BATCH, WINDOW = 128, 50
LATENT = 2
DRAWS = 4
ACCURATE = 0.98


@dataclass(frozen=True)
class Mark:
    """What was found when the clock said so.

    Attributes:
        seconds: Of training so far.
        elbo: Held-out, in nats per observed value.
        accuracy: Share of held-out frames in the right state; NaN where no three states were found.
    """

    seconds: float
    elbo: float
    accuracy: float


def marks(
    iteration: Callable[[], None], judge: Callable[[], tuple[float, float]], *, limit: float, every: float
) -> list[Mark]:
    """Train for so many seconds, and judge from time to time while the clock stands still.

    Training that breaks down ends with a mark of minus infinity.
    """
    spent, due, found = 0.0, 0.0, []
    while spent < limit:
        if spent >= due:
            found.append(Mark(spent, *judge()))
            due = spent + every
        begin = time.perf_counter()
        try:
            iteration()
        except FloatingPointError:
            return [*found, Mark(spent, -math.inf, math.nan)]
        spent += time.perf_counter() - begin
    return [*found, Mark(spent, *judge())]


def of_neural_sde(train: pl.Observations, held_out: pl.Observations, rate: float, limit: float) -> list[Mark]:
    """Marks of the neural SDE, which knows the noise of the data."""
    torch.manual_seed(0)
    scale = float(train.values.std())
    sde = NeuralSDE(LATENT, train.obs_dim, GAP, divergence_as_state)
    sde.noise = 0.5 / scale
    optimizer = torch.optim.Adam(sde.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9997)

    def iteration() -> None:
        batch = train.values[torch.randint(train.n_series, (BATCH,))] / scale
        optimizer.zero_grad()
        loss = sde(batch)
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sde.parameters(), 10.0)
        optimizer.step()
        schedule.step()

    def judge() -> tuple[float, float]:
        with torch.no_grad():
            loss = np.mean([float(sde(held_out.values / scale)) for _ in range(DRAWS)])
        return -float(loss) - math.log(scale), math.nan

    return marks(iteration, judge, limit=limit, every=limit / 20)


def of_steered_guide(train: pl.Observations, held_out: pl.Observations, states: np.ndarray, limit: float) -> list[Mark]:
    """Marks of the steered guide and its model, trained together on the ELBO of windows."""
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(LATENT)), pl.GaussianEmission(LATENT, train.obs_dim), max_step=GAP / 2
    )
    guide = pl.SteeredGuide(model, pl.ConvolutionalEncoder(train.obs_dim))
    loss = pl.PathELBO()(model, guide)
    windows, made = train.windows(WINDOW), None

    def iteration() -> None:
        nonlocal made
        if made is None:  # starting values are part of the training
            guide.initialise(train, model.initialise(train))
            loss(held_out.select([0]))
            made = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.01)
            return
        batch = windows.select(torch.randint(windows.n_series, (BATCH,)))
        made.zero_grad()
        (loss(batch) / batch.mask.sum()).backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *guide.parameters()], 1.0)
        made.step()

    def judge() -> tuple[float, float]:
        if made is None:
            return -math.inf, math.nan
        with torch.no_grad():
            found = np.mean([-float(loss(held_out)) for _ in range(DRAWS)]) / int(held_out.mask.sum())
            path = guide(held_out)
            seen = path.gather(-2, model.grid(held_out).observed_index[..., None].expand(-1, -1, LATENT))
        return float(found), accuracy(model, seen.double(), states)

    return marks(iteration, judge, limit=limit, every=2.0)


def accuracy(model: pl.LangevinModel, path: torch.Tensor, states: np.ndarray) -> float:
    """Share of frames whose basin in the learned potential is the state of the simulation."""
    potential = copy.deepcopy(model.dynamics.potential).double()
    try:
        landscape = pl.find_landscape(potential, path[:40].reshape(-1, LATENT).numpy(), beyond_starts=False)
    except ValueError:
        return math.nan
    if landscape.n_states != 3:
        return math.nan
    basin = landscape.basin(path.reshape(-1, LATENT).numpy()).reshape(states.shape)
    return max(float((np.array(order)[basin] == states).mean()) for order in itertools.permutations(range(3)))


def first(found: list[Mark], reached: Callable[[Mark], bool]) -> str:
    """When the first mark was reached, in words."""
    seconds = next((mark.seconds for mark in found if reached(mark)), None)
    return "not reached" if seconds is None else f"{seconds:.1f} s"


def main() -> None:
    """Train both and print when each mark was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="of the neural SDE, for each learning rate")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[0.01, 0.003, 0.001])
    parser.add_argument("--ours", type=float, default=90.0, help="seconds of the steered guide")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = datasets.three_states(n_series=1152, seed=0)
    observations = pl.Observations(data.observations.values, times=GAP * data.observations.times)
    train, held_out = observations.select(range(1024)), observations.select(range(1024, 1152))
    ours = of_steered_guide(train, held_out, np.asarray(data.states)[1024:], options.ours)
    for mark in ours:
        print(f"steered guide {mark.seconds:7.1f} s  ELBO {mark.elbo:8.4f}  accuracy {mark.accuracy:.4f}", flush=True)
    best: list[Mark] = []
    for rate in options.learning_rates:
        found = of_neural_sde(train, held_out, rate, 60.0 * options.minutes)
        print(f"neural SDE at {rate}: " + "  ".join(f"{m.seconds:.0f} s {m.elbo:.4f}" for m in found), flush=True)
        if not best or found[-1].elbo > best[-1].elbo:
            best = found
    goal = best[-1].elbo
    reached = first(ours, lambda mark: mark.elbo >= goal)
    print(f"neural SDE: held-out ELBO {goal:.4f} after {best[-1].seconds:.0f} s, the best of the learning rates")
    print(f"steered guide: that ELBO after {reached}; state accuracy {ACCURATE} after "
          + first(ours, lambda mark: mark.accuracy >= ACCURATE))


if __name__ == "__main__":
    main()
