"""Quadratic potential: the Ornstein-Uhlenbeck process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pyro.nn import PyroParam, PyroSample
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.potentials.base import ClosedFormPotential, LocalExpansion
from pyro_langevin.potentials.parameters import event_dim, per_coordinate, refuse_unsampled


class QuadraticPotential(ClosedFormPotential):
    r"""Harmonic well, :math:`U(z) = \tfrac12 (z - c)^\top K (z - c)`.

    Overdamped dynamics on it are an Ornstein-Uhlenbeck process with relaxation rates ``eig(K)/friction``.

    Args:
        dim: Dimension of the latent space.
        centre: Scalar or ``(dim,)``.
        stiffness: ``K``: scalar, ``(dim,)`` (one a dimension) or ``(dim, dim)`` symmetric positive definite.
            Both may be floats or tensors (fixed), ``Parameter``, ``PyroParam`` or ``PyroSample``.

    Raises:
        ValueError: On another shape, or a stiffness that does not confine.
    """

    one_well = True

    def __init__(self, dim: int, centre: object = 0.0, *, stiffness: object = 1.0) -> None:
        super().__init__(dim)
        self._place("centre", centre, ((), (dim,)))
        self._place("stiffness", stiffness, ((), (dim,), (dim, dim)))

    def _place(self, name: str, value: object, shapes: tuple[tuple[int, ...], ...]) -> None:
        if isinstance(value, (PyroParam, PyroSample)):
            setattr(self, name, value)
            return
        default = torch.get_default_dtype()
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=default)
        if tuple(tensor.shape) not in shapes:
            expected = " or ".join(str(shape) for shape in shapes)
            raise ValueError(
                f"QuadraticPotential: expected {name} of shape {expected}, got {tuple(tensor.shape)}"
            )
        if name == "stiffness":
            _check_positive(tensor.detach())
        if isinstance(tensor, Parameter):
            setattr(self, name, tensor)
        else:
            self.register_buffer(name, tensor)

    def read(self) -> QuadraticEnergy:
        refuse_unsampled(self)
        rank = event_dim(self, "stiffness")
        if rank is None:
            rank = self.stiffness.dim()
        stiffness = self.stiffness if rank == 2 else per_coordinate(self, "stiffness")
        return QuadraticEnergy(per_coordinate(self, "centre") + 0.0, stiffness + 0.0, coupled=rank == 2)


@dataclass(frozen=True, eq=False)
class QuadraticEnergy:
    """A quadratic energy from parameters that were read once.

    Attributes:
        centre: Broadcastable against states ``(*batch, dim)``.
        stiffness: The same, or ``(*batch, dim, dim)`` where it couples the dimensions.
        coupled: Whether it does.
    """

    centre: Tensor
    stiffness: Tensor
    coupled: bool

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * ((z - self.centre) * self.gradient(z)).sum(-1)

    def gradient(self, z: Tensor) -> Tensor:
        offset = z - self.centre
        if not self.coupled:
            return self.stiffness * offset
        return (self.stiffness * offset.unsqueeze(-2)).sum(-1)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        gradient = self.gradient(z)
        matrix = self.stiffness
        if not self.coupled:
            matrix = torch.diag_embed(matrix.expand(*matrix.shape[:-1], z.shape[-1]))
        hessian = matrix.to(z.dtype).expand(*gradient.shape, z.shape[-1])
        return LocalExpansion(gradient, hessian, torch.zeros_like(gradient))


def _check_positive(stiffness: Tensor) -> None:
    if stiffness.dim() == 2:
        symmetric = torch.allclose(stiffness, stiffness.mT, rtol=1e-5, atol=1e-8)
        positive = symmetric and bool((torch.linalg.eigvalsh(stiffness) > 0).all())
    else:
        positive = bool((stiffness > 0).all())
    if not positive:
        raise ValueError(
            "QuadraticPotential: expected a positive (and symmetric) stiffness, got "
            f"{stiffness.tolist()}; the Boltzmann law could not be normalised"
        )
