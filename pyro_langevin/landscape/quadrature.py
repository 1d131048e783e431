"""Occupancy and kinetics in one dimension by quadrature."""

from __future__ import annotations

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh

from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats

_SPARE = 6  # trial functions beyond the timescales wanted, for fast convergence
_SWEEPS = 15
_GAP_POINTS = 4001  # between two cores


def occupancy_1d(landscape: Landscape) -> Floats:
    """Probability of each state under the Boltzmann law, ``(n,)``."""
    assert landscape.grid is not None
    axis = landscape.grid.axes[0]
    density = CubicSpline(axis, np.exp(-landscape.grid.energy))
    ends = np.concatenate([axis[:1], landscape.saddle[:, 0], axis[-1:]])
    parts = np.array([density.integrate(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)])
    return np.asarray(parts / parts.sum())


def passage_times_1d(landscape: Landscape, diffusion: float, *, start: Floats, target: Floats) -> Floats:
    r"""Mean first-passage times between points, ``(len(start), len(target))``.

    .. math:: T(a \to b) = \frac1D \int_a^b e^{\beta U(y)} \int_{-\infty}^y e^{-\beta U(x)} dx\,dy \qquad (a
    < b)
    """
    assert landscape.grid is not None
    axis, energy = landscape.grid.axes[0], landscape.grid.energy
    weight = np.exp(-energy)
    from_left = cumulative_trapezoid(weight, axis, initial=0.0)
    from_right = cumulative_trapezoid(weight[::-1], -axis[::-1], initial=0.0)[::-1]
    rising = CubicSpline(axis, from_left / weight)
    falling = CubicSpline(axis, from_right / weight)
    # each integral on its own: differences of one running integral would drown in the e^36 of the edges
    result = np.array(
        [[(rising if a <= b else falling).integrate(*sorted((a, b))) for b in target] for a in start]
    )
    return np.asarray(result / diffusion)


def timescales_1d(landscape: Landscape, diffusion: float, *, count: int) -> Floats:
    """Slowest implied timescales of the generator, ``(count,)``.

    Inverse subspace iteration: the inverse of the generator is a double integral, exact for any barrier
    height.
    """
    assert landscape.grid is not None
    axis, energy = landscape.grid.axes[0], landscape.grid.energy
    density = np.exp(-energy)
    weight = density * np.gradient(axis)
    density, weight = density / weight.sum(), weight / weight.sum()
    spacing = axis[1] - axis[0]
    middle = int(energy.argmin())
    # cosines of the distribution function are orthonormal under the density
    quantile = _running(density[:, None], spacing)
    functions = np.cos(np.pi * quantile / quantile[-1] * np.arange(1, count + _SPARE + 1))
    times = np.empty(0)
    for _ in range(_SWEEPS):
        functions = functions - weight @ functions
        functions = np.linalg.qr(np.sqrt(weight)[:, None] * functions)[0] / np.sqrt(weight)[:, None]
        flux = _running(functions * density[:, None], spacing)
        # integrated from the nearer end, so that the tails keep their relative precision
        flux[middle:] = -_running((functions * density[:, None])[middle:][::-1], spacing)[::-1]
        solved = _running(-flux / (diffusion * density[:, None]), spacing)
        solved = solved - weight @ solved
        inverse = functions.T @ (weight[:, None] * solved)
        times, mixing = eigh(0.5 * (inverse + inverse.T))
        functions = solved @ mixing
    return np.asarray(times[::-1][:count])


def _running(values: Floats, spacing: float) -> Floats:
    return np.asarray(cumulative_trapezoid(values, dx=spacing, axis=0, initial=0.0))


def gap_committors_1d(landscape: Landscape) -> list[tuple[Floats, Floats]]:
    """Between every two neighbouring cores, places and the probability to reach the right one first."""
    assert landscape.grid is not None and landscape.core_edge is not None
    axis = landscape.grid.axes[0]
    reduced = CubicSpline(axis, landscape.grid.energy)
    edges = np.clip(landscape.core_edge, axis[0], axis[-1])
    result = []
    for low, high in zip(edges[:-1, 1], edges[1:, 0], strict=True):
        gap = np.linspace(low, high, _GAP_POINTS)
        resistance = cumulative_trapezoid(np.exp(reduced(gap)), gap, initial=0.0)
        result.append((gap, resistance / resistance[-1]))
    return result


def core_fluxes_1d(landscape: Landscape, diffusion: float) -> tuple[Floats, Floats]:
    """Reactive flux between cores and probability that a core was the last one visited.

    Returns:
        Flux ``(n, n)`` (transitions from i to j per unit time, in equilibrium) and probability ``(n,)``.
    """
    assert landscape.grid is not None and landscape.core_edge is not None
    axis, energy = landscape.grid.axes[0], landscape.grid.energy
    count = landscape.n_states
    reduced = CubicSpline(axis, energy)
    density = CubicSpline(axis, np.exp(-energy))
    edges = np.clip(landscape.core_edge, axis[0], axis[-1])
    last = np.array([density.integrate(begin, end) for begin, end in edges])
    flux = np.zeros((count, count))
    for left, (gap, committor) in enumerate(gap_committors_1d(landscape)):
        share = np.exp(-reduced(gap))
        flux[left, left + 1] = flux[left + 1, left] = diffusion / np.trapezoid(1.0 / share, gap)
        towards = float(np.trapezoid(share * committor, gap))
        last[left + 1] += towards
        last[left] += float(np.trapezoid(share, gap)) - towards
    total = float(density.integrate(axis[0], axis[-1]))
    return flux / total, np.asarray(last / total)
