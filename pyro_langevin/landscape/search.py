"""Search for the minima and saddles of a reduced energy in any dimension."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.descent import beside, climb, descend, is_stationary
from pyro_langevin.landscape.minima import distinct
from pyro_langevin.landscape.surface import Floats, ReducedEnergy

_MOST_ROUNDS = 40
_QUIET_ROUNDS = 5  # rounds without a new minimum that end the search
_WARMTH = (1.0, 4.0, 16.0)  # temperatures of the clouds around the minima from which descents start
_DRAWS = 96  # descents a round and temperature
_BROAD, _BROAD_DRAWS = 2.0, 192  # width of the cloud over the region, in spreads of the minima; its descents
_MOST_CLIMBERS = 400  # a round
_SAME = 1e-3  # of the radius: points nearer than this are one


def search(surface: ReducedEnergy, minima: Floats, *, height: float, radius: float) -> tuple[Floats, Floats]:
    """Minima ``(n, d)`` and saddles ``(m, d)`` that a search from the given minima finds.

    Every round (1) climbs out of each new minimum along all its modes, both ways, to saddles of index 1 (eigenvector
    following: Cerjan and Miller 1981) and descends on their other sides, and (2) descends from clouds of increasing
    temperature around all minima, from points on the lines between them, and from all over the region. It ends when
    five rounds found nothing.
    A search by chance: a minimum with a narrow basin far from all others may be missed.

    Args:
        surface: Reduced energy.
        minima: Minima to start from, ``(k, d)`` with ``k >= 1``.
        height: Energy above the lowest minimum up to which minima are kept, kT.
        radius: Longest step of a descent or climb.
    """
    generator = np.random.default_rng(0)
    saddles = np.empty((0, surface.dim))
    tried = np.empty((0, surface.dim))  # minima out of which all ways have been climbed
    quiet = 0
    for _ in range(_MOST_ROUNDS):
        fresh = _without(minima, tried, _SAME * radius)[: max(1, _MOST_CLIMBERS // (2 * surface.dim))]
        tried = np.concatenate([tried, fresh])
        found = _saddles_around(surface, fresh, height=height, radius=radius)
        found = _without(found, saddles, _SAME * radius)
        saddles = np.concatenate([saddles, found])
        starts = np.concatenate([beside(surface, found, 0.1 * radius), _clouds(surface, minima, generator)])
        ends = descend(surface, starts, radius=radius)
        ends = ends[is_stationary(surface, ends, index=0)]
        known = len(minima)
        minima = np.concatenate([minima, _without(ends, minima, _SAME * radius)])
        energy = surface(minima)
        minima = minima[energy < energy.min() + height]
        quiet = quiet + 1 if len(minima) <= known else 0
        if quiet >= _QUIET_ROUNDS and not len(_without(minima, tried, _SAME * radius)):
            break
    return minima, saddles


def _saddles_around(surface: ReducedEnergy, minima: Floats, *, height: float, radius: float) -> Floats:
    """Distinct saddles to which the ways out of minima along their modes lead."""
    if not len(minima):
        return minima
    values, vectors = np.linalg.eigh(surface.slope_and_curvature(minima)[1])
    modes = np.swapaxes(vectors, -1, -2)
    out = 0.5 * modes / np.sqrt(values)[..., None]  # half a standard deviation
    starts = np.concatenate([(minima[:, None] + sign * out).reshape(-1, surface.dim) for sign in (-1.0, 1.0)])
    along = np.concatenate([modes.reshape(-1, surface.dim)] * 2)
    ceiling = float(surface(minima).min()) + 2.0 * height
    tops = climb(surface, starts, radius=0.5 * radius, along=along, ceiling=ceiling)
    tops = tops[is_stationary(surface, tops, index=1)]
    return distinct(tops, surface(tops), tolerance=_SAME * radius)


def _clouds(surface: ReducedEnergy, minima: Floats, generator: np.random.Generator) -> Floats:
    """Points around the minima, as their harmonic wells would hold them at several temperatures, and between them."""
    values, vectors = np.linalg.eigh(surface.slope_and_curvature(minima)[1])
    parts = []
    for warmth in _WARMTH:
        source = generator.integers(len(minima), size=_DRAWS)
        noise = np.sqrt(warmth / values[source]) * generator.standard_normal((_DRAWS, surface.dim))
        parts.append(minima[source] + np.einsum("nij,nj->ni", vectors[source], noise))
    one, other = generator.integers(len(minima), size=(2, _DRAWS))
    share = generator.uniform(-0.5, 1.5, size=(_DRAWS, 1))  # also beyond the ends
    parts.append(minima[one] + share * (minima[other] - minima[one]))
    # and all over the region: twice as wide as the wells lie apart
    spread = _BROAD * np.sqrt(minima.var(0).mean() + 1.0 / np.median(values))
    parts.append(minima.mean(0) + spread * generator.standard_normal((_BROAD_DRAWS, surface.dim)))
    return np.concatenate(parts)


def _without(points: Floats, known: Floats, tolerance: float) -> Floats:
    """Distinct points that are farther than ``tolerance`` from all known ones."""
    kept: list[Floats] = []
    for point in points:
        others = np.concatenate([known, np.array(kept).reshape(-1, points.shape[-1])])
        if not len(others) or np.linalg.norm(others - point, axis=-1).min() > tolerance:
            kept.append(point)
    return np.array(kept).reshape(-1, points.shape[-1])
