"""A recurrent encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_langevin.encoders.base import Encoder
from pyro_langevin.encoders.direction import Direction, TwoSided
from pyro_langevin.observations import Observations


class RecurrentEncoder(Encoder):
    """GRU over the observed values, their mask and the gaps between them.

    Padding is never seen, so a padded series has the context of the same series alone.

    Args:
        obs_dim: Number of channels.
        hidden: Width of the GRU in each direction.
        direction: Which observations a context knows of: all (:class:`TwoSided`), those to come
            (:class:`Smoothing`) or those so far (:class:`Filtering`).
        autocast: Precision of the products of matrices: ``torch.bfloat16`` is faster on machines that have it.

    Attributes:
        context_dim: Width of the context: ``hidden``, or ``2 * hidden`` from both sides.
    """

    def __init__(
        self,
        obs_dim: int,
        hidden: int = 64,
        *,
        direction: Direction = TwoSided(),
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(obs_dim, hidden, direction, layers=direction.passes, autocast=autocast)
        self.recurrent = nn.GRU(self.input_dim, hidden, batch_first=True, bidirectional=direction.passes == 2)

    def contexts(self, inputs: Tensor, observations: Observations) -> Tensor:
        return self.direction.run(self.recurrent, inputs, observations.lengths)
