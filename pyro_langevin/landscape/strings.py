"""Passes between minima in any dimension: known saddles, and strings between minima for those not known yet."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.descent import climb, is_stationary
from pyro_langevin.landscape.minima import distinct
from pyro_langevin.landscape.passes import Pass, without_redundant
from pyro_langevin.landscape.saddles import feet_of
from pyro_langevin.landscape.surface import Floats, ReducedEnergy

_COARSE_THEN_FINE = ((25, 120), (101, 300))  # images and iterations; the fine only where the coarse led to no saddle
_STIFFNESS_EVERY = 10
_FEW = 11  # minima, every two of which a string joins; of more, each and its nearest
_NEAREST = 5


def passes_by_strings(
    surface: ReducedEnergy, minima: Floats, saddles: Floats, pairs: list[tuple[int, int]], *, radius: float
) -> tuple[Floats, list[Pass]]:
    """Passes between minima, and the minima with those added that the strings discovered.

    A string of images between the minima of each pair relaxes to a minimum-energy path (E, Ren, Vanden-Eijnden
    2007), and every maximum along it is refined to a saddle. The flow to both sides of each saddle, found so or
    known before, says which minima it joins. Where no saddle explains a string, its highest image stands, exact to
    the spacing of the images.

    Args:
        surface: Reduced energy.
        minima: Minima ``(n, d)``.
        saddles: Saddles known already, ``(m, d)``.
        pairs: Minima between which strings are drawn.
        radius: Step of the descents.

    Returns:
        Minima ``(m, d)`` with ``m >= n``, the given ones first, and the passes.
    """
    minima, passes = _explained(surface, minima, saddles, [], radius)
    for images, iterations in _COARSE_THEN_FINE:
        if not pairs:
            break
        found, estimates = _strung(surface, minima, pairs, images, iterations)
        exact = np.array([item.location for item in passes if item.exact]).reshape(-1, surface.dim)
        minima, passes = _explained(surface, minima, np.concatenate([exact, found]), estimates, radius)
        pairs = [item.joins for item in passes if not item.exact]
    return minima, passes


def _strung(
    surface: ReducedEnergy, minima: Floats, pairs: list[tuple[int, int]], images: int, iterations: int
) -> tuple[Floats, list[Pass]]:
    """Saddles to which the maxima along strings lead, and the highest image of each string."""
    lines = np.array([np.linspace(minima[i], minima[j], images) for i, j in pairs])
    strings = relaxed(surface, lines, iterations=iterations)
    energy = surface(strings.reshape(-1, surface.dim)).reshape(len(pairs), images)
    is_top = (energy[:, 1:-1] >= energy[:, :-2]) & (energy[:, 1:-1] > energy[:, 2:])
    row, column = np.nonzero(is_top)
    step = 0.5 * float(np.linalg.norm(np.diff(strings, axis=1), axis=-1).mean())
    tops = climb(surface, strings[row, column + 1], radius=step)
    highest = energy.argmax(-1)
    estimates = [
        Pass(pair, float(energy[k, highest[k]]), strings[k, highest[k]], False) for k, pair in enumerate(pairs)
    ]
    return tops[is_stationary(surface, tops, index=1)], estimates


def _explained(
    surface: ReducedEnergy, minima: Floats, saddles: Floats, estimates: list[Pass], radius: float
) -> tuple[Floats, list[Pass]]:
    """Minima with those beside the saddles, the passes at the saddles, and the estimates that these do not explain."""
    passes = []
    if len(saddles):
        saddles = distinct(saddles, surface(saddles), tolerance=1e-3 * radius)
        minima, joins = feet_of(surface, saddles, minima, radius=radius)
        for saddle, height, (a, b) in zip(saddles, surface(saddles), joins, strict=True):
            if a != b and min(a, b) >= 0:
                passes.append(Pass((int(a), int(b)), float(height), saddle, True))
    return minima, without_redundant(surface(minima), passes + estimates)


def neighbouring_pairs(minima: Floats) -> list[tuple[int, int]]:
    """Pairs of minima between which strings are drawn: all of a few, else each minimum and its nearest five."""
    count = len(minima)
    if count <= _FEW:
        return [(i, j) for i in range(count) for j in range(i)]
    distance = np.linalg.norm(minima[:, None] - minima, axis=-1)
    nearest = distance.argsort(1)[:, 1 : _NEAREST + 1]
    return sorted({(max(i, int(j)), min(i, int(j))) for i in range(count) for j in nearest[i]})


def relaxed(surface: ReducedEnergy, strings: Floats, *, iterations: int) -> Floats:
    """Strings ``(k, images, d)`` moved down the gradient across them, images kept equally spaced."""
    for iteration in range(iterations):
        inner = strings[:, 1:-1]
        tangent = strings[:, 2:] - strings[:, :-2]
        tangent = tangent / np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-300)
        if iteration % _STIFFNESS_EVERY == 0:
            _, hessian = surface.slope_and_curvature(inner.reshape(-1, surface.dim))
            stiffness = np.abs(np.linalg.eigvalsh(hessian)).max(-1).reshape(*inner.shape[:-1], 1)
        gradient = surface.gradient(inner.reshape(-1, surface.dim)).reshape(inner.shape)
        across = gradient - (gradient * tangent).sum(-1, keepdims=True) * tangent
        spacing = np.linalg.norm(np.diff(strings, axis=1), axis=-1).mean(-1)[:, None, None]
        step = across / stiffness
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        moved = inner - step * np.minimum(1.0, 0.5 * spacing / np.maximum(length, 1e-300))
        strings = _respaced(np.concatenate([strings[:, :1], moved, strings[:, -1:]], 1))
        if (length < 1e-3 * spacing).all():
            break
    return strings


def _respaced(strings: Floats) -> Floats:
    """Images at equal distances along each string."""
    length = np.linalg.norm(np.diff(strings, axis=1), axis=-1)
    position = np.concatenate([np.zeros((len(strings), 1)), length.cumsum(1)], 1)
    result = np.empty_like(strings)
    for k, line in enumerate(strings):
        wanted = np.linspace(0.0, position[k, -1], strings.shape[1])
        for axis in range(strings.shape[2]):
            result[k, :, axis] = np.interp(wanted, position[k], line[:, axis])
    return result
