"""From contexts at the observation times to one Gaussian message at every inner step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
        strength: ``(n_steps, *batch, dim)``, diagonal of the messages' root.
        skew: ``(n_steps, *batch, dim (dim - 1) / 2)``, what is below it, row by row, relative to it; nothing (0
            entries) where coordinates do not go together.
        memory: ``(n_steps, *batch, dim)`` in (0, 1), extra decay of a Gauss-Markov path's residual.
    """

    first_loc: Tensor
    first_scale: Tensor
    first_mix: Tensor
    centre: Tensor
    strength: Tensor
    skew: Tensor
    memory: Tensor

    @property
    def coupled(self) -> bool:
        """Whether coordinates go together, in messages and in the first state."""
        return self.skew.shape[-1] > 0

    @property
    def root(self) -> Tensor:
        """``(n_steps, *batch, dim, dim)``, lower triangular; ``root @ root.T`` is the message's precision.

        It is in the units of the dynamics' :class:`~pyro_langevin.guides.frame.Frame`, so that gains do not change with
        the learned diffusion.
        """
        if not self.coupled:
            return torch.diag_embed(self.strength)
        rows = _below(self.strength)[0]
        return lower_triangular(self.strength, self.skew * self.strength[..., rows])

    def padded(self, ndim: int) -> StepOutputs:
        """Room for batch dimensions of sampled parameters: time-leftmost states of ``ndim`` dimensions."""
        steps = (pad_batch(part, ndim) for part in (self.centre, self.strength, self.skew, self.memory))
        return StepOutputs(self.first_loc, self.first_scale, self.first_mix, *steps)

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
        coupled: Whether coordinates go together.
    """

    outspoken: Tensor

    def __init__(
        self, context_dim: int, latent_dim: int, obs_dim: int, hidden: int = 96, *, coupled: bool = True
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("outspoken", torch.tensor(0.5))
        self.direct = nn.Linear(obs_dim, latent_dim, bias=False)
        self.place = nn.Linear(context_dim, latent_dim)
        self.interval = nn.Linear(2 * context_dim + 2 * latent_dim, hidden)
        self.position = nn.Linear(4, hidden, bias=False)
        n_below = latent_dim * (latent_dim - 1) // 2 if coupled else 0
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

    def forward(self, values: Tensor, seen: Tensor, context: Tensor, grid: TimeGrid) -> StepOutputs:
        """Messages on a grid.

        Args:
            values: Standardised observations, missing ones interpolated, ``(series, time, obs_dim)``.
            seen: Share of the channels that were observed, ``(series, time, 1)``: the less, the less outspoken.
            context: ``(series, time, context_dim)``.
            grid: Grid over the same series.
        """
        target = self.direct(values) + self.place(context)
        offset, log_scale, mixed = self.first(context[:, 0]).split(
            [self.latent_dim, self.latent_dim, self.sizes[2]], -1
        )
        fraction = grid.fraction.to(values)
        interval = grid.interval.to(values.device)
        features = self._features(fraction)
        pair = self._of_intervals(context, target)
        hidden = nn.functional.silu(_gathered(pair, interval) + self.position(features))
        bump, log_diagonal, below, decay = self.output(hidden).split(self.sizes, -1)
        along = fraction.unsqueeze(-1)
        line = _gathered(target[:, :-1], interval) * (1.0 - along) + _gathered(target[:, 1:], interval) * along
        centre = line + 4.0 * along * (1.0 - along) * bump
        # silent-ish between observations, outspoken at them
        told = _gathered(seen[:, 1:], interval)
        start = (self.outspoken + 1.0) * features[..., 3:] * told - 1.0
        strength = (log_diagonal + start).clamp(-12.0, 8.0).exp()
        mix = lower_triangular(torch.ones_like(offset), mixed)
        memory = torch.sigmoid(decay + 2.0)
        steps_first = (part.movedim(1, 0) for part in (centre, strength, below, memory))
        return StepOutputs(target[:, 0] + offset, (log_scale - 1.5).exp(), mix, *steps_first)

    def _of_intervals(self, context: Tensor, target: Tensor) -> Tensor:
        """The first layer on what is known at both ends of every interval, ``(series, interval, hidden)``.

        Each end's product is taken once for every observation, rather than laid side by side for every interval.
        """
        widths = [context.shape[-1], context.shape[-1], self.latent_dim, self.latent_dim]
        of_context, of_next_context, of_target, of_next_target = self.interval.weight.split(widths, -1)
        before = context @ of_context.mT + target @ of_target.mT
        after = context @ of_next_context.mT + target @ of_next_target.mT
        return before[:, :-1] + after[:, 1:] + self.interval.bias

    @staticmethod
    def _features(fraction: Tensor) -> Tensor:
        at_observation = (fraction == 1.0).to(fraction)
        return torch.stack([fraction, fraction.square(), 4.0 * fraction * (1.0 - fraction), at_observation], -1)


def _gathered(per_interval: Tensor, interval: Tensor) -> Tensor:
    """Rows ``(series, interval, *)`` repeated onto steps ``(series, n_steps, *)``."""
    if interval.shape[-1] == per_interval.shape[1]:
        return per_interval  # one step in every interval
    index = interval.unsqueeze(-1).expand(*interval.shape, per_interval.shape[-1])
    return per_interval.gather(1, index)


def lower_triangular(diagonal: Tensor, below: Tensor) -> Tensor:
    """Matrices ``(*batch, dim, dim)`` with a diagonal ``(*batch, dim)`` and what is below it, row by row."""
    if below.shape[-1] == 0:
        return torch.diag_embed(diagonal)
    dim = diagonal.shape[-1]
    rows, columns = _below(diagonal)
    place = diagonal.new_zeros(dim + len(rows), dim * dim)
    place[torch.arange(dim), torch.arange(dim) * (dim + 1)] = 1.0
    place[dim + torch.arange(len(rows)), rows * dim + columns] = 1.0
    return (torch.cat([diagonal, below], -1) @ place).unflatten(-1, (dim, dim))


def _below(like: Tensor) -> Tensor:
    """Rows and columns below the diagonal of a matrix of as many dimensions, ``(2, dim (dim - 1) / 2)``."""
    return torch.tril_indices(like.shape[-1], like.shape[-1], -1, device=like.device)
