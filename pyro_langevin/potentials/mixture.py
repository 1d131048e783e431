"""Potential of a Gaussian mixture: U = -log of its density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.potentials.base import ClosedFormPotential, LocalExpansion, rows_times
from pyro_langevin.potentials.parameters import refuse_unsampled


class MixturePotential(ClosedFormPotential):
    r"""Potential whose Boltzmann law (at temperature 1) is a Gaussian mixture.

    .. math:: U(z) = -\log \sum_k w_k \, \mathcal N(z;\, \mu_k, P_k^{-1})

    Confining by construction, with wells as sharp as the data want them (a small network cannot be
    sharp), an exact stationary law and closed-form derivatives of all orders. Components of low weight
    shape the barriers.

    Args:
        dim: Dimension of the latent space.
        components: Number of Gaussians; several times the number of states expected, for a well of one component alone
            cannot shape its barriers. By default 8 per dimension.
        spread: Standard deviation of the initial component centres.
        width: Initial standard deviation of every component.

    Attributes:
        centres: ``(components, dim)``.
        logits: ``(components,)``, unnormalised log weights.
    """

    def __init__(self, dim: int, components: int | None = None, *, spread: float = 1.0, width: float = 0.7) -> None:
        super().__init__(dim)
        components = 8 * dim if components is None else components
        if components < 1:
            raise ValueError(f"MixturePotential: expected at least 1 component, got {components}")
        if not (spread > 0 and width > 0):
            raise ValueError(f"MixturePotential: spread and width must be positive, got {spread}, {width}")
        self.components = components
        self.centres = Parameter(spread * torch.randn(components, dim))
        self.logits = Parameter(torch.zeros(components))
        # P = A A^T with A lower triangular: its diagonal in logarithms, the rest relative to the diagonal
        self.log_sharpness = Parameter(torch.full((components, dim), -math.log(width)))
        self.skew = Parameter(torch.zeros(components, dim, dim))

    @torch.no_grad()
    def initialise(self, points: Tensor) -> None:
        """Place the components on a sample of states, ``(n, dim)``."""
        centres, widths, weights = cluster(points, self.components)
        self.centres.copy_(centres)
        self.logits.copy_(weights.clamp_min(1e-3).log())
        self.log_sharpness.copy_(-widths.log()[:, None].expand_as(self.log_sharpness))
        self.skew.zero_()

    def read(self) -> MixtureEnergy:
        refuse_unsampled(self)
        log_sharpness = self.log_sharpness
        unit = torch.eye(self.dim, dtype=log_sharpness.dtype, device=log_sharpness.device)
        factor = log_sharpness.exp().unsqueeze(-1) * (unit + self.skew.tril(-1))
        log_normaliser = log_sharpness.sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)
        log_weight = torch.log_softmax(self.logits, -1) + log_normaliser
        centres, precision = self.centres + 0.0, factor @ factor.mT
        return MixtureEnergy(centres, precision, (precision @ centres.unsqueeze(-1)).squeeze(-1), log_weight)


@dataclass(frozen=True, eq=False)
class MixtureEnergy:
    """A mixture's energy and derivatives from parameters that were read once.

    Attributes:
        centres: ``(*batch, components, dim)``.
        precision: ``(*batch, components, dim, dim)``.
        at_centres: ``P_k mu_k``, ``(*batch, components, dim)``.
        log_weight: ``(*batch, components)``, log weight plus the Gaussian's log normaliser.
    """

    centres: Tensor
    precision: Tensor
    at_centres: Tensor
    log_weight: Tensor

    def _terms(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Component gradients ``P_k (z - mu_k)``, ``(*b, k, d)``, and log densities, ``(*b, k)``."""
        offset = z.unsqueeze(-2) - self.centres
        if z.shape[-1] == 1:
            pull = offset * self.precision[..., 0]
        else:
            flat = rows_times(z, self.precision.flatten(-3, -2).mT)
            pull = flat.unflatten(-1, self.centres.shape[-2:]) - self.at_centres
        return pull, self.log_weight - 0.5 * (offset * pull).sum(-1)

    def energy(self, z: Tensor) -> Tensor:
        return -torch.logsumexp(self._terms(z)[1], -1)

    def gradient(self, z: Tensor) -> Tensor:
        pull, log_density = self._terms(z)
        return rows_times(torch.softmax(log_density, -1), pull)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        pull, log_density = self._terms(z)
        share = torch.softmax(log_density, -1)
        mean_precision = rows_times(share, self.precision.flatten(-2)).unflatten(-1, self.precision.shape[-2:])
        weighted_pull = share.unsqueeze(-1) * pull
        gradient = weighted_pull.sum(-2)
        hessian = (
            mean_precision
            - weighted_pull.mT @ pull
            + gradient.unsqueeze(-1) * gradient.unsqueeze(-2)
        )
        metric = torch.ones_like(z[..., :1]) if weights is None else weights
        trace = (self.precision.diagonal(dim1=-2, dim2=-1) * metric.unsqueeze(-2)).sum(-1)
        # d share_k = share_k (gradient - pull_k); the Laplacian is sum_k share_k (trace_k - |pull_k|^2) + |gradient|^2
        metric_pull = weighted_pull * metric.unsqueeze(-2)
        excess = share * trace - (pull * metric_pull).sum(-1)
        # sum_k share_k P_k (metric pull_k), all k in one product
        bent = rows_times(metric_pull.flatten(-2), self.precision.flatten(-3, -2))
        laplacian_gradient = (
            excess.sum(-1, keepdim=True) * gradient
            - rows_times(excess, pull)
            - 2.0 * bent
            + 2.0 * (hessian * (metric * gradient).unsqueeze(-2)).sum(-1)
        )
        return LocalExpansion(gradient, hessian, laplacian_gradient)


def cluster(points: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centres ``(components, dim)``, isotropic widths and shares ``(components,)`` of points, by k-means."""
    sample = points[torch.randperm(len(points))[:5000]]
    # spread the seeds: each is a point far from those chosen before (k-means++)
    centres = sample[:1]
    for _ in range(components - 1):
        distance = torch.cdist(sample, centres).amin(1).square().clamp_min(1e-12)
        centres = torch.cat([centres, sample[torch.multinomial(distance, 1)]])
    for _ in range(20):
        member = torch.cdist(sample, centres).argmin(1)
        share = torch.nn.functional.one_hot(member, components).to(sample)
        count = share.sum(0).clamp_min(1e-6)
        centres = torch.where((count > 0.5)[:, None], (share.mT @ sample) / count[:, None], centres)
    variance = (share * torch.cdist(sample, centres).square()).sum(0) / count / points.shape[-1]
    # neighbours overlap, so that the density starts without ripples between centres of one cloud
    spacing = torch.cdist(centres, centres).fill_diagonal_(math.inf).amin(1) if components > 1 else torch.ones(1)
    widths = torch.maximum(variance.sqrt(), 0.7 * spacing.clamp_max(1.0)).clamp_min(0.05)
    return centres, widths, count / count.sum()
