"""What is said of a discretised chain, and what is asked of its transition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pyro_langevin.landscape.surface import Floats


class GaussianTransition(Protocol):
    """A Gaussian transition ``z' = mean + scale @ noise``."""

    @property
    def mean(self) -> Tensor: ...

    @property
    def scale(self) -> Tensor: ...

    def apply(self, noise: Tensor) -> Tensor: ...


TransitionFunction = Callable[[Tensor, Tensor], GaussianTransition]


@dataclass(frozen=True, eq=False)
class ChainKinetics:
    """Kinetics of a Markov chain with Gaussian transitions, at its own step; ``n`` states.

    Standard errors are zero where the figures come from quadrature.

    Attributes:
        step: Length of a step, in time units.
        occupancy: Probability of each basin under the chain's own stationary law, ``(n,)``.
        timescale: Slowest implied timescales ``-step / log(eigenvalue)``, ``(k,)``.
        mfpt: Mean first-passage time from the minimum of i, ``(n, n)``: in one dimension to the first step
            at or beyond the minimum of j, in more from core to core.
        rate: Transitions from i to j per time with i the core visited last, ``(n, n)``.
        dwell: Mean time with i the core visited last, ``(n,)``; infinite for a single state.
        occupancy_error: Monte Carlo standard error, ``(n,)``.
        rate_error: Monte Carlo standard error, ``(n, n)``.
        dwell_error: Monte Carlo standard error, ``(n,)``.
        escape_rate: Probability per time that a step leaves the region in which the chain can be followed:
            above zero means that the step is too long for the scheme.
        events: Core-to-core transitions behind the figures, ``(n, n)``; infinite for quadrature.
    """

    step: float
    occupancy: Floats
    timescale: Floats
    mfpt: Floats
    rate: Floats
    dwell: Floats
    occupancy_error: Floats
    rate_error: Floats
    dwell_error: Floats
    escape_rate: float
    events: Floats


def evaluate(transition: TransitionFunction, points: Floats, step: float) -> GaussianTransition:
    """Transition from points ``(m, dim)`` over ``step``, in float64 and without gradients."""
    with torch.no_grad():
        return transition(torch.from_numpy(points), torch.tensor(step, dtype=torch.float64))


def dwells(rate: Floats) -> Floats:
    """Mean dwell ``1 / sum_j rate_ij``, ``(n,)``; infinite where nothing leaves."""
    out = rate.sum(-1)
    result = np.full(len(out), np.inf)
    np.divide(1.0, out, out=result, where=out > 0)
    return result
