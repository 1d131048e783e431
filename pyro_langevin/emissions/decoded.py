"""Emissions whose parameters come out of a decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_langevin.emissions.base import Emission, NamedParameters


class DecodedEmission(Emission):
    """Emission with a decoder, linear or any module, from the latent state to what parametrises the channels.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        n_outputs: Number of outputs of the decoder; one a channel when omitted.
        decoder: Module from ``(*, latent_dim)`` to ``(*, n_outputs)``; linear when omitted.
    """

    def __init__(
        self, latent_dim: int, obs_dim: int, *, n_outputs: int | None = None, decoder: nn.Module | None = None
    ) -> None:
        super().__init__(latent_dim, obs_dim)
        self.n_outputs = obs_dim if n_outputs is None else n_outputs
        self.decoder = nn.Linear(latent_dim, self.n_outputs) if decoder is None else decoder

    def decoded(self, z: Tensor) -> Tensor:
        """The decoder's outputs, ``(*batch, n_outputs)``."""
        outputs = self.decoder(z)
        if outputs.shape[-1] != self.n_outputs:  # a single output would be broadcast over the channels in silence
            raise ValueError(
                f"{type(self).__name__}: expected a decoder with {self.n_outputs} outputs, got {outputs.shape[-1]}; "
                f"end it with {self.n_outputs} units"
            )
        return outputs

    @torch.no_grad()
    def aim(self, loadings: Tensor) -> None:
        if not isinstance(self.decoder, nn.Linear):
            return
        if self.decoder.bias is not None:
            self.decoder.bias.zero_()
        self.decoder.weight.normal_(std=0.1)  # of dimensions beyond the axes
        self.decoder.weight[:, : loadings.shape[-1]] = loadings

    def linear_parameters(self, shift: Tensor, scale: Tensor, *, rows: str = "channel") -> NamedParameters:
        """``weight`` and ``bias`` of ``shift + scale * decoder(z)``; nothing if the decoder is not linear.

        Args:
            shift: ``(n_outputs,)``.
            scale: ``(n_outputs,)``.
            rows: Name of the dimension of the outputs.
        """
        if not isinstance(self.decoder, nn.Linear):
            return {}
        bias = torch.zeros_like(shift) if self.decoder.bias is None else self.decoder.bias
        return {
            "weight": ((rows, "latent_dim"), scale.unsqueeze(-1) * self.decoder.weight),
            "bias": ((rows,), shift + scale * bias),
        }
