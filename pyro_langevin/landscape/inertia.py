"""Kinetics of underdamped dynamics of one position, from the generator on positions and momenta."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import splu

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape.inertial_line import InertialLine, resolved_line
from pyro_langevin.landscape.kinetics import Kinetics, rates_and_dwells
from pyro_langevin.landscape.phase_space_generator import PhaseSpaceGenerator
from pyro_langevin.landscape.quadrature import occupancy_1d
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats


def inertial_kinetics(dynamics: UnderdampedDynamics, landscape: Landscape, *, processes: int = 5) -> Kinetics:
    """Kinetics of one position: ``dq = p/m dt, dp = -U'(q) dt - friction p dt + sqrt(2 friction m T) dW``.

    Passage times are to the minimum's point, from the minimum with Maxwell's law of the momentum; rates and dwells
    count transitions between cores of the position. Hermite functions of the momentum times finite volumes of the
    position, as many as the slowest timescale needs. For a 4 kT double well timescales are right to 1e-3 and passage
    times to better than 1e-2, at any friction above a fiftieth of the wells' frequency.

    Args:
        dynamics: In float64, on the CPU.
        landscape: Of the position.
        processes: Number of timescales, the slowest first; of processes that oscillate, their decay.

    Raises:
        LandscapeError: With more than one position, or with a friction too weak to be resolved.
    """
    line, timescale = resolved_line(dynamics, landscape, processes=processes)
    flux, last = _core_fluxes(line)
    rate, dwell = rates_and_dwells(flux, last)
    return Kinetics(
        occupancy=occupancy_1d(landscape),
        timescale=timescale,
        mfpt=_passage_times(line),
        rate=rate,
        dwell=dwell,
        flux=flux,
    )


def _passage_times(line: InertialLine) -> Floats:
    """Mean first-passage times between minima, ``(n, n)``."""
    minima = line.landscape.minimum[:, 0]
    times = np.zeros((len(minima), len(minima)))
    for target, place in enumerate(minima):
        for side, ends in ((1, (line.ends[0], place)), (-1, (place, line.ends[1]))):
            starts = np.flatnonzero(side * (place - minima) > 0)
            if not len(starts):
                continue
            generator = line.generator(*ends, open_ends=(side < 0, side > 0))
            right = -generator.embed(np.ones_like(generator.root))
            mean = generator.means(splu(generator.matrix).solve(right))
            times[starts, target] = CubicSpline(generator.centre, mean)(minima[starts])
    return times


def gap_committors(line: InertialLine) -> list[tuple[PhaseSpaceGenerator, Floats]]:
    """For every two neighbouring cores, the generator between them and the probability to reach the right one first."""
    edges = line.landscape.core_edge
    assert edges is not None
    result = []
    for low, high in zip(edges[:-1, 1], edges[1:, 0], strict=True):
        generator = line.generator(float(low), float(high), open_ends=(True, True))
        result.append((generator, np.asarray(splu(generator.matrix).solve(-generator.entry[1]))))
    return result


def _core_fluxes(line: InertialLine) -> tuple[Floats, Floats]:
    """Reactive flux between cores ``(n, n)`` and probability that a core was the last visited ``(n,)``.

    Reversing momenta turns the probability to reach a core next into that of having come from it last, so one
    committor a gap gives both, and its mean over momenta gives the probability.
    """
    states = line.landscape.n_states
    whole = line.whole
    weight = whole.root**2
    core = line.landscape.core(whole.centre[:, None])
    last = np.bincount(core[core >= 0], weight[core >= 0], minlength=states).astype(np.float64)
    flux = np.zeros((states, states))
    for left, (generator, committor) in enumerate(gap_committors(line)):
        flux[left, left + 1] = flux[left + 1, left] = generator.flux(committor)
        mass = generator.root**2
        right = float(mass @ generator.means(committor))
        last[left + 1] += right
        last[left] += float(mass.sum()) - right
    total = weight.sum()
    return flux / total, last / last.sum()
