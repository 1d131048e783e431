"""What a potential must offer, and how the rest is had by automatic differentiation."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from pyro.nn import PyroModule
from torch import Tensor

from pyro_langevin.potentials.parameters import ordinary, refuse_unsampled, sampled_names, snapshot


class LocalExpansion(NamedTuple):
    """Derivatives of a potential at points of shape ``(*batch, dim)``.

    Attributes:
        gradient: ``(*batch, dim)``.
        hessian: ``(*batch, dim, dim)``, symmetric.
        laplacian_gradient: ``(*batch, dim)``, gradient of the weighted Laplacian
            ``sum_j weights_j d^2 U / dz_j^2``: the Itô term of the local linearization.
    """

    gradient: Tensor
    hessian: Tensor
    laplacian_gradient: Tensor


class Energy(Protocol):
    """An energy with its derivatives: what the dynamics need of a potential."""

    def energy(self, z: Tensor) -> Tensor: ...

    def gradient(self, z: Tensor) -> Tensor: ...

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion: ...


class Potential(PyroModule):
    """An energy ``U(z)`` over a latent space, in units of ``temperature``.

    A new potential defines :meth:`energy`; the derivatives then follow by automatic differentiation,
    also inside ``torch.no_grad`` and ``torch.inference_mode``. Shipped potentials override
    :meth:`expansion` (and :meth:`gradient`) with closed forms. The Boltzmann law ``exp(-U/temperature)``
    must be normalisable.

    Args:
        dim: Dimension of the latent space, at least 1.

    Attributes:
        one_well: Whether it has one well whatever is learned, so that no data can show states in it.
    """

    one_well = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"potential: expected a latent dimension of at least 1, got {dim!r}")
        self.dim = dim

    def energy(self, z: Tensor) -> Tensor:
        """Energy ``U(z)``, shape ``(*batch,)`` for ``z`` of shape ``(*batch, dim)``."""
        raise NotImplementedError(f"{type(self).__name__} must define energy(z)")

    def forward(self, z: Tensor) -> Tensor:
        return self.energy(z)

    def initialise(self, points: Tensor) -> None:
        """Start from a sample of states ``(n, dim)``; potentials without free shape do nothing."""

    def read(self) -> Energy:
        """The energy with its parameters read once, for use on many points.

        A path evaluates its potential thousands of times; reading parameters through Pyro each time is slow
        and would draw Bayesian weights anew.

        Raises:
            RuntimeError: If there are sampled parameters (``PyroSample``) and the module that holds the potential is
                not being called.
        """
        refuse_unsampled(self)
        return snapshot(self) if next(self.parameters(), None) is not None or sampled_names(self) else self

    def gradient(self, z: Tensor) -> Tensor:
        """Gradient of the energy, ``(*batch, dim)``."""
        outer = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            point, energy = self._evaluated(z, outer)
            gradient = _gradient_of(energy, point, outer)
        return gradient if outer else gradient.detach()

    def force(self, z: Tensor) -> Tensor:
        """Force ``-grad U(z)``, ``(*batch, dim)``."""
        return -self.gradient(z)

    def hessian(self, z: Tensor) -> Tensor:
        """Hessian of the energy, ``(*batch, dim, dim)``."""
        return self.expansion(z).hessian

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        """Gradient, Hessian and gradient of the weighted Laplacian in one evaluation.

        Args:
            z: Points, ``(*batch, dim)``.
            weights: Weights of the Laplacian, broadcastable to ``(*batch, dim)``; ones when omitted.
        """
        outer = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            point, energy = self._evaluated(z, outer)
            gradient = _gradient_of(energy, point, True)
            rows = [_gradient_of(gradient[..., i], point, True) for i in range(self.dim)]
            hessian = torch.stack(rows, -2)
            diagonal = hessian.diagonal(dim1=-2, dim2=-1)
            laplacian = (diagonal if weights is None else diagonal * ordinary(weights)).sum(-1)
            laplacian_gradient = _gradient_of(laplacian, point, outer)
        result = LocalExpansion(gradient, hessian, laplacian_gradient)
        return result if outer else LocalExpansion(*(part.detach() for part in result))

    def _evaluated(self, z: Tensor, outer: bool) -> tuple[Tensor, Tensor]:
        """A point to differentiate at, one for each energy, and the energies there."""
        point = _differentiable(z, outer)
        energy = self.energy(point)
        if energy.shape == point.shape[:-1]:
            return point, energy
        # parameters with batch dimensions that the states lack
        point = _differentiable(z.expand(*energy.shape, z.shape[-1]), outer)
        return point, self.energy(point)


class ClosedFormPotential(Potential):
    """A potential whose parameters, once read, give an energy with all its derivatives in closed form.

    A new one defines :meth:`read`; at single points everything else is asked of what that returns.
    """

    def read(self) -> Energy:
        raise NotImplementedError(f"{type(self).__name__} must define read()")

    def energy(self, z: Tensor) -> Tensor:
        return self.read().energy(z)

    def gradient(self, z: Tensor) -> Tensor:
        return self.read().gradient(z)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        return self.read().expansion(z, weights)


def _differentiable(z: Tensor, outer: bool) -> Tensor:
    """``z`` as a point to differentiate at: kept in the caller's graph if there is one."""
    if outer and z.requires_grad:
        return z
    return ordinary(z).detach().requires_grad_()


def _gradient_of(value: Tensor, point: Tensor, create_graph: bool) -> Tensor:
    """Gradient of a pointwise function; zero where it does not depend on the point."""
    if not value.requires_grad:
        return torch.zeros_like(point)
    (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=create_graph, allow_unused=True)
    return torch.zeros_like(point) if gradient is None else gradient


def rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows ``(*batch, m)`` times a matrix ``(m, n)``, or times one a row, ``(*batch, m, n)``."""
    if matrix.dim() == 2:
        return rows @ matrix
    return (rows.unsqueeze(-2) @ matrix).squeeze(-2)
