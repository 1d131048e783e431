"""Steps on an energy surface: trust-region descent, climbing to saddles, and the gradient flow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.landscape.surface import Floats, ReducedEnergy

_BISECTIONS = 40


def implicit_step(gradient: Floats, hessian: Floats, radius: Floats) -> Floats:
    """Steps ``-(H + m)^-1 g`` no longer than ``radius``, with the least ``m >= 0`` and ``H + m`` positive.

    Of full length this is one implicit (Rosenbrock-Euler) step of the gradient flow by arc length, stable in
    stiff valleys; inside the radius it is Newton's step.

    Args:
        gradient: ``(n, d)``.
        hessian: ``(n, d, d)``.
        radius: ``(n,)``.

    Returns:
        Steps ``(n, d)``.
    """
    values, vectors = np.linalg.eigh(hessian)
    slope = np.einsum("nij,ni->nj", vectors, gradient)
    size = np.linalg.norm(gradient, axis=-1)
    floor = np.maximum(0.0, 1e-12 - values[:, 0]) + 1e-12 * np.abs(values).max(-1)
    # |step| falls as m grows and is below radius at m = |g| / radius - lowest eigenvalue
    low, high = floor, np.maximum(floor, size / radius - values[:, 0])
    newton = np.linalg.norm(slope / (values + floor[:, None]), axis=-1)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        too_long = np.linalg.norm(slope / (values + middle[:, None]), axis=-1) > radius
        low, high = np.where(too_long, middle, low), np.where(too_long, high, middle)
    shift = np.where(newton <= radius, floor, high)
    return -np.einsum("nij,nj->ni", vectors, slope / (values + shift[:, None]))


def descend(surface: ReducedEnergy, starts: Floats, *, radius: float, iterations: int = 300) -> Floats:
    """Local minima reached from ``starts`` ``(n, d)`` by trust-region Newton descent, ``(n, d)``.

    Points that have not converged after ``iterations`` are returned as they are.
    """
    points = starts.copy()
    trust = np.full(len(points), radius)
    energy = surface(points)
    active = np.arange(len(points))
    for _ in range(iterations):
        if not len(active):
            break
        step = implicit_step(*surface.slope_and_curvature(points[active]), trust[active])
        trial = points[active] + step
        trial_energy = surface(trial)
        length = np.linalg.norm(step, axis=-1)
        better = trial_energy <= energy[active]
        points[active[better]], energy[active[better]] = trial[better], trial_energy[better]
        trust[active] = np.where(better, np.minimum(2.0 * trust[active], radius), 0.25 * length)
        active = active[length > 1e-10 * (1.0 + np.linalg.norm(points[active], axis=-1))]
    return points


def climb(
    surface: ReducedEnergy,
    starts: Floats,
    *,
    radius: float,
    iterations: int = 100,
    along: Floats | None = None,
    ceiling: float = np.inf,
) -> Floats:
    """Stationary points ``(n, d)`` reached uphill along one mode and downhill along all others.

    Args:
        surface: Reduced energy.
        starts: ``(n, d)``.
        radius: Longest step.
        iterations: Most steps.
        along: Directions ``(n, d)`` of the modes to climb; by default always the lowest mode.
        ceiling: Energy above which a climb is given up.
    """
    points = starts.copy()
    active = np.arange(len(points))
    followed = None if along is None else along.copy()
    for _ in range(iterations):
        gradient, hessian = surface.slope_and_curvature(points[active])
        values, vectors = np.linalg.eigh(hessian)
        row, mode = np.arange(len(active)), np.zeros(len(active), dtype=np.int64)
        if followed is not None:
            overlap = np.abs(np.einsum("nij,ni->nj", vectors, followed[active]))
            # once the energy curves downwards the lowest mode leads to the saddle
            mode = np.where(values[:, 0] < 0, 0, overlap.argmax(-1))
            followed[active] = vectors[row, :, mode]
        slope = np.einsum("nij,ni->nj", vectors, gradient)
        sizes = np.maximum(np.abs(values), 1e-12)
        sizes[row, mode] *= -1.0
        step = -np.einsum("nij,nj->ni", vectors, slope / sizes)
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        points[active] += step * np.minimum(1.0, radius / np.maximum(length, 1e-300))
        going = length[:, 0] >= 1e-11
        if np.isfinite(ceiling):
            going &= surface(points[active]) < ceiling
        active = active[going]
        if not len(active):
            break
    return points


def beside(surface: ReducedEnergy, saddles: Floats, distance: float) -> Floats:
    """Points on either side of saddles ``(n, d)`` along their downward mode, ``(2 n, d)``: first one side of all."""
    if not len(saddles):
        return saddles
    mode = np.linalg.eigh(surface.slope_and_curvature(saddles)[1])[1][:, :, 0]
    return np.concatenate([saddles - distance * mode, saddles + distance * mode])


def is_stationary(surface: ReducedEnergy, points: Floats, *, index: int) -> NDArray[np.bool_]:
    """Whether points are stationary (|g| < 1e-6 of the curvature) with ``index`` downward directions."""
    gradient, hessian = surface.slope_and_curvature(points)
    values = np.linalg.eigvalsh(hessian)
    flat = np.linalg.norm(gradient, axis=-1) < 1e-6 * np.maximum(1.0, np.abs(values).max(-1))
    return flat & ((values < 0).sum(-1) == index)


def flow_by_arc_length(surface: ReducedEnergy, points: Floats, length: float) -> Floats:
    """Points ``(n, d)`` after ``length`` along the gradient flow, by one classical Runge-Kutta step."""

    def tangent(z: Floats) -> Floats:
        gradient = surface.gradient(z)
        return -gradient / np.maximum(np.linalg.norm(gradient, axis=-1, keepdims=True), 1e-300)

    first = tangent(points)
    second = tangent(points + 0.5 * length * first)
    third = tangent(points + 0.5 * length * second)
    fourth = tangent(points + length * third)
    return points + length / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
