"""What every emission offers, and the little that a new one must define."""

from __future__ import annotations

import pyro
import torch
from pyro.distributions import TorchDistribution
from pyro.nn import PyroModule
from torch import Tensor

from pyro_langevin.emissions.start import PrincipalAxes, best_linear_map
from pyro_langevin.observations import Observations

#: Name of a fitted quantity to its dimensions and values.
NamedParameters = dict[str, tuple[tuple[str, ...], Tensor]]


class Emission(PyroModule):
    """Distribution of the observed channels given the latent state at the same time.

    Channels are independent given the state, and a channel that is not observed says nothing. A new emission defines
    :meth:`distribution` and, so that a fit can start from the data, :meth:`set_units`, :meth:`rough_outputs`,
    :meth:`aim` and ``noise``; it should refuse data that it cannot describe in :meth:`check`. Most will derive from
    :class:`DecodedEmission`, which has a decoder.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.

    Attributes:
        n_outputs: Number of rough outputs, from which the latent coordinates start; a decoder's outputs, usually.
        blur: Standard deviation added to the rough latent states of :meth:`latent_points`: smoothed values lie tighter
            than the states behind them, and wells that start too narrow grow steep walls.
        noise: Typical size of an observation's deviation from its mean, in data units, ``(obs_dim,)``.
        independent_rows: Whether rows are independent given the states at their times. Where they are not,
            :meth:`distribution_along` says what a whole path gives, and what needs single rows is refused.
    """

    independent_rows = True
    latent_dim: int
    obs_dim: int
    n_outputs: int
    blur: float = 0.0
    noise: Tensor

    def __init__(self, latent_dim: int, obs_dim: int) -> None:
        super().__init__()
        if latent_dim < 1 or obs_dim < 1:
            raise ValueError(
                f"{type(self).__name__}: latent_dim and obs_dim must be at least 1, got {latent_dim} and {obs_dim}"
            )
        self.latent_dim, self.obs_dim = latent_dim, obs_dim

    # --- what a new emission defines

    def distribution(self, z: Tensor) -> TorchDistribution:
        """Law of every channel given states ``(*batch, latent_dim)``: batch shape ``(*batch, obs_dim)``."""
        raise NotImplementedError(f"{type(self).__name__} must define distribution(z)")

    def set_units(self, observations: Observations) -> None:
        """Fix what is measured once from the data: centres, scales, the first guess of the noise."""
        raise NotImplementedError(f"{type(self).__name__} must define set_units(observations)")

    def rough_outputs(self, observations: Observations) -> Tensor:
        """What the decoder should about give at every row, ``(series, time, n_outputs)``, 0 where nothing is known."""
        raise NotImplementedError(f"{type(self).__name__} must define rough_outputs(observations)")

    def aim(self, loadings: Tensor) -> None:
        """Start the decoder as the linear map ``(n_outputs, n_axes)`` from the first ``n_axes`` latent coordinates."""
        raise NotImplementedError(f"{type(self).__name__} must define aim(loadings)")

    def parameters_in_data_units(self) -> NamedParameters:
        """Fitted quantities to report, each with the names of its dimensions; none unless overridden."""
        return {}

    # --- what follows from it

    def decoded(self, z: Tensor) -> Tensor:
        """What the latent coordinates are measured in: the mean, or the decoder's outputs where there is a decoder."""
        return self.mean(z)

    def mean(self, z: Tensor) -> Tensor:
        """Mean of the observations in data units, ``(*batch, obs_dim)``."""
        return self.distribution(z).mean

    def check(self, observations: Observations) -> None:
        """Refuse observations that this emission cannot describe; here, another number of channels.

        Raises:
            ValueError: With what was expected, what came and the fix.
        """
        if observations.obs_dim != self.obs_dim:
            raise ValueError(
                f"observations: expected (series, time, {self.obs_dim}), got "
                f"{tuple(observations.values.shape)}; build the emission with obs_dim={observations.obs_dim} "
                "or check the axes"
            )

    @torch.no_grad()
    def initialise(self, observations: Observations) -> Tensor:
        """Start from the data: units, and the principal axes of the rough outputs as the latent coordinates.

        The latent then has about unit variance along each axis. A decoder that is not linear keeps its weights.

        Returns:
            Map ``(latent_dim, obs_dim)`` from centred values, 0 where missing, to the latent scores that they
            predict best in the least-squares sense.
        """
        self.set_units(observations)
        outputs = self.rough_outputs(observations)
        axes = PrincipalAxes.of(outputs[observations.mask.any(-1)], self.latent_dim)
        self.aim(axes.loadings)
        return best_linear_map(observations, outputs @ axes.inverse.mT)

    @torch.no_grad()
    def latent_points(self, observations: Observations) -> Tensor:
        """Rough latent states ``(n, latent_dim)`` after :meth:`initialise`, for the start of potential and first state.

        Rows in which every channel was observed, or any channel where there are no such rows.
        """
        outputs = self.rough_outputs(observations)
        axes = PrincipalAxes.of(outputs[observations.mask.any(-1)], self.latent_dim)
        complete = observations.mask.all(-1)
        rows = complete if bool(complete.any()) else observations.mask.any(-1)
        points = outputs[rows] @ axes.inverse.mT
        return points + self.blur * torch.randn_like(points) if self.blur > 0.0 else points

    def log_likelihood(self, z: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Log likelihood ``(*batch,)`` of values ``(*batch, obs_dim)`` where the mask is True, given ``z``.

        All arguments broadcast over the batch.
        """
        return torch.where(mask, self.distribution(z).log_prob(values), 0.0).sum(-1)

    def distribution_along(self, z: Tensor, observations: Observations) -> TorchDistribution:
        """Law of every channel along paths.

        Args:
            z: States at the observation times, ``(*particles, series, time, latent_dim)``.
            observations: Of the same series; only their times and lengths may be read.

        Returns:
            Of batch shape ``(*particles, series, time, obs_dim)``.
        """
        return self.distribution(z)

    def log_likelihood_along(self, z: Tensor, observations: Observations) -> Tensor:
        """Log likelihood ``(*particles, series, time)`` of every row, given paths as in :meth:`distribution_along`."""
        return self.log_likelihood(z, observations.values, observations.mask)

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Log likelihood of every observation at every point of a list of states.

        Args:
            points: States ``(n, latent_dim)``.
            values: ``(*batch, obs_dim)``.
            mask: ``(*batch, obs_dim)``, True where observed.

        Returns:
            ``(n, *batch)``.
        """
        each = points.reshape(len(points), *[1] * (values.ndim - 1), points.shape[-1])
        return self.log_likelihood(each, values, mask)

    def observe(self, z: Tensor, observations: Observations) -> None:
        """Sample site ``y`` given states at the observation times, ``(*particles, series, time, latent_dim)``."""
        self.check(observations)
        likelihood = self.distribution_along(z, observations).mask(observations.mask).to_event(2)
        pyro.sample("y", likelihood, obs=observations.values)
