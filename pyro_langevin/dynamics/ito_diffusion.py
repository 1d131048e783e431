"""Diffusions with any drift: priors beyond the gradient of a potential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_langevin.dynamics.euler_maruyama import EulerMaruyama
from pyro_langevin.dynamics.ito_form import ItoForm
from pyro_langevin.dynamics.noise import AdditiveNoise, Noise
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.potentials.parameters import per_coordinate, refuse_unsampled, snapshot


class NoPotentialError(TypeError):
    """A figure was asked for that only a potential can give."""


class ItoScheme(Protocol):
    """A discretisation that asks for drift and noise only."""

    def transition(self, dynamics: ItoForm, z: Tensor, step: Tensor) -> Transition: ...


def _needs_a_potential(name: str) -> Any:
    """An attribute that dynamics on a potential have and these have not."""

    def refuse(self: object) -> Any:
        raise NoPotentialError(
            f"{type(self).__name__}: expected a {name}, but a drift has no potential behind it, and so no Boltzmann "
            "law, minima, barriers or states, no exact evidence on a grid and no LocalLinearization; use Overdamped "
            "for these, or EulerMaruyama and the posterior paths, guide.path(observations).rsample(), with this drift"
        )

    return property(refuse)


class ItoDiffusion(PyroModule):
    r"""Time-homogeneous diffusion with any drift ``b``, a network or a function.

    .. math:: dz = b(z)\,dt + s\,dW,\qquad dz = b(z)\,dt + s\,z\,dW,\qquad dz/z = b(z)\,dt + s\,dW

    (Tzen & Raginsky 2019; Oh, Lim & Kim 2024), in the sense of Itô, independent noise per dimension. It takes the
    place of :class:`Overdamped` in paths, models, guides and ``fit``; prior and guide share its noise because a guide
    steps with the prior's own transitions. The drift cannot depend on time: a path's transitions know the state and
    the step, not the date.

    Do not use it for states and rates: they are read off a potential, and this has none.

    Args:
        drift: From states ``(*batch, dim)`` to ``(*batch, dim)``, per time. Each state must be treated alone (no
            batch normalisation).
        dim: Dimension of the state.
        noise: :class:`AdditiveNoise` with a learned scale by default; :class:`LinearNoise`;
            :class:`GeometricNoise`, where the state is the logarithm.
        scheme: The discretisation, :class:`EulerMaruyama` by default. Its error is of the first order in the step.

    Example:
        >>> swirl = torch.tensor([[-0.5, 2.0], [-2.0, -0.5]])
        >>> dynamics = ItoDiffusion(lambda z: z @ swirl.mT, 2, noise=AdditiveNoise(0.3))
        >>> dynamics.transition(torch.tensor([[1.0, 0.0]]), torch.tensor(0.1)).mean
        tensor([[ 0.9500, -0.2000]])
    """

    has_potential = False
    learns_friction = False
    potential = _needs_a_potential("potential")
    friction = _needs_a_potential("friction")
    temperature = _needs_a_potential("temperature")

    def __init__(
        self,
        drift: Callable[[Tensor], Tensor],
        dim: int,
        *,
        noise: Noise | None = None,
        scheme: ItoScheme | None = None,
    ) -> None:
        super().__init__()
        if not callable(drift):
            raise TypeError(
                f"ItoDiffusion: expected a drift network or function, got {type(drift).__name__}; "
                "give a callable from states (*batch, dim) to (*batch, dim)"
            )
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"ItoDiffusion: expected a state dimension of at least 1, got {dim!r}")
        if noise is not None and not isinstance(noise, Noise):
            raise TypeError(
                f"ItoDiffusion: expected a Noise, got {type(noise).__name__}; "
                "give AdditiveNoise(scale), LinearNoise(scale) or GeometricNoise(scale)"
            )
        self.dim = dim
        self.drift = drift
        self.noise = AdditiveNoise() if noise is None else noise
        self.scheme = EulerMaruyama() if scheme is None else scheme

    @property
    def position_dim(self) -> int:
        """Number of the state's coordinates that an emission sees: all of them."""
        return self.dim

    @property
    def diffusion(self) -> Tensor:
        """Diffusion at a state of typical size, scalar or ``(dim,)``, in state units squared per time."""
        return self.noise.diffusion

    def momentum_deviation(self) -> Tensor:
        """Standard deviation of each momentum in equilibrium: there is none, ``(0,)``."""
        return self.noise.size.new_zeros(0)

    def reported(self) -> dict[str, Tensor]:
        """The constants that a fit reports, scalar or one a dimension of the position."""
        return {"diffusion": self.diffusion}

    def initialise(self, diffusion: float, points: Tensor | None = None) -> None:
        """Start a learned noise so that the diffusion has this value, at the size that a sample of states has."""
        self.noise.initialise(diffusion, points)

    def read(self) -> Any:  # what needs a potential is refused by name at run time, not by type
        """This diffusion with every parameter read once, as a path uses it: an :class:`ItoDynamics`.

        Raises:
            RuntimeError: If there are sampled parameters (``PyroSample``) and the module that holds the diffusion is
                not being called.
        """
        refuse_unsampled(self)
        drift = snapshot(self.drift) if isinstance(self.drift, nn.Module) else self.drift
        return ItoDynamics(drift, self.dim, self.noise, per_coordinate(self.noise, "scale"), self.scheme)

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Gaussian transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        transition: Transition = self.read().transition(z, torch.as_tensor(step, dtype=z.dtype, device=z.device))
        return transition


@dataclass(frozen=True, eq=False)
class ItoDynamics:
    """A diffusion whose parameters are plain tensors, read once.

    Attributes:
        network: Drift of the equation.
        dim: Dimension of the state.
        noise: Kind of noise.
        scale: Its scale, scalar or ``(dim,)``.
        scheme: The discretisation.
    """

    network: Callable[[Tensor], Tensor]
    dim: int
    noise: Noise
    scale: Tensor
    scheme: ItoScheme

    energy = _needs_a_potential("potential")
    friction = _needs_a_potential("friction")
    temperature = _needs_a_potential("temperature")

    @property
    def position_dim(self) -> int:
        """Number of the state's coordinates that an emission sees: all of them."""
        return self.dim

    @property
    def additive(self) -> bool:
        """Whether the noise is the same at all states."""
        return self.noise.additive

    def drift(self, z: Tensor) -> Tensor:
        """Drift of the state ``z``, ``(*batch, dim)``.

        Raises:
            ValueError: If the network gives another shape than that of the state.
        """
        return self.noise.state_drift(self._checked_network, z, self.scale)

    def noise_scale(self, z: Tensor) -> Tensor:
        """Amplitude of the noise at ``z``, ``(*batch, dim)``."""
        return self.noise.amplitude(z, self.scale)

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        """Gaussian transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.scheme.transition(self, z, step)

    def _checked_network(self, z: Tensor) -> Tensor:
        drift = self.network(z)
        if drift.shape != z.shape:
            raise ValueError(
                f"ItoDiffusion: expected a drift of the state's shape {tuple(z.shape)}, got {tuple(drift.shape)}; "
                f"build the network from {self.dim} to {self.dim} values, without reshaping the batch"
            )
        return drift
