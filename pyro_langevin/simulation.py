"""Simulated paths of a prior: with our own chain, or with torchsde's solvers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torchsde
from torch import Tensor
from torch.distributions import Distribution

from pyro_langevin.dynamics import Transition, to_torchsde
from pyro_langevin.time_grid import TimeGrid

Advance = Callable[[Tensor, int, float], Tensor]


class ChainDynamics(Protocol):
    """Dynamics with a transition of their own."""

    def read(self) -> Any: ...


class AnyScheme(Protocol):
    """A discretisation that suits the dynamics that it is used with."""

    def transition(self, dynamics: Any, z: Tensor, step: Tensor) -> Transition: ...


@torch.no_grad()
def simulate(
    dynamics: ChainDynamics,
    times: Tensor,
    *,
    initial: Tensor | Distribution,
    max_step: float,
    method: AnyScheme | str | None = None,
    n_paths: int = 1,
) -> Tensor:
    """Paths of the dynamics at given times.

    For long simulations of a prior: steps between the times are not kept, and there is no gradient (differentiate
    :class:`~pyro_langevin.LangevinPath`, or ``torchsde.sdeint`` on :func:`~pyro_langevin.to_torchsde`). The law is
    that of the continuous process up to the error of the scheme at this step. Every interval is cut into equal
    steps, so that paths are never interpolated.

    Args:
        dynamics: For example :class:`~pyro_langevin.Overdamped`.
        times: ``(time,)``, strictly increasing, in the unit of the dynamics.
        initial: First states ``(dim,)`` or ``(n_paths, dim)``, or their distribution of event shape ``(dim,)``. Its
            dtype is that of the simulation.
        max_step: Largest step.
        method: One of our schemes, the dynamics' own by default; or the name of a fixed-step Itô solver of torchsde,
            for example "srk" (strong order 1.5, dear), "milstein" or "euler".
        n_paths: Number of independent paths.

    Returns:
        ``(n_paths, time, dim)``.

    Raises:
        ValueError: If the times, the step or the initial states do not fit, or torchsde has no such solver.
        TypeError: If a solver of torchsde is asked for, and the dynamics do not read as an Itô equation.

    Example:
        >>> from pyro_langevin.dynamics import AdditiveNoise, ItoDiffusion
        >>> decay = ItoDiffusion(lambda z: -z, 1, noise=AdditiveNoise(1e-6))
        >>> times = torch.tensor([0.0, 1.0, 3.0])
        >>> paths = simulate(decay, times, initial=torch.ones(1), max_step=1e-3, method="srk", n_paths=5)
        >>> paths.shape, torch.allclose(paths[0, :, 0], torch.exp(-times), atol=1e-4)
        (torch.Size([5, 3, 1]), True)
    """
    if times.dim() != 1:
        raise ValueError(f"simulate: expected times of shape (time,), got {tuple(times.shape)}; give one series")
    if not max_step > 0:
        raise ValueError(f"simulate: expected a positive max_step, got {max_step}; give it in the unit of the times")
    gaps = TimeGrid(times).steps.tolist()
    state = _first_states(initial, n_paths)
    advance = _by_torchsde(dynamics, method) if isinstance(method, str) else _by_chain(dynamics, method)
    states = [state]
    for gap in gaps:
        n_steps = max(1, math.ceil(gap / max_step - 1e-9))
        states.append(advance(states[-1], n_steps, gap / n_steps))
    return torch.stack(states, 1)


def _by_chain(dynamics: ChainDynamics, scheme: AnyScheme | None) -> Advance:
    """So many equal steps of our own chain."""
    once = dynamics.read()

    def advance(z: Tensor, n_steps: int, step: float) -> Tensor:
        length = z.new_tensor([step])
        for _ in range(n_steps):
            transition = once.transition(z, length) if scheme is None else scheme.transition(once, z, length)
            z = transition.apply(torch.randn_like(z))
        return z

    return advance


def _by_torchsde(dynamics: ChainDynamics, method: str) -> Advance:
    """So many equal steps of one of torchsde's solvers."""
    equation = to_torchsde(dynamics)

    def advance(z: Tensor, n_steps: int, step: float) -> Tensor:
        end = n_steps * step
        brownian = torchsde.BrownianInterval(
            t0=0.0,
            t1=end,
            size=z.shape,
            dtype=z.dtype,
            device=z.device,
            levy_area_approximation="space-time",
            entropy=int(torch.randint(2**31 - 1, ())),  # torchsde's own draws would not follow torch's seed
        )
        ts = torch.tensor([0.0, end], dtype=torch.float64, device=z.device)
        reached: Tensor = torchsde.sdeint(equation, z, ts, bm=brownian, method=method, dt=step)
        return reached[-1]

    return advance


def _first_states(initial: Tensor | Distribution, n_paths: int) -> Tensor:
    if n_paths < 1:
        raise ValueError(f"simulate: expected at least 1 path, got {n_paths}")
    if isinstance(initial, Distribution):
        return initial.expand((n_paths,)).sample()
    if initial.dim() not in (1, 2) or initial.shape[:-1] not in ((), (n_paths,)):
        raise ValueError(
            f"simulate: expected initial states (dim,) or ({n_paths}, dim), got {tuple(initial.shape)}; "
            "give one for all paths or one a path"
        )
    return initial.expand(n_paths, -1)
