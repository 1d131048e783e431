"""Gaussian messages from the observations, which tilt the noise of a path's steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import inverse_root, matvec
from pyro_langevin.dynamics.transition import DiagonalTransition, Transition
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.paths.tilt import Tilt


@dataclass(frozen=True, eq=False)
class Messages:
    """Gaussian messages ``exp(-(z - centre)^T H (z - centre) / 2)`` on the states after each step.

    They may speak of the leading coordinates alone (``size < dim``), such as the position of underdamped dynamics.
    Where a transition is closed by a kick, they speak of the state before it.

    Attributes:
        centre: ``(n_steps, *batch, size)``, time leftmost.
        root: ``(n_steps, *batch, size, m)``, any factor of the precision ``H = root @ root.T``.
    """

    centre: Tensor
    root: Tensor

    def padded(self, ndim: int) -> Messages:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        return Messages(pad_batch(self.centre, ndim), pad_batch(self.root, ndim + 1))

    def each(self) -> list[Messages]:
        """The messages of one step each, in the order of time."""
        pairs = zip(self.centre.unbind(0), self.root.unbind(0), strict=True)
        return [Messages(centre, root) for centre, root in pairs]

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        """The transition's noise, given the message on the state that it leads to."""
        return self.given(transition).tilt(z, transition, step)

    def given(self, transition: Transition) -> Gains:
        """What the messages do to transitions of the scale of this one, wherever they begin."""
        size, dim = self.centre.shape[-1], transition.mean.shape[-1]
        deviation = transition.deviation if isinstance(transition, DiagonalTransition) and size == dim else None
        if deviation is not None:
            pull = deviation.unsqueeze(-1) * self.root
        else:
            pull = transition.scale[..., :size, :].mT @ self.root  # L^T A, with H = A A^T
        one = torch.eye(dim, dtype=pull.dtype, device=pull.device)
        precision = 1.0 + pull.square() if pull.shape[-2:] == (1, 1) else one + pull @ pull.mT
        spread, log_precision = inverse_root(precision)
        if deviation is not None:  # M^-1 L^T H L = 1 - M^-1 saves two products
            gain = (one - spread @ spread.mT) / deviation.unsqueeze(-2)
        else:
            gain = spread @ (spread.mT @ (pull @ self.root.mT))
        return Gains(self.centre, gain, spread, log_precision)


@dataclass(frozen=True, eq=False)
class Gains:
    """Messages together with the scale of the transitions that they steer: all but where these lead.

    With ``M = 1 + L^T H L`` the noise becomes ``N(M^-1 L^T H (centre - mean), M^-1)``.

    Attributes:
        centre: ``(n_steps, *batch, size)``, time leftmost.
        gain: ``M^-1 L^T H``, ``(n_steps, *batch, dim, size)``.
        spread: Factor of ``M^-1``, ``(n_steps, *batch, dim, dim)``.
        log_precision: Log determinant of ``M``, ``(n_steps, *batch)``.
    """

    centre: Tensor
    gain: Tensor
    spread: Tensor
    log_precision: Tensor

    def padded(self, ndim: int) -> Gains:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        gain, spread = pad_batch(self.gain, ndim + 1), pad_batch(self.spread, ndim + 1)
        return Gains(pad_batch(self.centre, ndim), gain, spread, pad_batch(self.log_precision, ndim - 1))

    def each(self) -> list[Gains]:
        """The gains of one step each, in the order of time."""
        parts = (self.centre, self.gain, self.spread, self.log_precision)
        return [Gains(*step) for step in zip(*(part.unbind(0) for part in parts), strict=True)]

    def given(self, transition: Transition) -> Gains:
        """These gains: a transition's scale is what they were made of."""
        return self

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        """The transition's noise, given the message on the state that it leads to."""
        offset = self.centre - transition.mean[..., : self.centre.shape[-1]]
        return Tilt(matvec(self.gain, offset), self.spread, self.log_precision)
