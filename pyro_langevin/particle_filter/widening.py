"""How much wider a guide's steps have to be: weights of a guide that is too narrow have no variance."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.observations import Observations
from pyro_langevin.particle_filter.problem import Problem

_FACTORS = (1.2, 1.45, 1.75, 2.1, 3.0)
_PATHS = 50
_SURE = 3.0  # standard errors


def best_widening(guide: AmortisedGuide, observations: Observations) -> float:
    """Factor of at least one on the deviation of all steps of a guide under which its bound is highest.

    One of a few factors, tried in turn while the bound rises; it is one unless the bound is surely higher.
    The weight of a step grows without bound where the guide is narrower than the posterior, so much that its
    variance is infinite below half the variance: few particles then never show how low the estimate is.
    """
    best, bound = 1.0, _bounds(guide, observations, 1.0)
    for factor in _FACTORS:
        tried = _bounds(guide, observations, factor)
        error = torch.stack([bound, tried]).var(1).sum().div(_PATHS).sqrt()
        if not float(tried.mean() - bound.mean()) > _SURE * float(error):
            break
        best, bound = factor, tried
    return best


def _bounds(guide: AmortisedGuide, observations: Observations, factor: float) -> Tensor:
    """Log weights of a few whole paths, summed over the series, ``(path,)``."""
    problem = Problem.of(guide, observations, factor)
    by_guide = torch.zeros(_PATHS, 1, observations.n_series, dtype=torch.bool, device=observations.values.device)
    z, log_ratio = problem.proposal.first(by_guide)
    total = log_ratio.double()
    for point in range(problem.n_points):
        if point > 0:
            z, log_ratio = problem.steps[point - 1](z, by_guide)
            total = total + log_ratio
        if problem.is_observed(point):
            total = total + problem.log_likelihood(point, z)
    return total.sum((1, 2))
