"""The network of a controlled guide."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pyro_langevin.paths import Additive, Control, Parametrisation

_LARGEST_MULTIPLIER = 2.0
_SMALLEST_MULTIPLIER = 1e-3


class ControlNetwork(nn.Module):
    """Control ``(u, r)`` as a function of the state, the position within the observation interval and the context.

    Two hidden layers, the last layer zero at the start: in the additive parametrisation the guide then *is* the prior.
    The push is bounded smoothly, ``bound tanh(raw / bound)`` units, so that paths cannot be thrown far out early in
    training; the noise multiplier lies in (0.001, 2).

    Args:
        latent_dim: Dimension of the state.
        told_dim: Width of position and context together.
        push_dim: Number of figures of a push.
        noise_dim: Number of coordinates of the noise that are damped.
        hidden: Width of the hidden layers.
        bound: Largest push in units in which 1 moves a state of order one within a typical gap.
        parametrisation: Which unit that is.
    """

    gap: Tensor

    def __init__(
        self,
        latent_dim: int,
        told_dim: int,
        *,
        push_dim: int,
        noise_dim: int,
        hidden: int = 96,
        bound: float = 20.0,
        parametrisation: Parametrisation = Additive(),
    ) -> None:
        super().__init__()
        if not bound > 0:
            raise ValueError(f"ControlNetwork: expected a positive bound, got {bound}")
        self.bound, self.parametrisation = bound, parametrisation
        self.sizes = [push_dim, noise_dim]
        self.state = nn.Linear(latent_dim, hidden)
        self.told = nn.Linear(told_dim, hidden, bias=False)
        self.inner = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, push_dim + noise_dim)
        self.register_buffer("gap", torch.ones(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start without control."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @torch.no_grad()
    def initialise(self, gap: float) -> None:
        """Fix the unit of the push from a typical gap between observations."""
        self.gap.fill_(gap)

    def forward(self, z: Tensor, position: Tensor, context: Tensor) -> Control:
        """Control in states ``(*batch, latent_dim)``."""
        # apart, since what is told is shared by all particles
        hidden = self.state(z) + self.told(torch.cat([position, context], -1))
        hidden = nn.functional.silu(self.inner(nn.functional.silu(hidden)))
        push, log_multiplier = self.output(hidden).split(self.sizes, -1)
        bounded = self.bound * torch.tanh(push / self.bound)
        return Control(bounded * self.parametrisation.unit(self.gap), _multiplier(log_multiplier))


def _multiplier(raw: Tensor) -> Tensor:
    """``exp`` of ``raw``, bent smoothly into the range of noise multipliers; 1 at 0."""
    ceiling, floor = math.log(_LARGEST_MULTIPLIER), -math.log(_SMALLEST_MULTIPLIER)
    return torch.where(raw > 0, ceiling * torch.tanh(raw / ceiling), floor * torch.tanh(raw / floor)).exp()
