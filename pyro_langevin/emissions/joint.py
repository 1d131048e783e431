"""Channels of different kinds, read from one latent path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_langevin.emissions.base import Emission, NamedParameters
from pyro_langevin.emissions.side_by_side import SideBySide
from pyro_langevin.observations import Observations


class JointEmission(Emission):
    """Several emissions of one latent state, each for its own channels: the first takes the first channels, and so on.

    Channels that were not measured at the same times are put together by :func:`~pyro_langevin.join_channels`.

    Args:
        emissions: The parts, of the same ``latent_dim``, in the order of the channels.

    Attributes:
        parts: The emissions.
        channels: Slice of the channels of each part.
    """

    parts: Sequence[Emission]

    def __init__(self, emissions: Sequence[Emission]) -> None:
        dims = sorted({part.latent_dim for part in emissions})
        if len(dims) != 1:
            raise ValueError(
                f"JointEmission: expected emissions of one latent_dim, got {dims or 'no emissions'}; build all with "
                "the dimension of the dynamics"
            )
        if not all(part.independent_rows for part in emissions):
            raise ValueError(
                "JointEmission: expected emissions of single rows, got one that reads whole paths; put the transformer "
                "in front of all: TransformerEmission(latent_dim, JointEmission([...]))"
            )
        super().__init__(dims[0], sum(part.obs_dim for part in emissions))
        self.blur = max(part.blur for part in emissions)
        self.n_outputs = sum(part.n_outputs for part in emissions)
        # a plain ModuleList would hide the parts from Pyro: their parameters would have no sites of their own names
        self.parts = PyroModule[nn.ModuleList](emissions)  # type: ignore[assignment, arg-type]
        ends = accumulate(part.obs_dim for part in emissions)
        self.channels = [slice(end - part.obs_dim, end) for part, end in zip(emissions, ends, strict=True)]

    @property
    def noise(self) -> Tensor:
        """Typical deviation of each channel from its mean, in data units, ``(obs_dim,)``."""
        return torch.cat([part.noise for part in self.parts])

    def check(self, observations: Observations) -> None:
        """Refuse another number of channels, and what a part refuses in its own."""
        super().check(observations)
        for part, own in zip(self.parts, self._split(observations), strict=True):
            part.check(own)

    def distribution(self, z: Tensor) -> SideBySide:
        return SideBySide([part.distribution(z) for part in self.parts])

    def decoded(self, z: Tensor) -> Tensor:
        """The parts' outputs, ``(*batch, n_outputs)``."""
        return torch.cat([part.decoded(z) for part in self.parts], -1)

    def mean(self, z: Tensor) -> Tensor:
        return torch.cat([part.mean(z) for part in self.parts], -1)

    def log_likelihood(self, z: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        terms = [
            part.log_likelihood(z, values[..., own], mask[..., own])
            for part, own in zip(self.parts, self.channels, strict=True)
        ]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0)

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        tables = [
            part.log_likelihood_table(points, values[..., own], mask[..., own])
            for part, own in zip(self.parts, self.channels, strict=True)
        ]
        return torch.stack(tables).sum(0)

    def set_units(self, observations: Observations) -> None:
        for part, own in zip(self.parts, self._split(observations), strict=True):
            part.set_units(own)

    def rough_outputs(self, observations: Observations) -> Tensor:
        """The parts' outputs side by side, each carried over the rows at which its channels were not observed.

        Parts that are never observed together would otherwise share no axis.
        """
        outputs = [
            _carried(part.rough_outputs(own), own.mask.any(-1))
            for part, own in zip(self.parts, self._split(observations), strict=True)
        ]
        return torch.cat(outputs, -1)

    def aim(self, loadings: Tensor) -> None:
        for part, own in zip(self.parts, loadings.split([part.n_outputs for part in self.parts]), strict=True):
            part.aim(own)

    def parameters_in_data_units(self) -> NamedParameters:
        """Those of the parts; names and dimensions of channels end in the number of the part, as in ``weight_0``."""
        return {
            f"{name}_{i}": (tuple(dim if dim == "latent_dim" else f"{dim}_{i}" for dim in dims), value)
            for i, part in enumerate(self.parts)
            for name, (dims, value) in part.parameters_in_data_units().items()
        }

    def _split(self, observations: Observations) -> list[Observations]:
        everything = range(observations.obs_dim)
        return [observations.select_channels(everything[own]) for own in self.channels]


def _carried(outputs: Tensor, known: Tensor) -> Tensor:
    """Outputs ``(series, time, n)`` of the last known row, of the first one before it, where a row is not known."""
    rows = torch.arange(known.shape[1], device=known.device).expand(known.shape)
    last = torch.where(known, rows, -1).cummax(1).values
    first = known.to(torch.uint8).argmax(1, keepdim=True)
    source = torch.where(last < 0, first, last).unsqueeze(-1).expand(outputs.shape)
    return outputs.gather(1, source)
