"""A latent Langevin equation as users of torchsde write it: what the guides are timed against.

A recurrent encoder reads the series backwards, a control network is added to the prior's drift, which is had from a
potential by automatic differentiation, and Euler steps are taken. Sizes are those of Neural Langevin Dynamics (Koop et
al. 2024), of which this is the workload.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchsde
from torch import Tensor, nn

HIDDEN, CONTEXT, CONTROL = 256, 128, 256
BLOCK, BOTTLENECK, BLOCKS = 96, 16, 4
NOISE = 0.5

Integrate = Callable[["NeuralSDE", Tensor, Tensor], tuple[Tensor, Tensor]]


class ResidualPotential(nn.Module):
    """Residual network on a quadratic bowl.

    Args:
        dim: Dimension of the latent space.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, BLOCK)
        self.down = nn.ModuleList(nn.Linear(BLOCK, BOTTLENECK) for _ in range(BLOCKS))
        self.up = nn.ModuleList(nn.Linear(BOTTLENECK, BLOCK) for _ in range(BLOCKS))
        self.leave = nn.Linear(BLOCK, 1)
        self.bowl = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        """Energies ``(batch,)``."""
        hidden = self.enter(z)
        for down, up in zip(self.down, self.up, strict=True):
            hidden = hidden + up(torch.tanh(down(hidden)))
        return self.leave(hidden).squeeze(-1) + nn.functional.softplus(self.bowl) * z.square().sum(-1)


class NeuralSDE(nn.Module):
    """Prior, posterior, encoder and decoder in one module, with the methods that torchsde calls.

    Args:
        latent_dim: Dimension of the latent space.
        obs_dim: Number of channels.
        gap: Between observations; one Euler step each.
        integrate: How a path and its divergence from the prior are had.

    Attributes:
        noise: Standard deviation of the observation noise, given.
    """

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, latent_dim: int, obs_dim: int, gap: float, integrate: Integrate) -> None:
        super().__init__()
        self.gap, self.integrate, self.noise = gap, integrate, NOISE
        self.encoder = nn.GRU(obs_dim, HIDDEN)
        self.context = nn.Linear(HIDDEN, CONTEXT)
        self.start = nn.Linear(CONTEXT, 2 * latent_dim)
        self.potential = ResidualPotential(latent_dim)
        self.control = nn.Sequential(
            nn.Linear(latent_dim + CONTEXT, CONTROL),
            nn.Softplus(),
            nn.Linear(CONTROL, CONTROL),
            nn.Softplus(),
            nn.Linear(CONTROL, latent_dim),
        )
        self.log_noise = nn.Parameter(torch.zeros(latent_dim))
        self.decoder = nn.Linear(latent_dim, obs_dim)
        self.told = torch.zeros(())

    def forward(self, values: Tensor) -> Tensor:
        """Negative ELBO of series ``(batch, time, obs_dim)``, per observed value."""
        series = values.movedim(1, 0)
        hidden, _ = self.encoder(series.flip(0))
        self.told = self.context(hidden.flip(0))
        mean, log_deviation = self.start(self.told[0]).chunk(2, -1)
        first = mean + log_deviation.exp() * torch.randn_like(mean)
        before = 0.5 * (mean.square() + (2.0 * log_deviation).exp() - 1.0 - 2.0 * log_deviation).sum(-1)
        times = self.gap * torch.arange(len(series), device=values.device)
        path, along = self.integrate(self, first, times)
        law = torch.distributions.Normal(self.decoder(path), self.noise, validate_args=False)
        seen = law.log_prob(series).sum((0, 2))
        return (before + along - seen).sum() / values.numel()

    def h(self, t: Tensor, z: Tensor) -> Tensor:
        """Drift of the prior."""
        with torch.enable_grad():
            place = z if z.requires_grad else z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.potential(place).sum(), place, create_graph=True)
        return -slope

    def f(self, t: Tensor, z: Tensor) -> Tensor:
        """Drift of the posterior."""
        return self.h(t, z) + self.pushed(t, z)

    def g(self, t: Tensor, z: Tensor) -> Tensor:
        """Noise of both."""
        return self.log_noise.exp().expand_as(z)

    def pushed(self, t: Tensor, z: Tensor) -> Tensor:
        """Control, given what the encoder says of the next observation."""
        k = min(int(float(t) / self.gap + 1e-3) + 1, len(self.told) - 1)
        return self.control(torch.cat([z, self.told[k]], -1))


class _WithDivergence:
    """The posterior's equation with its divergence from the prior as one more state."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, sde: NeuralSDE) -> None:
        self.sde = sde

    def f(self, t: Tensor, state: Tensor) -> Tensor:
        z = state[..., :-1]
        pushed = self.sde.pushed(t, z)
        cost = 0.5 * (pushed / self.sde.log_noise.exp()).square().sum(-1, keepdim=True)
        return torch.cat([self.sde.h(t, z) + pushed, cost], -1)

    def g(self, t: Tensor, state: Tensor) -> Tensor:
        return torch.cat([self.sde.g(t, state[..., :-1]), torch.zeros_like(state[..., -1:])], -1)


def divergence_as_state(sde: NeuralSDE, first: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Torchsde's Euler solver on path and divergence together."""
    state = torch.cat([first, torch.zeros_like(first[..., :1])], -1)
    path = torchsde.sdeint(_WithDivergence(sde), state, times, method="euler", dt=sde.gap)
    return path[..., :-1], path[-1, :, -1]


def with_logqp(sde: NeuralSDE, first: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Torchsde's own account of the divergence, ``logqp=True``."""
    path, along = torchsde.sdeint(sde, first, times, method="euler", dt=sde.gap, logqp=True)
    return path, along.sum(0)


def plain_loop(sde: NeuralSDE, first: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """A loop over Euler steps, without a library."""
    path, along, noise = [first], torch.zeros_like(first[:, 0]), sde.log_noise.exp()
    for t in times[:-1]:
        z = path[-1]
        pushed = sde.pushed(t, z)
        along = along + 0.5 * sde.gap * (pushed / noise).square().sum(-1)
        drift = sde.h(t, z) + pushed
        path.append(z + sde.gap * drift + noise * sde.gap**0.5 * torch.randn_like(z))
    return torch.stack(path), along
