"""A convolutional encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_langevin.encoders.base import Encoder
from pyro_langevin.encoders.direction import Direction, TwoSided
from pyro_langevin.observations import Observations

_NEAR = 2  # rows that the first layer looks to a side


class ConvolutionalEncoder(Encoder):
    """Two convolutions over the observed values, their mask and the gaps: contexts of the seven rows on either side.

    What lies further off is forgotten by most series before it matters to a state; where single observations say next
    to nothing (many rows until a state is known), take a :class:`RecurrentEncoder`. No loop over time: a few times
    faster, the more so on long windows and accelerators. Padding is never seen.

    From one side it is five rows.

    Args:
        obs_dim: Number of channels.
        hidden: Width of both layers, and of the context.
        direction: Which observations a context knows of: those on both sides (:class:`TwoSided`), those to come
            (:class:`Smoothing`) or those so far (:class:`Filtering`).
        autocast: Precision of the products of matrices: ``torch.bfloat16`` is faster on machines that have it.
    """

    def __init__(
        self,
        obs_dim: int,
        hidden: int = 64,
        *,
        direction: Direction = TwoSided(),
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(obs_dim, hidden, direction, autocast=autocast)
        behind = 0 if direction.looks_ahead and direction.passes == 1 else 1
        ahead = 1 if direction.looks_ahead else 0
        self.sides = behind, ahead
        width = 1 + _NEAR * (behind + ahead)
        self.near = nn.Conv1d(self.input_dim, hidden, width)
        # no row is seen twice, and none left out
        self.far = nn.Conv1d(hidden, hidden, 1 + behind + ahead, dilation=width)

    def contexts(self, inputs: Tensor, observations: Observations) -> Tensor:
        inside = observations.inside.unsqueeze(1).to(inputs)
        hidden = inputs.mT
        for layer, reach in ((self.near, _NEAR), (self.far, self.far.dilation[0])):
            # rows beyond a series' end are nought, as those beyond the window are
            padded = nn.functional.pad(hidden * inside, [reach * side for side in self.sides])
            hidden = nn.functional.silu(layer(padded))
        return hidden.mT
