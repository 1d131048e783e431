"""Attention over the rows of a series, at any times."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_SLOWEST = 100.0  # rows: beyond this distance the slowest angle no longer tells how far apart two rows are
_NEAREST, _FARTHEST = 2.0, 64.0  # rows over which the shortest- and the longest-sighted head forget, at the start


class TimeAttention(nn.Module):
    r"""Transformer layer over time: attention and a feed-forward network, each added to what it reads.

    What row ``s`` says to row ``t`` depends on what both hold and on the time between them, never on when it is:

    .. math:: w_{ts} \propto \exp\Bigl(\tfrac{1}{\sqrt d}\,q_t^\top R(\tau_s - \tau_t)\,k_s
        - \lambda\,|\tau_s - \tau_t|\Bigr)

    with rotations ``R`` by angles in proportion to the time (rotary embeddings: Su et al. 2021) and a learned rate of
    forgetting for each head. Times need not be equally spaced. The values that are mixed do not know their times, so
    that a series that rests, the same in all rows, comes out as one row alone would.

    At the start the layer changes nothing.

    Args:
        width: Width of the rows.
        heads: Number of heads; each has ``width / heads`` features, an even number.
    """

    rates: Tensor

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        if heads < 1 or width % (2 * heads):
            raise ValueError(
                f"TimeAttention: expected a width that is a multiple of twice the number of heads, got a width of "
                f"{width} and {heads} heads; take a width of {2 * max(heads, 1) * max(1, width // (2 * max(heads, 1)))}"
            )
        self.heads, half = heads, width // (2 * heads)
        self.register_buffer("rates", _SLOWEST ** -(torch.arange(half) / half))
        sight = torch.logspace(math.log10(_NEAREST), math.log10(_FARTHEST), heads)
        self.log_forgetting = nn.Parameter(-sight.log())
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        for layer in (self.answer, self.outer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, rows: Tensor, times: Tensor, seen: Tensor) -> Tensor:
        """Rows after the layer, ``(*batch, time, width)``.

        Args:
            rows: ``(*batch, time, width)``.
            times: In units of a typical gap, ``(*batch, time)``, broadcastable.
            seen: ``(*batch, time, time)``, broadcastable: True where the row of the first axis may attend to that of
                the second. Every row must see one at least.
        """
        rows = rows + self.answer(self._mixed(self.before(rows), times, seen))
        return rows + self.outer(nn.functional.silu(self.inner(self.between(rows))))

    def _mixed(self, rows: Tensor, times: Tensor, seen: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in self.ask(rows).chunk(3, -1)
        )
        angle = (times.unsqueeze(-1) * self.rates).unsqueeze(-3).to(rows)
        query, key = _rotated(query, angle), _rotated(key, angle)
        distance = (times.unsqueeze(-1) - times.unsqueeze(-2)).abs().unsqueeze(-3).to(rows)
        bias = -self.log_forgetting.exp()[:, None, None] * distance
        weight = query @ key.mT / math.sqrt(query.shape[-1]) + bias
        weight = weight.masked_fill(~seen.unsqueeze(-3), -math.inf).softmax(-1)
        return (weight @ value).transpose(-2, -3).flatten(-2)


def _rotated(features: Tensor, angle: Tensor) -> Tensor:
    """Features ``(*, time, 2 n)``, taken as n points of the plane, turned by angles ``(*, time, n)``."""
    x, y = features.chunk(2, -1)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([x * cosine - y * sine, x * sine + y * cosine], -1)
