"""Minimum-energy paths between the states of a landscape."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from scipy.integrate import solve_ivp

from pyro_langevin.landscape.descent import beside
from pyro_langevin.landscape.passes import Pass, PassNetwork, lowest_route
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.strings import relaxed
from pyro_langevin.landscape.surface import Floats, LandscapeError, ReducedEnergy

_ASIDE = 1e-4  # of the distance to the minimum: where a descent leaves its saddle; the path's error is of second order
_ARRIVED = 1e-5  # of the same: where it ends
_BETWEEN = 8  # points taken of every step of the descent
_STRING = (101, 1000)  # images and iterations of a string where a pass is no saddle


@dataclass(frozen=True, eq=False)
class EnergyPath:
    """A minimum-energy path from one state's minimum to another's.

    Attributes:
        points: Images equally spaced by arc length, ``(images, dim)``; the first and last are the minima.
        beta_energy: Reduced energy of the images above the lowest minimum, kT, ``(images,)``. The highest image lies
            beside the saddle, and lower: the barrier is in ``saddle_beta_energy``.
        length: Arc length from the first image to each, ``(images,)``.
        states: States through which the path leads, from the first to the last.
        saddle: Passes in the order of the path, also those within a merged state, ``(k, dim)``.
        saddle_beta_energy: Reduced energy of the passes above the lowest minimum, kT, ``(k,)``.
        saddle_length: Arc length from the first image to each pass, ``(k,)``.
    """

    points: Floats
    beta_energy: Floats
    length: Floats
    states: tuple[int, ...]
    saddle: Floats
    saddle_beta_energy: Floats
    saddle_length: Floats


def minimum_energy_path(landscape: Landscape, one: int, other: int, *, images: int = 51) -> EnergyPath:
    """Minimum-energy path between two states.

    The curve everywhere parallel to the gradient that leads from minimum to minimum over the lowest passes: the
    highest of them is as low as possible, then the second highest, and so on, so it may lead through further states.
    Each piece is the steepest descent from a saddle, integrated to 1e-7; where a pass is no saddle (``saddle_exact``),
    a relaxed string instead, of the order of its images' spacing squared.

    Args:
        landscape: The landscape.
        one: State in which the path begins.
        other: State in which it ends.
        images: Number of points, at least 2.

    Raises:
        LandscapeError: If a state does not exist, if both are the same, or if no pass joins them.
    """
    for state in (one, other):
        if not 0 <= state < landscape.n_states:
            raise LandscapeError(
                f"minimum_energy_path: expected states 0 to {landscape.n_states - 1}, got {state}; "
                "count them from 0, in the order of landscape.minimum"
            )
    if one == other:
        raise LandscapeError(f"minimum_energy_path: expected two different states, got {one} twice")
    if images < 2:
        raise LandscapeError(f"minimum_energy_path: expected at least 2 images, got {images}")
    network, surface = landscape.network, landscape.surface
    lowest = float(surface(landscape.minimum).min())
    route = lowest_route(network, network.of_state[one], network.of_state[other])
    if not route:
        raise LandscapeError(f"minimum_energy_path: no pass joins states {one} and {other}")
    here, states, pieces, lengths = network.of_state[one], [one], [], [0.0]
    for item in route:
        there = item.joins[0] if item.joins[1] == here else item.joins[1]
        before, after = _over(surface, item, network, here, there)
        pieces += [before, after[1:]]
        lengths += [_arc(before)[-1], _arc(after)[-1]]
        here = there
        if int(network.owner[here]) != states[-1]:
            states.append(int(network.owner[here]))
    line = np.concatenate([piece if k == 0 else piece[k % 2 == 0 :] for k, piece in enumerate(pieces)])
    arc = _arc(line)
    wanted = np.linspace(0.0, arc[-1], images)
    points = np.stack([np.interp(wanted, arc, line[:, axis]) for axis in range(surface.dim)], -1)
    return EnergyPath(
        points=points,
        beta_energy=surface(points) - lowest,
        length=wanted,
        states=tuple(states),
        saddle=np.array([item.location for item in route]),
        saddle_beta_energy=np.array([item.energy for item in route]) - lowest,
        saddle_length=np.cumsum(lengths)[1::2],
    )


def _over(
    surface: ReducedEnergy, item: Pass, network: PassNetwork, here: int, there: int
) -> tuple[Floats, Floats]:
    """Points from one minimum up to a pass, and from the pass down to the other."""
    foot, end = network.minima[here], network.minima[there]
    if item.exact:
        near = min(float(np.linalg.norm(item.location - minimum)) for minimum in (foot, end))
        ways = [_descent(surface, side, (foot, end)) for side in beside(surface, item.location[None], _ASIDE * near)]
        if all(way is not None for way in ways) and {way[0] for way in ways if way is not None} == {0, 1}:
            first, second = (way[1] for way in sorted((way for way in ways if way is not None), key=itemgetter(0)))
            top = item.location[None]
            return np.concatenate([foot[None], first[::-1], top]), np.concatenate([top, second, end[None]])
    half = _STRING[0] // 2 + 1
    line = np.concatenate([np.linspace(foot, item.location, half)[:-1], np.linspace(item.location, end, half)])
    line = relaxed(surface, line[None], iterations=_STRING[1])[0]
    highest = int(surface(line).argmax())
    return line[: highest + 1], line[highest:]


def _descent(surface: ReducedEnergy, start: Floats, minima: tuple[Floats, Floats]) -> tuple[int, Floats] | None:
    """Which of two minima steepest descent reaches, and points on its way ``(k, d)``; None if neither."""
    scale = min(float(np.linalg.norm(start - minimum)) for minimum in minima)

    def force(_: float, z: Floats) -> Floats:
        return np.asarray(-surface.gradient(z[None])[0])

    def curvature(_: float, z: Floats) -> Floats:
        return np.asarray(-surface.slope_and_curvature(z[None])[1][0])

    def arrived(_: float, z: Floats) -> float:
        return min(float(np.linalg.norm(z - minimum)) for minimum in minima) - _ARRIVED * scale

    arrived.terminal = True  # type: ignore[attr-defined]
    softest = min(float(np.linalg.eigvalsh(surface.slope_and_curvature(m[None])[1][0])[0]) for m in minima)
    downward = -float(np.linalg.eigvalsh(surface.slope_and_curvature(start[None])[1][0])[0])
    longest = 100.0 / min(softest, max(downward, 1e-3 * softest))
    way = solve_ivp(
        force, (0.0, longest), start, method="LSODA", jac=curvature, events=arrived, dense_output=True,
        rtol=1e-7, atol=1e-7 * scale,
    )  # fmt: skip
    if way.status != 1:
        return None
    times = np.interp(np.arange((len(way.t) - 1) * _BETWEEN + 1) / _BETWEEN, np.arange(len(way.t)), way.t)
    points = np.asarray(way.sol(times).T)
    return int(np.argmin([np.linalg.norm(points[-1] - minimum) for minimum in minima])), points


def _arc(line: Floats) -> Floats:
    """Arc length from the first point of a line to each, ``(k,)``."""
    return np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=-1).cumsum()])
