"""What a scheme for general stochastic differential equations, or another solver, needs of dynamics."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class ItoForm(Protocol):
    r"""Dynamics read once, as a time-homogeneous Itô equation with one Brownian motion a dimension.

    .. math:: dz_i = b_i(z)\,dt + g_i(z)\,dW_i
    """

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        ...

    @property
    def additive(self) -> bool:
        """Whether the noise is the same at all states."""
        ...

    def drift(self, z: Tensor) -> Tensor:
        """Drift ``b``, ``(*batch, dim)``, in state units per time."""
        ...

    def noise_scale(self, z: Tensor) -> Tensor:
        """Amplitude ``g`` of the noise, ``(*batch, dim)``, in state units per square root of time."""
        ...
