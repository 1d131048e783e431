"""Overdamped Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.constants import as_tensor, check_positive
from pyro_langevin.dynamics.local_linearization import LocalLinearization
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.potentials.base import Energy, Potential


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
            one value for all dimensions.
        temperature: k_B T in the units of ``U``, scalar.
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
        """Diffusion ``temperature / friction``, scalar or ``(dim,)``, in latent units squared per time."""
        return self.temperature / self.friction

    def momentum_deviation(self) -> Tensor:
        """Standard deviation of each momentum in equilibrium: there is none, ``(0,)``."""
        return torch.as_tensor(self.temperature).new_zeros(0)

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
        """These dynamics with every parameter read once, as a path uses them."""
        friction, temperature = self.friction, self.temperature
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
        friction: Scalar or ``(dim,)``.
        temperature: Scalar.
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

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Gaussian transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.scheme.transition(self, z, step)
