"""Gaussian messages that speak of every coordinate by itself: no matrices where the prior has none either."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics.transition import DiagonalTransition, Transition
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.paths.messages import Gains, Messages
from pyro_langevin.paths.tilt import DiagonalTilt, Tilt


@dataclass(frozen=True, eq=False)
class IndependentMessages:
    """Messages ``exp(-sum_i s_i^2 (z_i - centre_i)^2 / 2)`` on the states after each step.

    The same as :class:`Messages` with a diagonal root. Where the prior's noise is independent too
    (:class:`~pyro_langevin.EulerMaruyama`), so is the steered noise, and a step costs as many operations as there are
    coordinates.

    Attributes:
        centre: ``(n_steps, *batch, dim)``, time leftmost.
        strength: ``s``, root of the precision, likewise.
    """

    centre: Tensor
    strength: Tensor

    @property
    def root(self) -> Tensor:
        """As that of :class:`Messages`, ``(n_steps, *batch, dim, dim)``."""
        return torch.diag_embed(self.strength)

    def padded(self, ndim: int) -> IndependentMessages:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        return IndependentMessages(pad_batch(self.centre, ndim), pad_batch(self.strength, ndim))

    def each(self) -> list[IndependentMessages]:
        """The messages of one step each, in the order of time."""
        pairs = zip(self.centre.unbind(0), self.strength.unbind(0), strict=True)
        return [IndependentMessages(centre, strength) for centre, strength in pairs]

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        """The transition's noise, given the message on the state that it leads to."""
        return self.given(transition).tilt(z, transition, step)

    def given(self, transition: Transition) -> IndependentGains | Gains:
        """What the messages do to transitions of the scale of this one, wherever they begin."""
        if not isinstance(transition, DiagonalTransition):
            return Messages(self.centre, self.root).given(transition)
        pull = transition.deviation * self.strength
        precision = 1.0 + pull.square()
        return IndependentGains(self.centre, pull * self.strength / precision, precision.rsqrt())


@dataclass(frozen=True, eq=False)
class IndependentGains:
    """Independent messages together with the scale of the transitions that they steer.

    With ``m = 1 + s^2 d^2`` and the prior's deviation ``d`` the noise becomes ``N(d s^2 (centre - mean) / m, 1 / m)``.

    Attributes:
        centre: ``(n_steps, *batch, dim)``, time leftmost.
        gain: ``d s^2 / m``, likewise.
        multiplier: Root of ``1 / m``, likewise.
    """

    centre: Tensor
    gain: Tensor
    multiplier: Tensor

    def padded(self, ndim: int) -> IndependentGains:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        return IndependentGains(*(pad_batch(part, ndim) for part in (self.centre, self.gain, self.multiplier)))

    def each(self) -> list[IndependentGains]:
        """The gains of one step each, in the order of time."""
        parts = (self.centre, self.gain, self.multiplier)
        return [IndependentGains(*step) for step in zip(*(part.unbind(0) for part in parts), strict=True)]

    def given(self, transition: Transition) -> IndependentGains:
        """These gains: a transition's scale is what they were made of."""
        return self

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        """The transition's noise, given the message on the state that it leads to."""
        return DiagonalTilt(self.gain * (self.centre - transition.mean), self.multiplier)
