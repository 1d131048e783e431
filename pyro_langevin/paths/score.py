"""Sticking the landing: the entropy's gradient through the path alone."""

from __future__ import annotations

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.score_parts import ScoreParts
from torch import Tensor


def sticking_the_landing(path: TorchDistribution, value: Tensor) -> ScoreParts:
    """Score parts of a reparametrised path whose entropy term has the path gradient only.

    What is left out has expectation zero; what is left vanishes, without variance, where the guide is exact (Roeder,
    Wu & Duvenaud 2017). ``Trace_ELBO`` uses it; bounds of several weights use the full gradient of ``log_prob``. The
    score term is the literal 0, by which Pyro knows a fully reparametrised site.
    """
    log_prob = path.log_prob(value)
    if not value.requires_grad or torch.jit.is_tracing():  # a trace records no gradients
        return ScoreParts(log_prob, 0, log_prob)  # type: ignore[arg-type]
    with torch.enable_grad():
        point = value.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(path.log_prob(point).sum(), point)
    through_path = (gradient * (value - value.detach())).sum((-2, -1))
    return ScoreParts(log_prob, 0, log_prob.detach() + through_path)  # type: ignore[arg-type]
