"""What a control network's output means: a control added to the prior's drift, or a drift in its place."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pyro_langevin.dynamics.control_port import ControlPort


class NoiseCoordinates(Protocol):
    """A transition between a state and the noise that leads to it."""

    def apply(self, noise: Tensor) -> Tensor: ...

    def whiten(self, value: Tensor) -> Tensor: ...


class Parametrisation(Protocol):
    """Meaning of a network's ``push``."""

    def width(self, port: ControlPort) -> int:
        """Number of figures that a push has."""
        ...

    def unit(self, gap: Tensor) -> Tensor:
        """Size of a push that moves a state of order one within a time ``gap``."""
        ...

    def shift(self, push: Tensor, z: Tensor, transition: NoiseCoordinates, step: Tensor, port: ControlPort) -> Tensor:
        """Shift of the transition's noise, ``(*batch, dim)``, for a push ``(*batch, width)`` in the state ``z``."""
        ...


class Additive:
    r"""The push is a control ``u``, the shift of the noise ``u sqrt(h)``.

    For Euler-Maruyama steps: drift ``b + sigma u`` in place of ``b``, at the price of :math:`\tfrac12|u|^2 h` a step
    (Tzen & Raginsky 2019). A push of zero is the prior. Unit: one over the square root of a time.
    """

    def width(self, port: ControlPort) -> int:
        return len(port.noise)

    def unit(self, gap: Tensor) -> Tensor:
        return gap.rsqrt()

    def shift(self, push: Tensor, z: Tensor, transition: NoiseCoordinates, step: Tensor, port: ControlPort) -> Tensor:
        return embedded(push * step.sqrt(), port.noise, torch.zeros_like(z))


class Absolute:
    """The push is a drift ``v`` that replaces the prior's: without noise, a step leads to ``z + v h``.

    For Euler-Maruyama steps the control is ``u = (v - b)/sigma``. A push of zero is *not* the prior, and far from the
    posterior such a guide is costly; it may be easier to learn where the posterior hardly follows the prior's drift.
    Where a control acts on part of the state only, the rest moves as in the prior. Unit: state over time.
    """

    def width(self, port: ControlPort) -> int:
        return len(port.state)

    def unit(self, gap: Tensor) -> Tensor:
        return gap.reciprocal()

    def shift(self, push: Tensor, z: Tensor, transition: NoiseCoordinates, step: Tensor, port: ControlPort) -> Tensor:
        target = z[..., list(port.state)] + push * step
        return transition.whiten(embedded(target, port.state, transition.apply(torch.zeros_like(z))))


def embedded(values: Tensor, coordinates: tuple[int, ...], into: Tensor) -> Tensor:
    """``into`` with some of its coordinates replaced by ``values``."""
    if len(coordinates) == into.shape[-1]:
        return values
    index = torch.tensor(coordinates, device=into.device)
    shape = torch.broadcast_shapes(values.shape[:-1], into.shape[:-1])
    wide = into.expand(*shape, into.shape[-1])
    return wide.index_copy(-1, index, values.expand(*shape, len(coordinates)))
