"""Seconds and memory of one training iteration: the shipped guides against a neural SDE on torchsde, in one run.

Workload: 128 series of 200 observations in 15 channels, a latent space of 10 dimensions, one Euler step an observation.
All sides learn prior, posterior, encoder and decoder on the same data; one iteration is a loss, its gradient and an
Adam step over all 25,600 observations. Sides are run in turn, so that a busy machine slows all alike, and their median
is printed with the ratio to the first.

    python benchmarks/peers.py                       # seconds, in turn
    python benchmarks/peers.py --memory              # peak memory as well, a process for each side
    python benchmarks/peers.py --vary times 100 200 400 800 1600
    python benchmarks/peers.py --vary batch 32 128 512 2048 --sides torchsde GaussMarkovGuide
    python benchmarks/peers.py --device cuda

With jax, diffrax and optax installed there are two sides more, on JAX's own threads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from neural_sde import CONTROL, HIDDEN, NeuralSDE, divergence_as_state, plain_loop, with_logqp
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.dynamics import EulerMaruyama

try:
    import neural_sde_jax
except ImportError:  # needs jax, diffrax and optax
    neural_sde_jax = None

GAP = 0.1
UNITS = 128  # of the potential's one hidden layer: twice as many as there are in the blocks of the residual network
WINDOW = 20
Iteration = Callable[[], Tensor | float]


@dataclass(frozen=True)
class Workload:
    """Sizes.

    Attributes:
        batch: Series.
        times: Observations a series.
        latent: Dimensions of the latent space.
        channels: Of the data.
        particles: Paths a series.
        device: Where.
    """

    batch: int = 128
    times: int = 200
    latent: int = 10
    channels: int = 15
    particles: int = 1
    device: str = "cpu"

    def observations(self) -> pl.Observations:
        """Random walks seen with noise."""
        torch.manual_seed(0)
        shape = (self.batch, self.times, self.channels)
        walk = 0.1 * torch.randn(shape).cumsum(1)
        data = pl.Observations(walk + 0.3 * torch.randn(shape), times=GAP * torch.arange(self.times))
        return data.to(device=self.device)


def of_baseline(integrate: Callable[[NeuralSDE, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[..., Iteration]:
    """A side that integrates the neural SDE in this way."""

    def build(work: Workload) -> Iteration:
        values = work.observations().values.repeat(work.particles, 1, 1)
        sde = NeuralSDE(work.latent, work.channels, GAP, integrate).to(work.device)
        return _trained(sde, lambda: sde(values))

    return build


def _bowl(work: Workload) -> pl.NeuralPotential:
    """A network on a quadratic bowl, of the size of the neural SDE's."""
    return pl.NeuralPotential(work.latent, UNITS, reference=pl.QuadraticPotential(work.latent))


def of_guide(
    guide: Callable[[pl.LangevinModel, Workload], torch.nn.Module], *, windows: bool = False, defaults: bool = False
) -> Callable[..., Iteration]:
    """A side with one of the shipped guides; on windows, all of them at every iteration; on its own defaults."""

    def build(work: Workload) -> Iteration:
        whole = work.observations()
        own = pl.NeuralPotential(work.latent)
        dynamics = pl.Overdamped(own) if defaults else pl.Overdamped(_bowl(work), scheme=EulerMaruyama())
        model = pl.LangevinModel(dynamics, pl.GaussianEmission(work.latent, work.channels))
        made = guide(model, work)
        made.initialise(whole.to(device="cpu"), model.initialise(whole.to(device="cpu")))
        model.to(work.device)
        made.to(work.device)
        batch = whole.windows(min(WINDOW, work.times)) if windows else whole
        many = work.particles > 1
        elbo = pl.PathELBO(num_particles=work.particles, vectorize_particles=many, max_plate_nesting=1)
        loss = elbo(model, made)
        return _trained(torch.nn.ModuleList([model, made]), lambda: loss(batch) / batch.mask.sum())

    return build


def _trained(module: torch.nn.Module, loss: Callable[[], Tensor]) -> Iteration:
    loss()  # Pyro makes its parameters at the first call
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def iteration() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return iteration


