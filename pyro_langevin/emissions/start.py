"""Where a latent space starts: principal axes of what the data say about the decoder's outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.observations import Observations

_NO_VARIANCE = 1e-6
_COLLINEAR = 1e-8  # share of the largest variance below which a combination of channels is taken for constant


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Leading axes of rows ``(n, n_outputs)``, scaled so that the latent has unit variance along each.

    Attributes:
        loadings: ``(n_outputs, n_axes)``; there are no more axes than outputs.
        inverse: ``(latent_dim, n_outputs)``, from outputs to latent coordinates; 0 beyond ``n_axes``.
    """

    loadings: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, rows: Tensor, latent_dim: int) -> PrincipalAxes:
        """Axes through the origin: rows are taken to be centred."""
        axes, spread, _ = torch.linalg.svd(rows.T @ rows / len(rows))
        n_axes = min(latent_dim, rows.shape[1])
        scale = spread[:n_axes].clamp_min(_NO_VARIANCE).sqrt()
        inverse = rows.new_zeros(latent_dim, rows.shape[1])
        inverse[:n_axes] = (axes[:, :n_axes] / scale).T
        return cls(axes[:, :n_axes] * scale, inverse)


def observed_mean(observations: Observations) -> Tensor:
    """Mean of the observed values of each channel, ``(obs_dim,)``."""
    return observations.values.sum((0, 1)) / observations.mask.sum((0, 1)).clamp_min(1)


def centred_values(observations: Observations) -> Tensor:
    """Values less the mean of their channel, 0 where missing."""
    return (observations.values - observed_mean(observations)) * observations.mask


def observed_deviation(observations: Observations) -> Tensor:
    """Standard deviation of the observed values of each channel, ``(obs_dim,)``; 1 where they do not vary."""
    count = observations.mask.sum((0, 1)).clamp_min(1)
    deviation = (centred_values(observations).square().sum((0, 1)) / count).sqrt()
    return torch.where(deviation > 0.0, deviation, 1.0)


def best_linear_map(observations: Observations, targets: Tensor) -> Tensor:
    """Least-squares map ``(dim, obs_dim)`` from centred values, 0 where missing, to targets ``(series, time, dim)``."""
    seen = observations.mask.any(-1)
    unit = observed_deviation(observations).double()
    inputs = centred_values(observations)[seen].double() / unit
    products = targets[seen].double().mT @ inputs
    inverse = torch.linalg.pinv(inputs.mT @ inputs, rtol=_COLLINEAR, hermitian=True)
    return (products @ inverse / unit).to(targets)
