"""Controls: the prior's noise, shifted and damped by a function of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics.control_port import ControlPort
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.paths.parametrisation import Additive, NoiseCoordinates, Parametrisation, embedded
from pyro_langevin.paths.tilt import DiagonalTilt, Tilt
from pyro_langevin.paths.tilted import Tilting


@dataclass(frozen=True, eq=False)
class Control:
    """What a control law does in a state.

    Attributes:
        push: ``(*batch, width)``: control ``u`` or drift ``v``, as the parametrisation has it.
        multiplier: ``r > 0``, factor on the noise, ``(*batch, n_noise)`` or broadcastable to it.
    """

    push: Tensor
    multiplier: Tensor


#: States ``(n_steps, *batch, dim)``, positions and contexts of the steps to a :class:`Control`; also without the
#: leading time, step by step.
ControlLaw = Callable[[Tensor, Tensor, Tensor], Control]


@dataclass(frozen=True, eq=False)
class Controls:
    r"""Noise ``kappa = u(z, t, context) sqrt(h) + r(z, t, context) xi`` in place of ``xi`` at every step.

    The divergence of a step from the prior's is
    :math:`\tfrac12|u|^2 h + \sum_i \tfrac12 (r_i^2 - 1 - 2\ln r_i)`.

    Attributes:
        law: ``law(z, position, context)``, a :class:`Control`. A function of each state by itself.
        position: ``(n_steps, *batch, n)``: what the law needs to know of time, such as where in its observation
            interval a step lies.
        context: ``(n_steps, *batch, m)``: what the observations say to each step.
        parametrisation: :class:`Additive` or :class:`Absolute`.
        port: Coordinates that the control acts on; all when None.
    """

    law: ControlLaw
    position: Tensor
    context: Tensor
    parametrisation: Parametrisation = Additive()
    port: ControlPort | None = None

    def padded(self, ndim: int) -> Controls:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        return self._with(pad_batch(self.position, ndim), pad_batch(self.context, ndim))

    def each(self) -> list[Controls]:
        """The controls of one step each, in the order of time."""
        return [self._with(*parts) for parts in zip(self.position.unbind(0), self.context.unbind(0), strict=True)]

    def given(self, transition: Transition) -> Controls:
        """These controls: they do not depend on the transitions' scale."""
        return self

    def tilt(self, z: Tensor, transition: NoiseCoordinates, step: Tensor) -> Tilt:
        """Tilt of the noise of transitions out of ``z``."""
        port = ControlPort.everywhere(z.shape[-1]) if self.port is None else self.port
        control = self.law(z, self.position, self.context)
        shift = self.parametrisation.shift(control.push, z, transition, step, port)
        damped = control.multiplier.expand(*z.shape[:-1], len(port.noise))
        return DiagonalTilt(shift, embedded(damped, port.noise, torch.ones_like(z)))

    def _with(self, position: Tensor, context: Tensor) -> Controls:
        return Controls(self.law, position, context, self.parametrisation, self.port)


@dataclass(frozen=True, eq=False)
class Residual:
    """Controls on top of another tilting, whose tilted transitions take the place of the prior's.

    With ``kappa = s + S w`` from the first, the controls shift and damp ``w``: the whole is Gaussian, its divergence
    from the prior exact.

    Attributes:
        first: What tilts the prior's noise, such as :class:`Messages`.
        controls: What is added to it.
    """

    first: Tilting
    controls: Controls

    def padded(self, ndim: int) -> Residual:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        return Residual(self.first.padded(ndim), self.controls.padded(ndim))

    def each(self) -> list[Residual]:
        """The tilting of one step each, in the order of time."""
        return [Residual(*pair) for pair in zip(self.first.each(), self.controls.each(), strict=True)]

    def given(self, transition: Transition) -> Residual:
        """The same for transitions of the scale of this one, wherever they begin."""
        return Residual(self.first.given(transition), self.controls)

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        """The composition of both tilts."""
        first = self.first.tilt(z, transition, step)
        return first.then(self.controls.tilt(z, _Tilted(transition, first), step))


@dataclass(frozen=True, eq=False)
class _Tilted:
    """A transition fed with tilted noise, in the coordinates of the noise that is tilted."""

    transition: Transition
    tilt: Tilt

    def apply(self, noise: Tensor) -> Tensor:
        return self.transition.apply(self.tilt.apply(noise))

    def whiten(self, value: Tensor) -> Tensor:
        return self.tilt.whiten(self.transition.whiten(value))
