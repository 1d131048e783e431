"""Noise coordinates: what lets HMC move whole paths."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.reparam.reparam import Reparam
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, constraints

from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths import LangevinPath
from pyro_langevin.paths.forecast import NextState
from pyro_langevin.paths.tilted import TiltedPath


class LangevinReparam(Reparam):
    r"""Reparametrises a :class:`~pyro_langevin.LangevinPath` site by the noise that drives the path.

    .. math:: z_{k+1} = \mu(z_k) + S(z_k)\,\xi_k,\qquad \xi_k \sim \mathcal N(0, 1)

    Neighbouring states of a path are all but tied together, so that HMC must take tiny steps; their noises are
    independent under the prior. Use it for a site ``z`` as

    ``pyro.poutine.reparam(model, {"z": LangevinReparam()})``

    The site becomes deterministic. Its noise is the new site ``z_noise``, standard normal of event shape ``(time,
    dim)``, the first row giving the first state. If the distribution of that one is neither a normal nor a multivariate
    normal, it stays a site of its own, ``z_first``, and the noise has event shape ``(time - 1, dim)``. The joint
    density is exactly that of the model as discretised. An observed path is left as it is.

    Not for guides, and not for observed or amortised paths in SVI, where the steered guide does better.

    Raises:
        TypeError: If the site is not a prior's path.
    """

    def apply(self, msg: Any) -> Any:
        """The site, its path computed from sites of noise."""
        name, path, value = msg["name"], msg["fn"], msg["value"]
        if isinstance(path, TiltedPath) or not isinstance(path, LangevinPath):
            raise TypeError(
                f"LangevinReparam: expected site {name!r} to be a LangevinPath, got {type(path).__name__}; "
                "reparametrise only sites of the prior"
            )
        if msg["is_observed"]:
            return {"fn": path, "value": value, "is_observed": True}
        affine = _gaussian(path.initial)
        n_points, dim = path.event_shape
        noise = None if value is None else path.noise_of(value)
        if affine is None:
            given = None if value is None else value[..., 0, :]
            start = _sample(f"{name}_first", _AnyState(path.initial.expand(path.batch_shape)), given)
            noise = _sample(f"{name}_noise", _standard(path, n_points - 1), noise)
        else:
            if noise is not None:
                noise = torch.cat([affine.whiten(value[..., 0, :]).unsqueeze(-2), noise], -2)
            first, noise = _sample(f"{name}_noise", _standard(path, n_points), noise).split([1, n_points - 1], -2)
            start = affine.apply(first.squeeze(-2))
        if value is None:
            value = path.driven(start, noise)
        return {"fn": dist.Delta(value, event_dim=2).mask(False), "value": value, "is_observed": True}


class _AnyState(dist.TorchDistribution):
    """A law of states whose support is said plainly: HMC knows no way to the support of a mixture."""

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real_vector

    def __init__(self, law: Distribution) -> None:
        self.law = law
        super().__init__(law.batch_shape, law.event_shape, validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> _AnyState:
        return _AnyState(self.law.expand(torch.Size(batch_shape)))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        return self.law.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.law.log_prob(value)


def _sample(name: str, law: dist.TorchDistribution, value: Tensor | None) -> Tensor:
    """A latent site, whose value may be given to start from."""
    return pyro.sample(name, law, obs=value, infer={"is_observed": False})


def _standard(path: LangevinPath, n_rows: int) -> dist.TorchDistribution:
    """Standard normal noise for every path."""
    like = path.initial.mean
    loc = torch.zeros(n_rows, path.event_shape[-1], dtype=like.dtype, device=like.device)
    return dist.Normal(loc, 1.0).expand(path.batch_shape + loc.shape).to_event(2)


def _gaussian(law: Distribution) -> Transition | None:
    """A Gaussian law as an affine map of standard normal noise; None if it is no Gaussian that is known here."""
    if isinstance(law, NextState):
        return law.transition if law.moves is None else None
    if isinstance(law, MultivariateNormal):
        return Transition(law.loc, law.scale_tril)
    base = law.base_dist if isinstance(law, Independent) else None
    if isinstance(base, Normal):
        return Transition(base.loc, torch.diag_embed(base.scale))
    return None
