"""Potential of a Gaussian mixture: U = -log of its density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import softplus

from pyro_langevin.potentials.base import LocalExpansion, Potential


class MixturePotential(Potential):
    r"""Potential whose Boltzmann law (at temperature 1) is a Gaussian mixture.

    .. math:: U(z) = -\log \sum_k w_k \, \mathcal N(z;\, \mu_k, P_k^{-1})

    Confining by construction, with wells as sharp as the data want them (a small network cannot be
    sharp), an exact stationary law and closed-form derivatives of all orders. Components of low weight
    shape the barriers.

    Args:
        dim: Dimension of the latent space.
        components: Number of Gaussians; take several times the number of states expected.
        spread: Standard deviation of the initial component centres.
        width: Initial standard deviation of every component.

    Attributes:
        centres: ``(components, dim)``.
        logits: ``(components,)``, unnormalised log weights.
    """

    def __init__(self, dim: int, components: int = 8, *, spread: float = 1.0, width: float = 0.7) -> None:
        super().__init__(dim)
        if components < 1:
            raise ValueError(f"MixturePotential: expected at least 1 component, got {components}")
        if not (spread > 0 and width > 0):
            raise ValueError(f"MixturePotential: spread and width must be positive, got {spread}, {width}")
        self.components = components
        self.centres = Parameter(spread * torch.randn(components, dim))
        self.logits = Parameter(torch.zeros(components))
        # P = A A^T with A lower triangular; the diagonal is kept positive through softplus.
        self._raw_diagonal = Parameter(torch.full((components, dim), math.log(math.expm1(1.0 / width))))
        self._below_diagonal = Parameter(torch.zeros(components, dim, dim))

    @torch.no_grad()
    def set_components(self, centres: Tensor, widths: Tensor, weights: Tensor) -> None:
        """Place the components: centres ``(components, dim)``, isotropic widths and weights ``(components,)``."""
        self.centres.copy_(centres)
        self.logits.copy_(weights.clamp_min(1e-8).log())
        inverse = (1.0 / widths).to(self._raw_diagonal)
        self._raw_diagonal.copy_((inverse + torch.log(-torch.expm1(-inverse)))[:, None].expand_as(self._raw_diagonal))
        self._below_diagonal.zero_()

    def read(self) -> MixtureEnergy:
        factor = torch.diag_embed(softplus(self._raw_diagonal)) + self._below_diagonal.tril(-1)
        log_normaliser = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)
        log_weight = torch.log_softmax(self.logits, -1) + log_normaliser
        return MixtureEnergy(self.centres + 0.0, factor @ factor.mT, log_weight)

    def energy(self, z: Tensor) -> Tensor:
        return self.read().energy(z)

    def gradient(self, z: Tensor) -> Tensor:
        return self.read().gradient(z)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        return self.read().expansion(z, weights)


@dataclass(frozen=True, eq=False)
class MixtureEnergy:
    """A mixture's energy and derivatives from parameters that were read once.

    Attributes:
        centres: ``(components, dim)``.
        precision: ``(components, dim, dim)``.
        log_weight: ``(components,)``, log weight plus the Gaussian's log normaliser.
    """

    centres: Tensor
    precision: Tensor
    log_weight: Tensor

    def _terms(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Component gradients ``P_k (z - mu_k)``, ``(*b, k, d)``, and log densities, ``(*b, k)``."""
        offset = z.unsqueeze(-2) - self.centres
        if z.shape[-1] == 1:
            pull = offset * self.precision[..., 0]
        else:
            pull = (offset.unsqueeze(-2) * self.precision).sum(-1)
        return pull, self.log_weight - 0.5 * (offset * pull).sum(-1)

    def energy(self, z: Tensor) -> Tensor:
        return -torch.logsumexp(self._terms(z)[1], -1)

    def gradient(self, z: Tensor) -> Tensor:
        pull, log_density = self._terms(z)
        return (torch.softmax(log_density, -1).unsqueeze(-1) * pull).sum(-2)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        pull, log_density = self._terms(z)
        share = torch.softmax(log_density, -1).unsqueeze(-1)  # (*b, k, 1)
        gradient = (share * pull).sum(-2)
        mean_precision = (share.unsqueeze(-1) * self.precision).sum(-3)
        weighted_pull = share * pull
        hessian = (
            mean_precision
            - weighted_pull.mT @ pull
            + gradient.unsqueeze(-1) * gradient.unsqueeze(-2)
        )
        metric = torch.ones_like(z[..., :1]) if weights is None else weights
        metric_pull = pull * metric.unsqueeze(-2)
        trace = (self.precision.diagonal(dim1=-2, dim2=-1) * metric.unsqueeze(-2)).sum(-1, keepdim=True)
        # d share_k = share_k (gradient - pull_k); the Laplacian is sum_k share_k (trace_k - |pull_k|^2) + |gradient|^2
        excess = share * (trace - (pull * metric_pull).sum(-1, keepdim=True))
        bent = (self.precision * metric_pull.unsqueeze(-2)).sum(-1)
        laplacian_gradient = (
            (excess * (gradient.unsqueeze(-2) - pull)).sum(-2)
            - 2.0 * (share * bent).sum(-2)
            + 2.0 * (hessian * (metric * gradient).unsqueeze(-2)).sum(-1)
        )
        return LocalExpansion(gradient, hessian, laplacian_gradient)
