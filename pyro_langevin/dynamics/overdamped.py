"""Overdamped Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.local_linearization import LocalLinearization
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.potentials.base import Energy, Potential
from pyro_langevin.potentials.parameters import per_coordinate, refuse_unsampled


class Scheme(Protocol):
    """A discretisation: dynamics, state and step to a Gaussian transition."""

    def transition(self, dynamics: OverdampedDynamics, z: Tensor, step: Tensor) -> Transition: ...


class Overdamped(PyroModule):
    r"""Overdamped Langevin dynamics on a potential.

    .. math:: dz = -\nabla U(z)/\gamma\,dt + \sqrt{2 T/\gamma}\,dW

    Only ``U/T`` and the diffusion ``D = T/gamma`` are identified, and ``D`` only up to the square of the latent
    scale; so the temperature stays at 1 and the friction is learned unless told otherwise.

    Args:
        potential: The potential ``U``.
        friction: Scalar or ``(dim,)``; float or tensor (fixed), ``PyroParam`` or ``PyroSample``. Learned when omitted,
            one value for all dimensions. A tensor with the batch dimensions of the path, as a value sampled
            elsewhere in a Pyro program has, is ``(*batch, 1)`` or ``(*batch, dim)``.
        temperature: k_B T in the units of ``U``, scalar or ``(*batch, 1)``.
        scheme: The discretisation, :class:`LocalLinearization` by default.
    """

    friction: Tensor
    temperature: Tensor

    def __init__(
        self,
        potential: Potential,
        *,
        friction: object | None = None,
        temperature: object = 1.0,
        scheme: Scheme | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(potential, Potential):
            raise TypeError(
                f"Overdamped: expected a Potential, got {type(potential).__name__}; "
                "subclass pyro_langevin.Potential and define energy(z)"
            )
        self.potential = potential
        self.scheme = LocalLinearization() if scheme is None else scheme
        _check_positive("temperature", temperature)
        _check_positive("friction", friction)
        self.learns_friction = friction is None
        learned = PyroParam(torch.ones(()), constraint=constraints.positive)
        self.friction = learned if friction is None else _as_tensor(friction)  # type: ignore[assignment]
        self.temperature = _as_tensor(temperature)  # type: ignore[assignment]

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        return self.potential.dim

    @property
    def diffusion(self) -> Tensor:
        """Diffusion ``temperature / friction``, scalar or ``(*batch, 1 or dim)``, in latent units squared per time."""
        return per_coordinate(self, "temperature") / per_coordinate(self, "friction")

    @torch.no_grad()
    def initialise(self, diffusion: float) -> None:
        """Start a learned friction so that the diffusion has this value; a given friction is kept."""
        if self.learns_friction:
            self.friction = torch.as_tensor(self.temperature) / diffusion

    def read(self) -> OverdampedDynamics:
        """These dynamics with every parameter read once, as a path uses them.

        Raises:
            RuntimeError: If there are sampled parameters (``PyroSample``) and the module that holds the dynamics is
                not being called.
        """
        refuse_unsampled(self)
        friction, temperature = per_coordinate(self, "friction"), per_coordinate(self, "temperature")
        return OverdampedDynamics(self.potential.read(), self.potential.dim, friction, temperature, self.scheme)

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Gaussian transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.read().transition(z, torch.as_tensor(step, dtype=z.dtype, device=z.device))


@dataclass(frozen=True, eq=False)
class OverdampedDynamics:
    """Overdamped dynamics whose parameters are plain tensors, read once.

    Attributes:
        energy: The potential's energy and derivatives.
        dim: Dimension of the state.
        friction: Scalar or ``(*batch, 1 or dim)``.
        temperature: Scalar or ``(*batch, 1)``.
        scheme: The discretisation.
    """

    energy: Energy
    dim: int
    friction: Tensor
    temperature: Tensor
    scheme: Scheme

    @property
    def diffusion(self) -> Tensor:
        """Diffusion ``temperature / friction``."""
        return self.temperature / self.friction

    def weights(self, z: Tensor) -> Tensor:
        """Diffusion of every dimension, ``(dim,)`` or ``(*batch, dim)``: the Laplacian's weights in the Itô term."""
        diffusion = self.diffusion
        return diffusion.expand(*diffusion.shape[:-1], z.shape[-1])

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Gaussian transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.scheme.transition(self, z, step)


def _as_tensor(value: object) -> object:
    """Numbers become tensors; parameters, samples and tensors are kept."""
    return torch.tensor(float(value)) if isinstance(value, (int, float)) else value


def _check_positive(name: str, value: object) -> None:
    numeric = isinstance(value, (int, float)) or (isinstance(value, Tensor) and not value.requires_grad)
    if numeric and not bool((torch.as_tensor(value) > 0).all()):
        raise ValueError(f"Overdamped: {name} must be positive, got {value}")
