"""A protein in miniature: folded is a small ball, unfolded a large shell, and the step of the simulation decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from pyro_langevin.observations import Observations

Array = NDArray[np.float64]

_DIM, _EDGE = 5, 3.0
_BARRIER = 2.70
_BINS, _LARGEST = 400, 9.0
_BURN_IN = 100.0


@dataclass(frozen=True, eq=False)
class FoldingData:
    """Distances from the centre, with the exact kinetics of the simulated chain and of the diffusion behind it.

    State 0 is folded (a distance below 2.70, where the effective potential of the distance has its maximum), state 1
    unfolded.

    Attributes:
        observations: What a fit gets to see: the distance, one channel ``r``.
        states: ``(series, time)``, the true states.
        occupancy: ``(state,)``, long-run law of the chain of this step.
        boltzmann: ``(state,)``, Boltzmann law: what a step towards zero gives.
        timescale: Slowest relaxation time of the chain of this step.
        mfpt: ``(state, state)``, mean time of that chain from the typical distance of one state to that of the other.
    """

    observations: Observations
    states: NDArray[np.int64]
    occupancy: Array
    boltzmann: Array
    timescale: float
    mfpt: Array


def folding_model(n_series: int = 256, n_times: int = 200, *, step: float = 0.1, seed: int = 0) -> FoldingData:
    r"""Distance ``r = |x|`` in the five-dimensional folding model of VAMPnets, integrated with a given step.

    .. math:: U(r) = -\tfrac52 (r-3)^2 \; (r < 3), \qquad \tfrac12 (r-3)^3 - (r-3)^2 \; (r \ge 3)

    at kT = D = 1, by Euler-Maruyama with one step from observation to observation, as in the data on which inference of
    jump processes has been tried (step 0.1). That step is long for the folded state, whose force does not vanish at the
    centre: the chain's long-run law is not Boltzmann's (folded .72 against .996). Its exact figures come from the
    transition density of the distance, a noncentral chi law with five degrees of freedom, in 400 bins up to 9 (three
    digits). Series begin near the long-run law, after 100 units of time. No noise is added.

    Args:
        n_series: Number of independent series.
        n_times: Number of observations in each, ``step`` apart.
        step: Step of the integration, and gap between observations; at most 0.2, beyond which a particle in the centre
            is thrown out of the folded state.
        seed: Seed of the random numbers.

    Source:
        Mardt, Pasquali, Wu and Noé (Nature Communications 9, 5, 2018) for the potential; Seifner and Sánchez (ICML
        2023) for the step.
    """
    if not 0.01 <= step <= 0.2:
        raise ValueError(f"folding_model: expected a step between 0.01 and 0.2, got {step}; the bins resolve no less")
    random = np.random.default_rng(seed)
    x = random.normal(size=(n_series, _DIM))
    before = round(_BURN_IN / step)
    distance = np.empty((n_series, n_times))
    for k in range(before + n_times):
        r = np.linalg.norm(x, axis=-1)
        if k >= before:
            distance[:, k - before] = r
        x = x * (1.0 - step * _slope(r) / r)[:, None] + np.sqrt(2.0 * step) * random.normal(size=x.shape)
    centres, chain = _chain(step)
    values, vectors = np.linalg.eig(chain.T)
    slowest = np.argsort(-values.real)
    law = np.abs(vectors[:, slowest[0]].real)
    law /= law.sum()
    folded = centres < _BARRIER
    weight = centres ** (_DIM - 1) * np.exp(-_energy(centres) + _energy(np.zeros(1)))
    share, continuous = float(law[folded].sum()), float(weight[folded].sum() / weight.sum())
    return FoldingData(
        observations=Observations(distance[..., None], step * np.arange(n_times), channels=["r"]),
        states=(distance >= _BARRIER).astype(np.int64),
        occupancy=np.array([share, 1.0 - share]),
        boltzmann=np.array([continuous, 1.0 - continuous]),
        timescale=float(-step / np.log(values[slowest[1]].real)),
        mfpt=step * _passages(chain, law, folded),
    )


def _energy(r: Array) -> Array:
    out = r - _EDGE
    return np.where(r < _EDGE, -2.5 * out**2, 0.5 * out**3 - out**2)


def _slope(r: Array) -> Array:
    out = r - _EDGE
    return np.where(r < _EDGE, -5.0 * out, 1.5 * out**2 - 2.0 * out)


def _chain(step: float) -> tuple[Array, Array]:
    """Centres of the bins, and the probabilities of a step from one to another."""
    width = _LARGEST / _BINS
    r = np.linspace(0.5 * width, _LARGEST - 0.5 * width, _BINS)
    mean = np.abs(r - step * _slope(r))[:, None]
    variance, order = 2.0 * step, _DIM / 2 - 1
    scaled = mean * r / variance
    density = r / variance * (r / mean) ** order * np.exp(-((r - mean) ** 2) / (2 * variance)) * ive(order, scaled)
    return r, density / density.sum(-1, keepdims=True)


def _passages(chain: Array, law: Array, folded: NDArray[np.bool_]) -> Array:
    """Mean number of steps from the likeliest bin of one state until the likeliest bin of the other is reached."""
    own = [int(np.argmax(np.where(side, law, 0.0))) for side in (folded, ~folded)]
    beyond = [np.arange(len(law)) <= own[0], np.arange(len(law)) >= own[1]]
    steps = np.zeros((2, 2))
    for start, target in ((0, 1), (1, 0)):
        left = ~beyond[target]
        steps[start, target] = np.linalg.solve(np.eye(left.sum()) - chain[np.ix_(left, left)], np.ones(left.sum()))[
            int(left[: own[start]].sum())
        ]
    return steps
