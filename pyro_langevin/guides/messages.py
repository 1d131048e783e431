"""From contexts at the observation times to one Gaussian message at every inner step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_langevin.observations import Observations
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.time_grid import TimeGrid


@dataclass(frozen=True, eq=False)
class StepOutputs:
    """What the observations say about the path, time leftmost.

    Attributes:
        first_loc: ``(*batch, dim)``, where the path starts.
        first_scale: ``(*batch, dim)``.
        first_mix: ``(*batch, dim, dim)``, lower triangular with a diagonal of ones: how the first state's coordinates
            go together. Its covariance has the factor ``diag(first_scale) @ first_mix``.
        centre: ``(n_steps, *batch, dim)``, where the state after each step should be.
        root: ``(n_steps, *batch, dim, dim)``, lower triangular; ``root @ root.T`` is the message's precision in
            the units of the dynamics' :class:`~pyro_langevin.guides.frame.Frame`, so that gains do not change with
            the learned diffusion.
        memory: ``(n_steps, *batch, dim)`` in (0, 1), extra decay of a Gauss-Markov path's residual.
    """

    first_loc: Tensor
    first_scale: Tensor
    first_mix: Tensor
    centre: Tensor
    root: Tensor
    memory: Tensor

    def padded(self, ndim: int) -> StepOutputs:
        """Room for batch dimensions of sampled parameters: time-leftmost states of ``ndim`` dimensions."""
        root = pad_batch(self.root, ndim + 1)
        centre, memory = pad_batch(self.centre, ndim), pad_batch(self.memory, ndim)
        return StepOutputs(self.first_loc, self.first_scale, self.first_mix, centre, root, memory)

    def path(self) -> Tensor:
        """Where the path starts and where it should be after each step, ``(n_steps + 1, *batch, dim)``."""
        return torch.cat([pad_batch(self.first_loc.unsqueeze(0), self.centre.dim()), self.centre])


class MessageHead(nn.Module):
    """Network from contexts to messages, continuous in the position within an observation interval.

    It can therefore be read on any grid: refining the step needs no new guide.

    Args:
        context_dim: Width of the encoder's context.
        latent_dim: Dimension of the state.
        obs_dim: Number of channels; their values reach the messages directly as well.
        hidden: Width of the hidden layer.
    """

    outspoken: Tensor

    def __init__(self, context_dim: int, latent_dim: int, obs_dim: int, hidden: int = 96) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("outspoken", torch.tensor(0.5))
        self.direct = nn.Linear(obs_dim, latent_dim, bias=False)
        self.place = nn.Linear(context_dim, latent_dim)
        self.interval = nn.Linear(2 * context_dim + 2 * latent_dim, hidden)
        self.position = nn.Linear(4, hidden, bias=False)
        n_below = latent_dim * (latent_dim - 1) // 2
        self.first = nn.Linear(context_dim, 2 * latent_dim + n_below)
        self.sizes = [latent_dim, latent_dim, n_below, latent_dim]
        self.output = nn.Linear(hidden, sum(self.sizes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the outgoing layers anew, small: the guide starts from what the observations say directly."""
        for layer in (self.place, self.first, self.output):
            nn.init.normal_(layer.weight, std=1e-2)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def initialise(self, scores: Tensor, strength: float) -> None:
        """Start from what single observations say.

        Args:
            scores: Map from standardised values to latent scores, ``(size, obs_dim)``; observations say nothing
                directly of the coordinates beyond ``size``, such as momenta.
            strength: Strength of the messages at observations, e times that between them where it is one.
        """
        self.direct.weight.zero_()
        self.direct.weight[: len(scores)].copy_(scores)
        self.outspoken.fill_(min(max(math.log(strength), -1.0), 3.0))

    def forward(self, values: Tensor, context: Tensor, grid: TimeGrid) -> StepOutputs:
        """Messages on a grid.

        Args:
            values: Standardised observations, 0 where missing, ``(series, time, obs_dim)``.
            context: ``(series, time, context_dim)``.
            grid: Grid over the same series.
        """
        target = self.direct(values) + self.place(context)
        offset, log_scale, mixed = self.first(context[:, 0]).split(
            [self.latent_dim, self.latent_dim, self.sizes[2]], -1
        )
        before, after = target[:, :-1], target[:, 1:]
        pair = self.interval(torch.cat([context[:, :-1], context[:, 1:], before, after], -1))
        fraction = grid.fraction.to(values)
        interval = grid.interval.to(values.device)
        features = self._features(fraction)
        hidden = nn.functional.silu(_gathered(pair, interval) + self.position(features))
        bump, log_diagonal, below, decay = self.output(hidden).split(self.sizes, -1)
        along = fraction.unsqueeze(-1)
        line = _gathered(before, interval) * (1.0 - along) + _gathered(after, interval) * along
        centre = line + 4.0 * along * (1.0 - along) * bump
        # silent-ish between observations, outspoken at them
        start = (self.outspoken + 1.0) * features[..., 3:] - 1.0
        root = torch.diag_embed((log_diagonal + start).clamp(-12.0, 8.0).exp())
        mix = torch.eye(self.latent_dim).to(mixed).expand(*mixed.shape[:-1], -1, -1)
        if self.latent_dim > 1:
            rows, columns = torch.tril_indices(self.latent_dim, self.latent_dim, -1, device=root.device)
            root = root.clone()
            root[..., rows, columns] = below * root.diagonal(dim1=-2, dim2=-1)[..., rows]
            mix = mix.clone()
            mix[..., rows, columns] = mixed
        memory = torch.sigmoid(decay + 2.0)
        steps_first = (part.movedim(1, 0) for part in (centre, root, memory))
        return StepOutputs(target[:, 0] + offset, (log_scale - 1.5).exp(), mix, *steps_first)

    @staticmethod
    def _features(fraction: Tensor) -> Tensor:
        at_observation = (fraction == 1.0).to(fraction)
        return torch.stack([fraction, fraction.square(), 4.0 * fraction * (1.0 - fraction), at_observation], -1)


def standardised(observations: Observations, shift: Tensor, scale: Tensor) -> Tensor:
    """Values in standard units, 0 where missing."""
    return (observations.values - shift) / scale * observations.mask


def _gathered(per_interval: Tensor, interval: Tensor) -> Tensor:
    """Rows ``(series, interval, *)`` repeated onto steps ``(series, n_steps, *)``."""
    index = interval.unsqueeze(-1).expand(*interval.shape, per_interval.shape[-1])
    return per_interval.gather(1, index)
