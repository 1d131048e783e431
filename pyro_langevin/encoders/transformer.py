"""A transformer encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_langevin.attention import TimeAttention
from pyro_langevin.encoders.base import Encoder
from pyro_langevin.encoders.direction import Direction, TwoSided
from pyro_langevin.observations import Observations


class TransformerEncoder(Encoder):
    """Attention over the observed values, their mask and the gaps: contexts of all rows that the direction allows.

    No loop over time, and any row may say something to any other, however far off. The cost grows with the square of
    the window's length: take it for windows of a few hundred rows at most. It needs more data and iterations than a
    :class:`RecurrentEncoder` until it has found out what is near. Padding is never seen.

    Args:
        obs_dim: Number of channels.
        hidden: Width of the layers, and of the context; a multiple of ``2 * heads``.
        direction: Which observations a context knows of: all (:class:`TwoSided`), those to come
            (:class:`Smoothing`) or those so far (:class:`Filtering`).
        layers: Number of layers.
        heads: Heads of a layer.
    """

    def __init__(
        self, obs_dim: int, hidden: int = 64, *, direction: Direction = TwoSided(), layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__(obs_dim, hidden, direction)
        if layers < 1:
            raise ValueError(f"TransformerEncoder: expected at least one layer, got {layers}")
        self.embedding = nn.Linear(self.input_dim, hidden)
        self.layers = nn.ModuleList(TimeAttention(hidden, heads) for _ in range(layers))
        self.last = nn.LayerNorm(hidden)

    def contexts(self, inputs: Tensor, observations: Observations) -> Tensor:
        seen = self._seen(observations)
        times = ((observations.times - observations.times[:, :1]) / self.gap).to(inputs)
        rows = self.embedding(inputs)
        for layer in self.layers:
            rows = layer(rows, times, seen)
        return self.last(rows)

    def _seen(self, observations: Observations) -> Tensor:
        """Which rows each row may know of, ``(series, time, time)``: padding only of itself."""
        row = torch.arange(observations.n_times, device=observations.values.device)
        allowed = torch.ones_like(row[:, None] == row)
        if self.direction.passes == 1:
            allowed = row[:, None] <= row if self.direction.looks_ahead else row[:, None] >= row
        return (allowed & observations.inside.unsqueeze(-2)) | (row[:, None] == row)
