"""Distributions of different kinds, side by side along the last batch dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints


class SideBySide(TorchDistribution):
    """Independent scalars of different kinds: channels of the first part, then of the second, ...

    Log densities of counts are with respect to counting measure, those of real values to Lebesgue measure.

    Args:
        parts: Distributions of batch shape ``(*batch, own channels)`` and empty event shape, over the same batch.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real
    has_rsample = False

    def __init__(self, parts: Sequence[TorchDistribution]) -> None:
        self.parts = list(parts)
        self.widths = [part.batch_shape[-1] for part in self.parts]
        # each part checks its own values
        super().__init__(torch.Size([*self.parts[0].batch_shape[:-1], sum(self.widths)]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Means of all channels; NaN where a part has none, as kinds without order do."""
        return torch.cat([part.mean for part in self.parts], -1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return torch.cat([part.sample(sample_shape) for part in self.parts], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        values = value.split(self.widths, -1)
        terms = [part.log_prob(own) for part, own in zip(self.parts, values, strict=True)]
        return torch.cat(terms, -1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> SideBySide:
        batch = torch.Size(batch_shape)
        if batch[-1] != sum(self.widths):
            raise ValueError(
                f"SideBySide: expected a batch shape that ends in {sum(self.widths)} channels, got {tuple(batch)}"
            )
        return SideBySide(
            [part.expand(batch[:-1] + (width,)) for part, width in zip(self.parts, self.widths, strict=True)]
        )
