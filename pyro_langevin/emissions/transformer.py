"""An emission behind a transformer: what is seen at a time depends on the whole path."""

from __future__ import annotations

from typing import NoReturn

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_langevin.attention import TimeAttention
from pyro_langevin.emissions.base import Emission
from pyro_langevin.observations import Observations


class TransformerEmission(Emission):
    r"""Transformer over the path, and any emission of what it makes of each row.

    .. math:: f = \mathrm{transformer}(z_{0:T}),\qquad y_t \sim p(y_t \mid f_t)

    The decoder of LangevinFlow (Song et al. 2025, arXiv:2507.11531) has one layer. It starts as the emission alone,
    with the latent coordinates as the first features. Padding is never seen, and times may be irregular.

    Observations are then **not** independent given the states at their times. What goes along a path works: ``fit``
    on the ELBO, draws, log likelihoods of paths. What needs the likelihood of a single row, the exact evidence,
    particle filters and leave-future-out, is refused by name. ``distribution(z)``, ``mean(z)`` and the places of states
    are those of a path that *rests* at ``z``.

    Take a plain emission where the question is one of states: a decoder that mixes times can do what the dynamics
    should, and then the potential says little about the data.

    Args:
        latent_dim: Dimension of the latent state.
        emission: Emission of the features; its ``latent_dim`` is their number, a multiple of ``2 * heads`` and at
            least that of the latent state.
        layers: Number of layers.
        heads: Heads of a layer.

    Raises:
        ValueError: If the features are fewer than the latent coordinates or do not suit the heads, or the emission
            reads whole paths itself.
    """

    independent_rows = False
    gap: Tensor

    def __init__(self, latent_dim: int, emission: Emission, *, layers: int = 1, heads: int = 4) -> None:
        super().__init__(latent_dim, emission.obs_dim)
        width = emission.latent_dim
        if width < latent_dim:
            raise ValueError(
                f"TransformerEmission: expected an emission of at least {latent_dim} features, got {width}; build it "
                f"with a larger latent_dim, such as {16 * -(-latent_dim // 16)}"
            )
        if not emission.independent_rows:
            raise ValueError(
                "TransformerEmission: expected an emission of single rows, got one that reads whole paths itself; give "
                "this one more layers"
            )
        self.emission = emission
        self.n_outputs, self.blur = emission.n_outputs, emission.blur
        self.register_buffer("gap", torch.ones(()))
        self.embedding = nn.Linear(latent_dim, width)
        self.layers = nn.ModuleList(TimeAttention(width, heads) for _ in range(layers))
        with torch.no_grad():
            self.embedding.bias.zero_()
            self.embedding.weight.normal_(std=0.3)
            self.embedding.weight[:latent_dim] = torch.eye(latent_dim)

    @property
    def noise(self) -> Tensor:
        """Typical deviation of each channel from its mean, in data units, ``(obs_dim,)``."""
        return self.emission.noise

    def features(self, z: Tensor, observations: Observations) -> Tensor:
        """What the transformer makes of paths.

        Args:
            z: States at the observation times, ``(*particles, series, time, latent_dim)``.
            observations: Of the same series: their times and lengths are read.

        Returns:
            ``(*particles, series, time, width)``.
        """
        times = ((observations.times - observations.times[:, :1]) / self.gap).to(z)
        row = torch.arange(observations.n_times, device=z.device)
        seen = observations.inside.unsqueeze(-2) | (row[:, None] == row)
        return self._transformed(z, times, seen)

    def _transformed(self, z: Tensor, times: Tensor, seen: Tensor) -> Tensor:
        rows = self.embedding(z)
        for layer in self.layers:
            rows = layer(rows, times, seen)
        return rows

    def _resting(self, z: Tensor) -> Tensor:
        """Features of paths that rest at each of some states ``(*batch, latent_dim)``: of one row, as all are alike."""
        alone = torch.ones(1, 1, dtype=torch.bool, device=z.device)
        return self._transformed(z.unsqueeze(-2), z.new_zeros(1), alone).squeeze(-2)

    def distribution(self, z: Tensor) -> TorchDistribution:
        """Law of every channel while the path rests at ``z``, batch shape ``(*batch, obs_dim)``."""
        return self.emission.distribution(self._resting(z))

    def distribution_along(self, z: Tensor, observations: Observations) -> TorchDistribution:
        return self.emission.distribution(self.features(z, observations))

    def log_likelihood_along(self, z: Tensor, observations: Observations) -> Tensor:
        features = self.features(z, observations)
        return self.emission.log_likelihood(features, observations.values, observations.mask)

    def decoded(self, z: Tensor) -> Tensor:
        """What the emission decodes while the path rests at ``z``."""
        return self.emission.decoded(self._resting(z))

    def mean(self, z: Tensor) -> Tensor:
        """Mean of the observations while the path rests at ``z``, ``(*batch, obs_dim)``."""
        return self.emission.mean(self._resting(z))

    def log_likelihood(self, z: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Refused: a row's values depend on the whole path."""
        return _refuse()

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Refused: a row's values depend on the whole path."""
        return _refuse()

    def check(self, observations: Observations) -> None:
        self.emission.check(observations)

    def set_units(self, observations: Observations) -> None:
        self.gap.fill_(observations.typical_gap)
        self.emission.set_units(observations)

    def rough_outputs(self, observations: Observations) -> Tensor:
        return self.emission.rough_outputs(observations)

    @torch.no_grad()
    def aim(self, loadings: Tensor) -> None:
        """Start the emission's decoder from the features that are the latent coordinates."""
        self.emission.aim(loadings)


def _refuse() -> NoReturn:
    raise TypeError(
        "TransformerEmission: expected a whole path, got states of single rows, whose likelihood it has not; use "
        "log_likelihood_along(z, observations), or an emission without a transformer"
    )
