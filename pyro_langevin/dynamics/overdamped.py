"""Overdamped Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.constants import as_tensor, check_positive, is_constant
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

    has_potential = True
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
        check_positive("Overdamped", "temperature", temperature)
        check_positive("Overdamped", "friction", friction)
        self.learns_friction = friction is None
        self.fixes_unit = friction is not None and is_constant(friction)
        learned = PyroParam(torch.ones(()), constraint=constraints.positive)
        self.friction = learned if friction is None else as_tensor(friction)  # type: ignore[assignment]
        self.temperature = as_tensor(temperature)  # type: ignore[assignment]

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        return self.potential.dim

    @property
    def position_dim(self) -> int:
        """Dimension of the position: here the whole state."""
        return self.potential.dim

    @property
    def diffusion(self) -> Tensor:
        """Diffusion ``temperature / friction``, scalar or ``(*batch, 1 or dim)``, in latent units squared per time."""
        return per_coordinate(self, "temperature") / per_coordinate(self, "friction")

    def momentum_deviation(self) -> Tensor:
        """Standard deviation of each momentum in equilibrium: there is none, ``(0,)``."""
        return torch.zeros(0)

    def reported(self) -> dict[str, Tensor]:
        """The constants that a fit reports, scalar or one a dimension of the position."""
        return {"diffusion": self.diffusion}

    @torch.no_grad()
    def initialise(self, diffusion: float, points: Tensor | None = None) -> None:
        """Start a learned friction so that the diffusion has this value; a given friction is kept.

        Args:
            diffusion: In latent units squared per time.
            points: Sample of states ``(n, dim)`` to start the potential from; it is kept when omitted.
        """
        if points is not None:
            self.potential.initialise(points)
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
    def position_dim(self) -> int:
        """Dimension of the position: here the whole state."""
        return self.dim

    @property
    def diffusion(self) -> Tensor:
        """Diffusion ``temperature / friction``."""
        return self.temperature / self.friction

    @property
    def additive(self) -> bool:
        """Whether the noise is the same at all states: it is."""
        return True

    def drift(self, z: Tensor) -> Tensor:
        """Force over friction at ``z``, ``(*batch, dim)``."""
        return -self.energy.gradient(z) / self.friction

    def noise_scale(self, z: Tensor) -> Tensor:
        """Amplitude ``sqrt(2 D)`` of the noise at ``z``, ``(*batch, dim)``."""
        return (2.0 * self.diffusion).sqrt() * torch.ones_like(z)

    def weights(self, z: Tensor) -> Tensor:
        """Diffusion of every dimension, ``(dim,)`` or ``(*batch, dim)``: the Laplacian's weights in the Itô term."""
        diffusion = self.diffusion
        return diffusion.expand(*diffusion.shape[:-1], z.shape[-1])

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Gaussian transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.scheme.transition(self, z, step)
