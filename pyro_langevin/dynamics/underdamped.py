"""Underdamped Langevin dynamics: position and momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.constants import as_tensor, check_positive, is_constant
from pyro_langevin.dynamics.control_port import ControlPort
from pyro_langevin.dynamics.obabo import OBABO
from pyro_langevin.dynamics.small_matrices import side_by_side
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.potentials.base import Energy, Potential
from pyro_langevin.potentials.parameters import per_coordinate, refuse_unsampled


class PhaseSpaceScheme(Protocol):
    """A discretisation of position and momentum whose noise has full rank."""

    def transition(self, dynamics: UnderdampedDynamics, z: Tensor, step: Tensor) -> Transition: ...


class Underdamped(PyroModule):
    r"""Underdamped Langevin dynamics on a potential; the state is ``z = (q, p)``, positions first.

    .. math:: dq = \frac pm\,dt,\qquad dp = -\nabla U(q)\,dt - \gamma p\,dt + \sqrt{2\gamma m T}\,dW

    The friction is a *rate*, in one over the data's time unit. Use these dynamics where the data are sampled finely
    enough to show inertia: oscillations in a well, crossings that overshoot. Elsewhere :class:`Overdamped` says the
    same with less.

    With a fixed mass the thermal speed :math:`\sqrt{T/m}`, in latent units per time unit, fixes the scale of the latent
    space (which a linear decoder absorbs). Take a time unit in which a state moves about its own width in
    one unit of time, or learn the mass with a ``PyroParam``.

    Args:
        potential: The potential ``U`` of the position.
        friction: Rate, scalar or ``(position_dim,)``; float or tensor (fixed), ``PyroParam`` or ``PyroSample``. Learned
            when omitted, one value for all dimensions. A tensor with the batch dimensions of the path, as a value
            sampled elsewhere in a Pyro program has, is ``(*batch, 1)`` or ``(*batch, position_dim)``.
        mass: Scalar or ``(position_dim,)``, given in the same ways.
        temperature: k_B T in the units of ``U``, scalar or ``(*batch, 1)``.
        scheme: The discretisation, :class:`OBABO` by default.

    Raises:
        TypeError: If ``potential`` is not a potential.
        ValueError: On a fixed constant that is not positive or has another shape.
    """

    has_potential = True
    friction: Tensor
    mass: Tensor
    temperature: Tensor

    def __init__(
        self,
        potential: Potential,
        *,
        friction: object | None = None,
        mass: object = 1.0,
        temperature: object = 1.0,
        scheme: PhaseSpaceScheme | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(potential, Potential):
            raise TypeError(
                f"Underdamped: expected a Potential, got {type(potential).__name__}; "
                "subclass pyro_langevin.Potential and define energy(z)"
            )
        self.potential = potential
        self.scheme = OBABO() if scheme is None else scheme
        for name, value, sizes in (
            ("friction", friction, (1, potential.dim)),
            ("mass", mass, (1, potential.dim)),
            ("temperature", temperature, (1,)),
        ):
            check_positive("Underdamped", name, value)
            if isinstance(value, Tensor) and value.dim() > 0 and value.shape[-1] not in sizes:
                expected = " or ".join(f"(*batch, {size})" for size in dict.fromkeys(sizes))
                raise ValueError(f"Underdamped: expected {name} of shape () or {expected}, got {tuple(value.shape)}")
        self.learns_friction = friction is None
        self.fixes_unit = is_constant(mass)
        learned = PyroParam(torch.ones(()), constraint=constraints.positive)
        self.friction = learned if friction is None else as_tensor(friction)  # type: ignore[assignment]
        self.mass = as_tensor(mass)  # type: ignore[assignment]
        self.temperature = as_tensor(temperature)  # type: ignore[assignment]

    @property
    def position_dim(self) -> int:
        """Dimension of the position."""
        return self.potential.dim

    @property
    def dim(self) -> int:
        """Dimension of the state ``(q, p)``."""
        return 2 * self.potential.dim

    @property
    def control_port(self) -> ControlPort:
        """A control shifts all of the noise; of the drifts it may replace that of the momentum alone."""
        return ControlPort(tuple(range(self.dim)), tuple(range(self.position_dim, self.dim)))

    @property
    def diffusion(self) -> Tensor:
        """Diffusion of a free particle over long times, ``temperature / (mass friction)``, scalar or per dimension."""
        temperature, mass, friction = (per_coordinate(self, name) for name in ("temperature", "mass", "friction"))
        return temperature / (mass * friction)

    def momentum_deviation(self) -> Tensor:
        """Standard deviation of each momentum in equilibrium, ``sqrt(mass temperature)``, ``(*batch, position_dim)``.

        Raises:
            RuntimeError: As :meth:`read`.
        """
        refuse_unsampled(self)
        variance = per_coordinate(self, "mass") * per_coordinate(self, "temperature")
        return variance.sqrt().expand(*variance.shape[:-1], self.position_dim)

    def reported(self) -> dict[str, Tensor]:
        """The constants that a fit reports, scalar or one a dimension of the position."""
        return {"diffusion": self.diffusion, "friction": self.friction, "mass": self.mass}

    @torch.no_grad()
    def initialise(self, diffusion: float, points: Tensor | None = None) -> None:
        """Start a learned friction so that the diffusion has this value; a given friction is kept.

        Args:
            diffusion: In latent units squared per time.
            points: Sample of positions ``(n, position_dim)`` to start the potential from; it is kept when omitted.
        """
        if points is not None:
            self.potential.initialise(points)
        if self.learns_friction:
            self.friction = (self.temperature / (self.mass * diffusion)).mean()

    def read(self) -> UnderdampedDynamics:
        """These dynamics with every parameter read once, as a path uses them.

        Raises:
            RuntimeError: If there are sampled parameters (``PyroSample``) and the module that holds the dynamics is
                not being called.
        """
        refuse_unsampled(self)
        friction, mass, temperature = (per_coordinate(self, name) for name in ("friction", "mass", "temperature"))
        return UnderdampedDynamics(
            self.potential.read(), self.potential.dim, friction, mass, temperature, self.scheme
        )

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.read().transition(z, torch.as_tensor(step, dtype=z.dtype, device=z.device))


@dataclass(frozen=True, eq=False)
class UnderdampedDynamics:
    """Underdamped dynamics whose parameters are plain tensors, read once.

    Attributes:
        energy: The potential's energy and derivatives, of the position.
        position_dim: Dimension of the position.
        friction: Rate, scalar or ``(*batch, 1 or position_dim)``.
        mass: Likewise.
        temperature: Scalar or ``(*batch, 1)``.
        scheme: The discretisation.
    """

    energy: Energy
    position_dim: int
    friction: Tensor
    mass: Tensor
    temperature: Tensor
    scheme: PhaseSpaceScheme

    @property
    def dim(self) -> int:
        """Dimension of the state ``(q, p)``."""
        return 2 * self.position_dim

    @property
    def diffusion(self) -> Tensor:
        """Diffusion of a free particle over long times, ``temperature / (mass friction)``."""
        return self.temperature / (self.mass * self.friction)

    @property
    def additive(self) -> bool:
        """Whether the noise is the same at all states: it is."""
        return True

    def drift(self, z: Tensor) -> Tensor:
        """Velocity and rate of change of the momentum at ``z``, ``(*batch, dim)``."""
        position, momentum = z.chunk(2, -1)
        return side_by_side(momentum / self.mass, -self.energy.gradient(position) - self.friction * momentum)

    def noise_scale(self, z: Tensor) -> Tensor:
        """Amplitude of the noise, ``(*batch, dim)``: 0 on ``q``, root of ``2 friction mass temperature`` on ``p``."""
        amplitude = (2.0 * self.friction * self.mass * self.temperature).sqrt() * torch.ones_like(z.chunk(2, -1)[1])
        return side_by_side(torch.zeros_like(amplitude), amplitude)

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.scheme.transition(self, z, step)
