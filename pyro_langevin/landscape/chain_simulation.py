"""Kinetics of a discretised chain in two and more dimensions, by simulating many chains side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from pyro_langevin.landscape.chain_result import ChainKinetics, TransitionFunction, dwells, evaluate
from pyro_langevin.landscape.cores import count_transitions, last_visited
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, Integers

_CHAINS = 1024
_BLOCK = 64  # steps between two looks at the counts
_BASIN_EVERY = 16  # steps between two looks at the basins, which cost more than the cores
_ENOUGH = 400  # transitions out of every state after which figures are within some 5 %
_REPLICAS = 200
_FAR = 1e3  # distance, in units of the landscape's own, beyond which a chain has escaped


@dataclass(eq=False)
class _Tally:
    """What the chains have done, one row a chain."""

    exposure: Floats
    events: Floats
    basin: Floats
    escapes: int = 0
    steps: int = 0


def chain_kinetics_simulated(
    transition: TransitionFunction, landscape: Landscape, step: float, *, evaluations: int, seed: int
) -> ChainKinetics:
    """Kinetics of the chain from 1024 chains that start evenly from the minima.

    Rates are transitions by exposure (right censoring does no harm); occupancy, timescales and passage times
    (core to core) follow from the rates, so that a run need not be long enough to mix between states. It must be long
    against the relaxation inside one: chains that set out from the minima leave late, and a run of a few relaxation
    times makes dwells look longer. Standard errors
    by the bootstrap over chains. The run ends after 400 transitions out of every state or ``evaluations``
    transitions in all. States that were never left have rate zero, and then there is no occupancy (NaN).
    """
    tally = _simulate(transition, landscape, step, evaluations, seed)
    generator = np.random.default_rng(seed)
    rate, basin = _rates(tally, np.arange(_CHAINS))
    occupancy = _occupancy(rate, basin)
    replicas = []
    for _ in range(_REPLICAS):
        replica, replica_basin = _rates(tally, generator.integers(0, _CHAINS, _CHAINS))
        replicas.append((replica, _occupancy(replica, replica_basin), dwells(replica)))
    rates, occupancies, mean_dwells = (np.stack(part) for part in zip(*replicas, strict=True))
    return ChainKinetics(
        step=step,
        occupancy=occupancy,
        timescale=_timescales(rate),
        mfpt=passage_times_of_rates(rate),
        rate=rate,
        dwell=dwells(rate),
        occupancy_error=_deviation(occupancies),
        rate_error=_deviation(rates),
        dwell_error=_deviation(mean_dwells),
        escape_rate=tally.escapes / (tally.steps * _CHAINS * step),
        events=tally.events.sum(0),
    )


def _simulate(
    transition: TransitionFunction, landscape: Landscape, step: float, evaluations: int, seed: int
) -> _Tally:
    states, dim = landscape.n_states, landscape.dim
    noise = torch.Generator().manual_seed(seed)
    tally = _Tally(
        np.zeros((_CHAINS, states)), np.zeros((_CHAINS, states, states)), np.zeros((states, states))
    )
    home = np.arange(_CHAINS) % states
    points, last = landscape.minimum[home], home.copy()
    far = _FAR * (1.0 + float(np.abs(landscape.minimum).max()))
    for _ in range(max(1, evaluations // (_CHAINS * _BLOCK))):
        labels = np.empty((_CHAINS, _BLOCK + 1), dtype=np.int64)
        labels[:, 0] = last
        for k in range(1, _BLOCK + 1):
            draw = torch.randn(_CHAINS, dim, generator=noise, dtype=torch.float64)
            with torch.no_grad():
                points = evaluate(transition, points, step).apply(draw).numpy()
            lost = np.asarray(~(np.abs(points) < far).all(-1))
            if lost.any():
                tally.escapes += int(lost.sum())
                points = np.where(lost[:, None], landscape.minimum[home], points)
            labels[:, k] = landscape.core(points)
            if k % _BASIN_EVERY == 0:
                _count_basins(tally.basin, landscape.basin(points), labels[:, : k + 1])
        counts = count_transitions(labels, step, n_states=states, keep=1)
        tally.exposure += counts.exposure
        tally.events += counts.events
        tally.steps += _BLOCK
        last = last_visited(labels)[:, -1]
        if (tally.events.sum((0, 2)) >= _ENOUGH).all():
            break
    return tally


def _count_basins(table: Floats, basin: Integers, labels: Integers) -> None:
    np.add.at(table, (last_visited(labels)[:, -1], basin), 1.0)


def _rates(tally: _Tally, chains: Integers) -> tuple[Floats, Floats]:
    """Rates ``(n, n)`` of the chosen chains, and the basins' shares given the last core ``(n, n)``."""
    exposure = tally.exposure[chains].sum(0)
    rate = tally.events[chains].sum(0) / np.maximum(exposure, 1e-300)[:, None]
    return rate, tally.basin / np.maximum(tally.basin.sum(-1, keepdims=True), 1.0)


def _occupancy(rate: Floats, basin: Floats) -> Floats:
    """Stationary probability of the basins ``(n,)``: of the last core, spread over basins."""
    states = len(rate)
    if connected_components(rate > 0, connection="strong")[0] > 1:
        return np.full(states, np.nan)
    balance = np.concatenate([(rate - np.diag(rate.sum(-1))).T, np.ones((1, states))])
    right = np.concatenate([np.zeros(states), [1.0]])
    return np.asarray(np.linalg.lstsq(balance, right, rcond=None)[0] @ basin)


def _timescales(rate: Floats) -> Floats:
    values = np.sort(np.linalg.eigvals(np.diag(rate.sum(-1)) - rate).real)[1:]
    return np.asarray(1.0 / np.maximum(values, 1e-300))


def passage_times_of_rates(rate: Floats) -> Floats:
    """Mean first-passage times of the jump process, ``(n, n)``; infinite where never reached."""
    states = len(rate)
    generator = np.diag(rate.sum(-1)) - rate
    reached = np.asarray(np.linalg.matrix_power((rate > 0) + np.eye(states), states) > 0)
    times = np.zeros((states, states))
    for target in range(states):
        others = np.arange(states) != target
        if reached[:, target].all():
            times[others, target] = np.linalg.solve(generator[others][:, others], np.ones(states - 1))
        else:
            times[others, target] = np.inf
    return times


def _deviation(samples: Floats) -> Floats:
    """Standard deviation over replicas ``(replica, ...)``; infinite where one of them is not finite."""
    finite = np.isfinite(samples).all(0)
    return np.asarray(np.where(finite, np.where(finite, samples, 0.0).std(0, ddof=1), np.inf))
