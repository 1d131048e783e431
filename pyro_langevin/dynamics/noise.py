"""How noise enters a diffusion: added, in proportion to the state, or in proportion to its growth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.constants import as_tensor, check_positive
from pyro_langevin.potentials.parameters import per_coordinate

_SMALLEST_STATE = 1e-6


class Noise(PyroModule):
    """Base of the kinds of noise: an amplitude that may depend on the state.

    A new kind defines :meth:`amplitude`, and :meth:`state_drift` where its state is not the drift's own variable.
    Both are handed the scale, because a path reads it once.

    Args:
        scale: Scalar or ``(dim,)``, positive; float or tensor (fixed), ``PyroParam`` or ``PyroSample``. Learned
            when omitted, one value for all dimensions.
    """

    additive = True
    scale: Tensor
    size: Tensor

    def __init__(self, scale: object | None = None) -> None:
        super().__init__()
        self.learns_scale = scale is None
        check_positive(type(self).__name__, "scale", scale)
        learned = PyroParam(torch.ones(()), constraint=constraints.positive)
        self.scale = learned if scale is None else as_tensor(scale)  # type: ignore[assignment]
        self.register_buffer("size", torch.ones(()))

    def amplitude(self, z: Tensor, scale: Tensor) -> Tensor:
        """Standard deviation of the noise per square root of time at ``z``, ``(*batch, dim)``."""
        raise NotImplementedError(f"{type(self).__name__} must define amplitude(z, scale)")

    def state_drift(self, drift: Callable[[Tensor], Tensor], z: Tensor, scale: Tensor) -> Tensor:
        """Drift of the state ``z`` ``(*batch, dim)``, given the drift of the equation."""
        return drift(z)

    @property
    def diffusion(self) -> Tensor:
        """Half the squared amplitude at a state of typical size: what guides measure their noise with."""
        return 0.5 * self.amplitude(self.size, per_coordinate(self, "scale")).square()

    @torch.no_grad()
    def initialise(self, diffusion: float, points: Tensor | None = None) -> None:
        """Start a learned scale so that states of typical size have this diffusion; a given scale is kept.

        Args:
            diffusion: In state units squared per time.
            points: Sample of states ``(n, dim)``, for their typical size.
        """
        if points is not None:
            self.size.copy_(points.square().mean().sqrt())
        if self.learns_scale:
            unit = self.amplitude(self.size, torch.ones_like(self.size))
            self.scale = (2.0 * diffusion) ** 0.5 / unit


class AdditiveNoise(Noise):
    r"""Noise that is the same everywhere: :math:`dz = b(z)\,dt + s\,dW`."""

    def amplitude(self, z: Tensor, scale: Tensor) -> Tensor:
        return scale * torch.ones_like(z)


class LinearNoise(Noise):
    r"""Noise in proportion to the state: :math:`dz = b(z)\,dt + s\,z\,dW` (Itô).

    At a state of exactly zero there is no noise, and a path no density. Amplitudes are therefore taken at
    ``|z| >= 1e-6``: choose units in which states that matter are far above that.
    """

    additive = False

    def amplitude(self, z: Tensor, scale: Tensor) -> Tensor:
        return scale * torch.where(z.abs() < _SMALLEST_STATE, _SMALLEST_STATE, z)


class GeometricNoise(Noise):
    r"""Noise in proportion to a positive quantity, drift as its growth rate: :math:`dx/x = b(x)\,dt + s\,dW` (Itô).

    The state is the logarithm ``z = log x``, whose transitions are Gaussian and whose quantity is positive at any
    step:

    .. math:: dz = \bigl(b(e^z) - \tfrac12 s^2\bigr)\,dt + s\,dW

    So the path, its density and what the emission sees are of ``z``; take ``z.exp()`` for the quantity. The drift
    network is handed ``x``, not ``z``. Exact at any step for a constant growth rate.
    """

    def amplitude(self, z: Tensor, scale: Tensor) -> Tensor:
        return scale * torch.ones_like(z)

    def state_drift(self, drift: Callable[[Tensor], Tensor], z: Tensor, scale: Tensor) -> Tensor:
        return drift(z.exp()) - 0.5 * scale.square()

