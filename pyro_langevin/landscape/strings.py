"""Passes between minima in any dimension, by strings between every two of them."""

from __future__ import annotations

import numpy as np

from pyro_langevin.landscape.descent import climb, descend, is_stationary
from pyro_langevin.landscape.passes import Pass, without_redundant
from pyro_langevin.landscape.saddles import joined_minima
from pyro_langevin.landscape.surface import Floats, ReducedEnergy

_IMAGES = 25
_ITERATIONS = 120
_STIFFNESS_EVERY = 10


def passes_by_strings(surface: ReducedEnergy, minima: Floats) -> tuple[Floats, list[Pass]]:
    """Passes between minima, and the minima with those added that the strings discovered.

    A string of images between every two minima relaxes to a minimum-energy path (E, Ren, Vanden-Eijnden
    2007). Every maximum along it is refined to a saddle, and descent to both sides says which minima it
    joins. Where no saddle explains a string, its highest image stands, exact to the spacing of the images.

    Args:
        surface: Reduced energy.
        minima: Minima ``(n, d)``.

    Returns:
        Minima ``(m, d)`` with ``m >= n``, the given ones first, and the passes.
    """
    pairs = [(i, j) for i in range(len(minima)) for j in range(i)]
    if not pairs:
        return minima, []
    strings = _relaxed(surface, np.array([np.linspace(minima[i], minima[j], _IMAGES) for i, j in pairs]))
    energy = surface(strings.reshape(-1, surface.dim)).reshape(len(pairs), _IMAGES)
    radius = 0.5 * float(np.linalg.norm(np.diff(strings, axis=1), axis=-1).mean())
    is_top = (energy[:, 1:-1] >= energy[:, :-2]) & (energy[:, 1:-1] > energy[:, 2:])
    row, column = np.nonzero(is_top)
    saddles = climb(surface, strings[row, column + 1], radius=radius)
    saddles = saddles[is_stationary(surface, saddles, index=1)]
    minima = _with_discovered(surface, minima, saddles, radius)
    passes = []
    if len(saddles):
        joins = joined_minima(surface, saddles, minima, radius=radius)
        for saddle, height, (a, b) in zip(saddles, surface(saddles), joins, strict=True):
            if a != b and min(a, b) >= 0:
                passes.append(Pass((int(a), int(b)), float(height), saddle, True))
    for pair, line, height in zip(pairs, strings, energy, strict=True):
        top = int(height.argmax())
        passes.append(Pass(pair, float(height[top]), line[top], False))
    return minima, without_redundant(surface(minima), passes)


def _relaxed(surface: ReducedEnergy, strings: Floats) -> Floats:
    """Strings ``(k, images, d)`` moved down the gradient across them, images kept equally spaced."""
    for iteration in range(_ITERATIONS):
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


def _with_discovered(surface: ReducedEnergy, minima: Floats, saddles: Floats, radius: float) -> Floats:
    """Minima with those added to which descent from either side of a saddle leads."""
    if not len(saddles):
        return minima
    mode = np.linalg.eigh(surface.slope_and_curvature(saddles)[1])[1][:, :, 0]
    sides = np.concatenate([saddles - 0.3 * radius * mode, saddles + 0.3 * radius * mode])
    ends = descend(surface, sides, radius=radius)
    known = list(minima)
    for end in ends[is_stationary(surface, ends, index=0)]:
        if min(float(np.linalg.norm(end - other)) for other in known) > 1e-3 * radius:
            known.append(end)
    return np.array(known)
