"""Kinetics of continuous dynamics by simulation and a Markov state model, in any dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.dynamics import OverdampedDynamics, UnderdampedDynamics
from pyro_langevin.landscape.chain_result import dwells
from pyro_langevin.landscape.chain_simulation import passage_times_of_rates
from pyro_langevin.landscape.cores import count_transitions, last_visited
from pyro_langevin.landscape.finite_volume import CoreFunction
from pyro_langevin.landscape.kinetics import Kinetics
from pyro_langevin.landscape.replicas import jackknife
from pyro_langevin.landscape.reversible import (
    implied_timescales,
    lagged_counts,
    largest_connected,
    reversible_transition_matrix,
)
from pyro_langevin.landscape.slow_coordinates import slow_coordinates, small_states
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.stationary import stationary_occupancy
from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError
from pyro_langevin.landscape.walkers import walkers_in_equilibrium

_WALKERS = 800
_FRAMES = 24  # at which basins are asked for, which costs more than a step
_LAG = 8  # frames
_FIRST = 2  # frames before transitions count: walkers that set out from no core have first to come from one
_CLUSTERS = 20  # in each basin


@dataclass(frozen=True, eq=False)
class SimulatedKinetics:
    """Kinetics by simulation, with standard errors from groups of independent walkers.

    Attributes:
        kinetics: The figures; passage times from core to core.
        timescale_error: ``(k,)``.
        mfpt_error: ``(n, n)``.
        rate_error: ``(n, n)``.
        dwell_error: ``(n,)``.
        occupancy_error: ``(n,)``.
        events: Core-to-core transitions that were seen, ``(n, n)``.
        step: Length of a step of the simulation.
        lag: Lag time of the Markov state model.
    """

    kinetics: Kinetics
    timescale_error: Floats
    mfpt_error: Floats
    rate_error: Floats
    dwell_error: Floats
    occupancy_error: Floats
    events: Floats
    step: float
    lag: float


def simulated_kinetics(
    dynamics: OverdampedDynamics | UnderdampedDynamics,
    landscape: Landscape,
    *,
    evaluations: int = 5_000_000,
    step: float | None = None,
    cores: CoreFunction | None = None,
    seed: int = 0,
) -> SimulatedKinetics:
    """Kinetics of continuous dynamics by simulation, in any dimension and with momenta or without.

    800 walkers start in equilibrium within the basins. Rates, dwells and passage times are core-to-core transitions
    by exposure, right however short the run (long by some 2 %, as cores are looked for at the steps only). The
    occupancy is that of :func:`stationary_occupancy`. Timescales are those of a reversible Markov state model at a
    third of the run: clusters of each basin along the slow coordinates. A model so made errs towards too short a
    timescale, by a few per cent where the run is shorter than that.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
        evaluations: Forces to spend.
        step: Length of a step; short against the fastest motion in a well when omitted.
        cores: Core labels ``(m,)`` of positions ``(m, dim)`` instead of the landscape's own.
        seed: Seed.
    """
    walkers, group = walkers_in_equilibrium(dynamics, landscape, _WALKERS, step=step, seed=seed)
    core = landscape.core if cores is None else cores
    every = max(1, evaluations // (_WALKERS * _FRAMES))
    states = landscape.n_states
    exposure, events = np.zeros((_WALKERS, states)), np.zeros((_WALKERS, states, states))
    frames, last = [walkers.position], np.asarray(core(walkers.position))
    for frame in range(_FRAMES):
        labels = np.empty((_WALKERS, every + 1), dtype=np.int64)
        labels[:, 0] = last
        for k in range(1, every + 1):
            walkers.advance()
            labels[:, k] = core(walkers.position)
        counts = count_transitions(labels, walkers.step, n_states=states, keep=1)
        if frame >= _FIRST:
            exposure, events = exposure + counts.exposure, events + counts.events
        last = last_visited(labels)[:, -1]
        frames.append(walkers.position)
    paths = np.stack(frames, 1)
    if not np.isfinite(paths).all():
        raise LandscapeError(f"simulated_kinetics: walkers escaped at a step of {walkers.step:.3g}; take a shorter one")
    occupancy = stationary_occupancy(landscape, seed=seed)
    spacing = walkers.step * every
    timescale, timescale_error = _timescales(paths, landscape, group, spacing, np.random.default_rng(seed))
    rate = _rates(exposure, events)
    mfpt = passage_times_of_rates(rate)
    without = [_rates(exposure[group != one], events[group != one]) for one in np.unique(group)]
    flux = occupancy.occupancy[:, None] * rate
    return SimulatedKinetics(
        kinetics=Kinetics(
            occupancy=occupancy.occupancy,
            timescale=timescale,
            mfpt=mfpt,
            rate=rate,
            dwell=dwells(rate),
            flux=0.5 * (flux + flux.T),
        ),
        timescale_error=timescale_error,
        mfpt_error=jackknife([passage_times_of_rates(one) for one in without]),
        rate_error=jackknife(without),
        dwell_error=jackknife([dwells(one) for one in without]),
        occupancy_error=occupancy.standard_error,
        events=events.sum(0),
        step=walkers.step,
        lag=_LAG * spacing,
    )


def _timescales(
    paths: Floats, landscape: Landscape, group: Integers, spacing: float, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Timescales between the states ``(n - 1,)``, the slowest first, and their errors."""
    processes = landscape.n_states - 1
    if processes == 0:
        return np.zeros(0), np.zeros(0)
    slow = slow_coordinates(paths, _LAG, count=min(processes, landscape.dim))
    labels = small_states(slow, landscape.basin(paths), clusters=_CLUSTERS, generator=generator)
    count = int(labels.max()) + 1
    counts = np.stack([lagged_counts(labels[group == one], _LAG, states=count) for one in np.unique(group)])

    def solve(total: Floats) -> Floats:
        kept = largest_connected(total)
        matrix, law = reversible_transition_matrix(total[np.ix_(kept, kept)])
        return implied_timescales(matrix, law, _LAG * spacing, count=processes)

    everything = counts.sum(0)
    return solve(everything), jackknife([solve(everything - one) for one in counts])


def _rates(exposure: Floats, events: Floats) -> Floats:
    return np.asarray(events.sum(0) / np.maximum(exposure.sum(0), 1e-300)[:, None])

