"""Many walkers of continuous dynamics, followed with a step short enough that it does not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pyro_langevin.dynamics import OverdampedDynamics, UnderdampedDynamics
from pyro_langevin.landscape.annealing import annealed_samples
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, Integers

_SHARE = 0.05  # step in units of the fastest relaxation in a well ...
_TURN = 0.2  # ... or, in radians, of the fastest oscillation
_SAMPLES = 8000  # from which walkers start


class Walkers(Protocol):
    """Positions ``(m, dim)`` of walkers that move together, a step at a time."""

    position: Floats
    step: float

    def advance(self) -> None: ...


@dataclass(eq=False)
class OverdampedWalkers:
    """Overdamped walkers by Leimkuhler and Matthews' (2013) step.

    The noise of two successive steps is averaged, which makes the stationary law right to second order in the step,
    where Euler's is to first, at the same cost.
    """

    landscape: Landscape
    diffusion: Floats
    step: float
    position: Floats
    generator: np.random.Generator

    def __post_init__(self) -> None:
        self._noise = self.generator.standard_normal(self.position.shape)

    def advance(self) -> None:
        """Move all walkers by a step."""
        fresh = self.generator.standard_normal(self.position.shape)
        kick = np.sqrt(2.0 * self.diffusion * self.step) * 0.5 * (self._noise + fresh)
        drift = -self.step * self.diffusion * self.landscape.surface.gradient(self.position)
        self.position, self._noise = self.position + drift + kick, fresh


@dataclass(eq=False)
class InertialWalkers:
    """Underdamped walkers by their own scheme, OBABO by default: second order in the step."""

    dynamics: UnderdampedDynamics
    step: float
    position: Floats
    generator: torch.Generator

    def __post_init__(self) -> None:
        draw = torch.randn(self.position.shape, generator=self.generator, dtype=torch.float64)
        momentum = draw * (self.dynamics.mass * self.dynamics.temperature).sqrt()
        self._state = torch.cat([torch.from_numpy(self.position), momentum], -1)

    @torch.no_grad()
    def advance(self) -> None:
        """Move all walkers by a step."""
        noise = torch.randn(self._state.shape, generator=self.generator, dtype=torch.float64)
        step = torch.tensor(self.step, dtype=torch.float64)
        self._state = self.dynamics.transition(self._state, step).apply(noise)
        self.position = self._state[:, : self.dynamics.position_dim].numpy()


def walkers_in_equilibrium(
    dynamics: OverdampedDynamics | UnderdampedDynamics,
    landscape: Landscape,
    count: int,
    *,
    step: float | None,
    seed: int,
) -> tuple[Walkers, Integers]:
    """Walkers that start in equilibrium within each basin, as many in each, and their groups ``(count,)``.

    Walkers of a group start from one replica of the samples of the Boltzmann law, so that groups are independent.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
        count: Number of walkers.
        step: Length of a step; a twentieth of the fastest relaxation in a well when omitted.
        seed: Seed.
    """
    generator = np.random.default_rng(seed)
    drawn = annealed_samples(landscape, _SAMPLES, generator).points
    basin = landscape.basin(drawn)
    home = np.arange(count) % landscape.n_states
    group = np.arange(count) // landscape.n_states % len(drawn)
    start = landscape.minimum[home]  # stays where a state is too rare to have been drawn
    for walker, (state, replica) in enumerate(zip(home, group, strict=True)):
        inside = np.flatnonzero(basin[replica] == state)
        if len(inside):
            start[walker] = drawn[replica, generator.choice(inside)]
    short = _short_step(dynamics, landscape) if step is None else float(step)
    if isinstance(dynamics, UnderdampedDynamics):
        return InertialWalkers(dynamics, short, start, torch.Generator().manual_seed(seed)), group
    return OverdampedWalkers(landscape, _numbers(dynamics.diffusion, landscape.dim), short, start, generator), group


def _short_step(dynamics: OverdampedDynamics | UnderdampedDynamics, landscape: Landscape) -> float:
    hessian = landscape.surface.slope_and_curvature(landscape.minimum)[1]
    diffusion = _numbers(dynamics.diffusion, landscape.dim)
    root = np.sqrt(diffusion)
    if isinstance(dynamics, UnderdampedDynamics):
        friction = _numbers(dynamics.friction, landscape.dim)
        root = np.sqrt(diffusion * friction)
        fastest = float(np.sqrt(np.linalg.eigvalsh(root[:, None] * hessian * root).max()))
        return min(_TURN / fastest, _TURN / float(friction.max()))
    return _SHARE / float(np.linalg.eigvalsh(root[:, None] * hessian * root).max())


def _numbers(value: torch.Tensor, dim: int) -> Floats:
    return np.asarray(value.detach().expand(dim).numpy(), dtype=np.float64)