def _same_encoder(work: Workload) -> pl.RecurrentEncoder:
    """As wide as the neural SDE's."""
    return pl.RecurrentEncoder(work.channels, HIDDEN // 2)


def _controlled(model: pl.LangevinModel, work: Workload) -> torch.nn.Module:
    encoder = pl.RecurrentEncoder(work.channels, HIDDEN, direction=pl.encoders.Smoothing())
    return pl.ControlledGuide(model, encoder, hidden=CONTROL)


def _with(guide: type, encoder: Callable[[Workload], pl.Encoder]) -> Callable[..., torch.nn.Module]:
    return lambda model, work: guide(model, encoder(work))


def _default_encoder(work: Workload) -> pl.Encoder:
    return pl.RecurrentEncoder(work.channels)


def _convolutional(work: Workload) -> pl.Encoder:
    return pl.ConvolutionalEncoder(work.channels)


def _bfloat16(work: Workload) -> pl.Encoder:
    return pl.ConvolutionalEncoder(work.channels, autocast=torch.bfloat16)


def _uncoupled(model: pl.LangevinModel, work: Workload) -> torch.nn.Module:
    return pl.SteeredGuide(model, _convolutional(work), coupled=False)


def _in_jax() -> dict[str, Callable[[Workload], Iteration]]:
    """Sides in JAX, where it is installed."""
    if neural_sde_jax is None:
        return {}

    def side(integrate: Any) -> Callable[[Workload], Iteration]:
        def build(work: Workload) -> Iteration:
            values = work.observations().values.repeat(work.particles, 1, 1).cpu().numpy()
            return neural_sde_jax.iteration_of(integrate, values, work.latent, GAP)

        return build

    return {"JAX scan": side(neural_sde_jax.scan), "diffrax": side(neural_sde_jax.with_diffrax)}


SIDES: dict[str, Callable[[Workload], Iteration]] = {
    "torchsde": of_baseline(divergence_as_state),
    "torchsde logqp": of_baseline(with_logqp),
    "plain loop": of_baseline(plain_loop),
    **_in_jax(),
    "GaussMarkovGuide, same encoder": of_guide(_with(pl.GaussMarkovGuide, _same_encoder)),
    "SteeredGuide, same encoder": of_guide(_with(pl.SteeredGuide, _same_encoder)),
    "ControlledGuide, same encoder": of_guide(_controlled),
    "GaussMarkovGuide": of_guide(_with(pl.GaussMarkovGuide, _default_encoder), windows=True),
    "SteeredGuide": of_guide(_with(pl.SteeredGuide, _default_encoder), windows=True),
    "ControlledGuide": of_guide(_with(pl.ControlledGuide, _default_encoder), windows=True),
    "GaussMarkovGuide, convolutional": of_guide(_with(pl.GaussMarkovGuide, _convolutional), windows=True),
    "SteeredGuide, convolutional": of_guide(_with(pl.SteeredGuide, _convolutional), windows=True),
    "ControlledGuide, convolutional": of_guide(_with(pl.ControlledGuide, _convolutional), windows=True),
    "GaussMarkovGuide, bfloat16": of_guide(_with(pl.GaussMarkovGuide, _bfloat16), windows=True),
    "SteeredGuide, bfloat16": of_guide(_with(pl.SteeredGuide, _bfloat16), windows=True),
    "SteeredGuide, uncoupled": of_guide(_uncoupled, windows=True),
    "SteeredGuide, all defaults": of_guide(_with(pl.SteeredGuide, _default_encoder), windows=True, defaults=True),
}


def timed(work: Workload, sides: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of every iteration of every side, taken in turn."""
    built = {side: SIDES[side](work) for side in sides}
    for iteration in built.values():
        iteration()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, iteration in built.items():
            _synchronise(work.device)
            begin = time.perf_counter()
            float(iteration())
            _synchronise(work.device)
            seconds[side].append(time.perf_counter() - begin)
    return seconds


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def memory(work: Workload, side: str, threads: int) -> float:
    """Peak memory of three iterations above what was held before them, in MiB, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (work, side, threads))


def _peak(work: Workload, side: str, threads: int) -> float:
    torch.set_num_threads(threads)
    small = SIDES[side](replace(work, batch=2, times=min(work.times, 10)))
    small()  # what libraries load at first use is not the workload's
    if work.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        iteration = SIDES[side](work)
        for _ in range(3):
            iteration()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    iteration = SIDES[side](work)
    for _ in range(3):
        iteration()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def table(work: Workload, seconds: dict[str, list[float]], peaks: dict[str, float]) -> str:
    """Medians with their spread, and ratios to the first side, pair by pair."""
    first = next(iter(seconds.values()))
    lines = [f"{'':32s}{'seconds':>9s}{'from':>9s}{'to':>9s}{'faster':>9s}{'MiB':>8s}"]
    for side, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(first, taken, strict=True))
        peak = f"{peaks[side]:8.0f}" if side in peaks else ""
        lines.append(
            f"{side:32s}{statistics.median(taken):9.3f}{min(taken):9.3f}{max(taken):9.3f}{ratio:8.1f}x{peak}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--vary", nargs="+", metavar=("SIZE", "VALUE"), help="batch, times, latent or particles")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = Workload(device=options.device)
    works = [work]
    if options.vary:
        works = [replace(work, **{options.vary[0]: int(value)}) for value in options.vary[1:]]
    for one in works:
        print(f"{one}, torch {torch.__version__}, {options.threads} threads, {torch.get_default_dtype()}")
        peaks = {side: memory(one, side, options.threads) for side in options.sides} if options.memory else {}
        print(table(one, timed(one, options.sides, options.rounds), peaks), flush=True)


if __name__ == "__main__":
    main()
