"""Potential given by a neural network, confined, with closed-form derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_langevin.potentials.base import ClosedFormPotential, Energy, LocalExpansion, Potential, rows_times
from pyro_langevin.potentials.mixture import MixturePotential
from pyro_langevin.potentials.parameters import refuse_unsampled


class NeuralPotential(ClosedFormPotential):
    r"""Learned potential: a bounded network on top of a confining reference.

    .. math:: U(z) = n^{-1/2} \sum_{i=1}^n a_i \tanh(w_i^\top z + b_i) + U_\mathrm{ref}(z)

    The network is bounded, so that the sum is confining whenever the reference is. The reference is a
    learned Gaussian mixture, ``-log`` of its density (:class:`MixturePotential`): it lets wells be as sharp
    as jump-like data want them, which a small network cannot. One hidden layer, because every step of every
    path needs three orders of derivatives: they are then single matrix products.

    Args:
        dim: Dimension of the latent space.
        hidden: Number of hidden units.
        reference: Confining potential to add; a mixture of 8 Gaussians per dimension by default.
    """

    def __init__(self, dim: int, hidden: int = 32, *, reference: Potential | None = None) -> None:
        super().__init__(dim)
        if hidden < 1:
            raise ValueError(f"NeuralPotential: expected at least 1 hidden unit, got {hidden}")
        if reference is not None and reference.dim != dim:
            raise ValueError(
                f"NeuralPotential: the reference potential has dim {reference.dim}, expected {dim}; "
                "build both with the same dim"
            )
        self.reference = MixturePotential(dim) if reference is None else reference
        self.weight = nn.Parameter(torch.empty(hidden, dim))
        self.bias = nn.Parameter(torch.empty(hidden))
        self.height = nn.Parameter(torch.empty(hidden))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the network anew: flat ridges of random direction and place over the unit ball."""
        direction = torch.nn.functional.normalize(torch.randn_like(self.weight), dim=-1)
        steepness = 1.0 + 2.0 * torch.rand(len(self.bias), 1)
        self.weight.copy_(steepness * direction)
        self.bias.copy_(-(steepness * (4.0 * torch.rand(len(self.bias), 1) - 2.0)).squeeze(-1))
        self.height.zero_()

    def initialise(self, points: Tensor) -> None:
        """Place the reference on a sample of states, ``(n, dim)``."""
        self.reference.initialise(points)

    def read(self) -> NeuralEnergy:
        refuse_unsampled(self)
        scaled = self.height / self.height.shape[-1] ** 0.5
        return NeuralEnergy(self.weight.mT, self.bias + 0.0, scaled, self.reference.read())


@dataclass(frozen=True, eq=False)
class NeuralEnergy:
    """A network's energy and derivatives from weights that were read once.

    Attributes:
        weight: ``(*batch, dim, hidden)``.
        bias: ``(*batch, hidden)``.
        height: ``(*batch, hidden)``, already divided by the root of their number.
        reference: The energy it is added to.
    """

    weight: Tensor
    bias: Tensor
    height: Tensor
    reference: Energy

    def _units(self, z: Tensor) -> Tensor:
        """Activations of the hidden units, ``(*batch, hidden)``."""
        return torch.tanh(rows_times(z, self.weight) + self.bias)

    def energy(self, z: Tensor) -> Tensor:
        value = self._units(z)
        raised = value @ self.height if self.height.dim() == 1 else (value * self.height).sum(-1)
        return raised + self.reference.energy(z)

    def gradient(self, z: Tensor) -> Tensor:
        slope = (1.0 - self._units(z).square()) * self.height
        return rows_times(slope, self.weight.mT) + self.reference.gradient(z)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        base = self.reference.expansion(z, weights)
        value = self._units(z)
        slope = (1.0 - value.square()) * self.height
        bend = -2.0 * value * slope
        twist = slope * (6.0 * value.square() - 2.0)
        # (*batch, dim * dim, hidden)
        outer = (self.weight.unsqueeze(-3) * self.weight.unsqueeze(-2)).flatten(-3, -2)
        hessian = rows_times(bend, outer.mT).unflatten(-1, base.hessian.shape[-2:])
        squares = self.weight.square()
        # sum_j weights_j w_j^2, (*batch, hidden)
        length = squares.sum(-2) if weights is None else rows_times(weights, squares)
        return LocalExpansion(
            base.gradient + rows_times(slope, self.weight.mT),
            base.hessian + hessian,
            base.laplacian_gradient + rows_times(twist * length, self.weight.mT),
        )
