"""Potential of locally coupled oscillators: one well, whatever is learned."""

from __future__ import annotations

import torch
from pyro.nn import PyroParam, PyroSample
from torch import Tensor
from torch.distributions import constraints
from torch.nn import Parameter

from pyro_langevin.potentials.base import ClosedFormPotential
from pyro_langevin.potentials.parameters import event_dim, refuse_unsampled
from pyro_langevin.potentials.quadratic import QuadraticEnergy

_COUPLING = 0.1  # at the start, relative to the stiffness: none at all would leave nothing between the oscillators


class CoupledOscillatorPotential(ClosedFormPotential):
    r"""Springs to the origin and between neighbours on a chain of oscillators.

    .. math:: U(z) = \tfrac12 \sum_i k_i z_i^2 + \tfrac12 \sum_{0 < j - i \le r} c_{ij} (z_i - z_j)^2
        = \tfrac12 z^\top K z, \qquad K_{ij} = -c_{ij}, \quad K_{ii} = k_i + \sum_j c_{ij}

    With :class:`~pyro_langevin.Underdamped` dynamics it is the prior of LangevinFlow (Song, Keller, Yue, Perona and
    Welling 2025, arXiv:2507.11531), built here so that no value of the parameters lets a state escape: stiffnesses and
    couplings are positive, and ``z K z`` is at least ``min(k) |z|^2``. Between neighbours alone (``reach`` 1) positive
    couplings lose nothing: turning the sign of a coordinate turns that of its couplings, and along a chain all can be
    made positive in this way.

    It has one well at the origin, always. There are no states to be found behind it, and the process that it drives is
    linear and Gaussian: what is nonlinear must be in the emission. Take it for activity that rings and relaxes,
    and any other potential where the question is one of states.

    Energy, force and Hessian are exact closed forms. Units are those of ``temperature``.

    Args:
        dim: Number of oscillators, the dimension of the latent space.
        reach: How far along the chain an oscillator is coupled, at most ``dim - 1``.
        stiffness: ``k``: scalar or ``(dim,)``, positive. Learned, one for each, when omitted.
        coupling: ``c``: scalar or ``(n_pairs,)``, positive, of the pairs in the order of ``pairs``. Learned when
            omitted. Both may be floats or tensors (fixed), ``Parameter``, ``PyroParam`` or ``PyroSample``.

    Attributes:
        pairs: The coupled oscillators, ``(n_pairs, 2)``: neighbours first, then those two apart, and so on.

    Raises:
        ValueError: On another reach or shape, or fixed values that are not positive.

    Example:
        >>> potential = CoupledOscillatorPotential(3, stiffness=1.0, coupling=0.5)
        >>> potential.hessian(torch.zeros(3)).tolist()
        [[1.5, -0.5, 0.0], [-0.5, 2.0, -0.5], [0.0, -0.5, 1.5]]
    """

    one_well = True
    pairs: Tensor
    stretches: Tensor

    def __init__(
        self, dim: int, reach: int = 1, *, stiffness: object | None = None, coupling: object | None = None
    ) -> None:
        super().__init__(dim)
        if not isinstance(reach, int) or not 0 <= reach < dim:
            raise ValueError(
                f"CoupledOscillatorPotential: expected a reach from 0 to {dim - 1} on a chain of {dim}, got {reach!r}"
            )
        pairs = [(i, i + far) for far in range(1, reach + 1) for i in range(dim - far)]
        self.register_buffer("pairs", torch.tensor(pairs, dtype=torch.long).reshape(-1, 2))
        # one row a pair: 1 at its first oscillator, -1 at its second
        identity = torch.eye(dim)
        self.register_buffer("stretches", identity[self.pairs[:, 0]] - identity[self.pairs[:, 1]])
        self.learns_stiffness = stiffness is None
        self._place("stiffness", stiffness, dim, start=1.0)
        self._place("coupling", coupling, len(pairs), start=_COUPLING)

    def _place(self, name: str, value: object | None, size: int, *, start: float) -> None:
        if value is None:
            value = PyroParam(torch.full((size,), start), constraint=constraints.positive)
        if isinstance(value, (PyroParam, PyroSample)):
            setattr(self, name, value)
            return
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.get_default_dtype())
        if tuple(tensor.shape) not in ((), (size,)) or not bool((tensor.detach() > 0).all()):
            raise ValueError(
                f"CoupledOscillatorPotential: expected a positive {name} of shape () or ({size},), got "
                f"{tensor.tolist()} of shape {tuple(tensor.shape)}; with others the well may be open"
            )
        if isinstance(tensor, Parameter):
            setattr(self, name, tensor)
        else:
            self.register_buffer(name, tensor)

    @torch.no_grad()
    def initialise(self, points: Tensor) -> None:
        """Start learned stiffnesses from the spread of a sample of states ``(n, dim)`` at a temperature of 1."""
        if self.learns_stiffness:
            self.stiffness = 1.0 / points.var(0).clamp_min(1e-4)

    def matrix(self) -> Tensor:
        """The matrix ``K``, ``(*batch, dim, dim)``; the batch is that of sampled parameters.

        Raises:
            RuntimeError: If there are sampled parameters (``PyroSample``) and the module that holds the potential is
                not being called.
        """
        refuse_unsampled(self)
        springs = self._of_each("stiffness", self.dim)
        if not len(self.pairs):
            return torch.diag_embed(springs)
        stretches = self.stretches.to(springs)
        coupling = self._of_each("coupling", len(self.pairs)).unsqueeze(-1)
        return torch.diag_embed(springs) + stretches.mT @ (coupling * stretches)

    def _of_each(self, name: str, size: int) -> Tensor:
        value = getattr(self, name)
        if value.dim() > 0 and event_dim(self, name) == 0:
            value = value.unsqueeze(-1)
        return value.expand(*value.shape[:-1], size)

    def read(self) -> QuadraticEnergy:
        matrix = self.matrix()
        return QuadraticEnergy(torch.zeros_like(matrix[..., 0]), matrix, coupled=True)
