"""Samples and divergences of tilted paths by plain autograd through a plain loop, against those that paths give."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import torch
from torch import Tensor

from pyro_langevin.dynamics import Transition
from pyro_langevin.paths import Messages, SteeredPath
from pyro_langevin.paths.tilt import Tilt
from pyro_langevin.paths.tilted import TiltedPath

#: Tilt of step ``k`` of a path out of a state.
TiltOf = Callable[[TiltedPath, int, Tensor, Transition, Tensor], Tilt]


def tilt_by_messages(path: TiltedPath, k: int, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
    """What the messages of a steered path say, read by hand."""
    assert isinstance(path, SteeredPath)
    return Messages(path.messages.centre[k], path.messages.root[k]).tilt(z, transition, step)


def tilt_by_itself(path: TiltedPath, k: int, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
    """What the path's own tilting says of one step."""
    return path.tilting.padded(z.dim() + 1).each()[k].tilt(z, transition, step)


def looped(path: TiltedPath, sample: tuple[int, ...], tilt_of: TiltOf) -> tuple[Tensor, Tensor]:
    """Sample and divergence of a path, step by step."""
    state = path.initial.rsample(torch.Size(sample))
    steps, mask = path.clock.steps_for(state.dim() + 1), path.clock.mask_for(state.dim())
    noise = torch.randn(len(steps), *state.shape)
    states, divergence = [state], torch.zeros(state.shape[:-1])
    for k, step in enumerate(steps):
        transition = path.dynamics.transition(state, step)
        tilt = tilt_of(path, k, state, transition, step)
        moved, extra = transition.apply(tilt.apply(noise[k])), tilt.kl()
        if mask is not None:
            moved = torch.where(mask[k].unsqueeze(-1), moved, state)
            extra = torch.where(mask[k], extra, 0.0)
        state, divergence = moved, divergence + extra
        states.append(state)
    return torch.stack(states, -2), divergence


def assert_gradients_of_the_plain_loop(
    path_of: Callable[[], TiltedPath],
    tilt_of: TiltOf,
    leaves: list[Tensor],
    *,
    used: int,
    sample: tuple[int, ...],
    tolerance: float = 1e-8,
) -> None:
    """A path's sample, divergence and their gradients by the leaves are those of the loop.

    ``path_of`` builds the path anew, which reads its dynamics; the first ``used`` leaves must have a gradient.
    """
    shape = path_of().shape()
    weights = torch.randn(*sample, *shape)
    results = []
    for own in (True, False):
        path = path_of()
        pyro.set_rng_seed(3)
        if own:
            z = path.rsample(torch.Size(sample))
            divergence = path.kl_along(z)
        else:
            z, divergence = looped(path, sample, tilt_of)
        loss = (weights * z.sin()).sum() + (1.0 + z[..., -1, 0]).mul(divergence).sum()
        results.append((z, divergence, *torch.autograd.grad(loss, leaves, materialize_grads=True)))
    assert all(bool((found != 0).any()) for found in results[1][: 2 + used])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
