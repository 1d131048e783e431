"""Passes between basins: barriers by the best path, and merging of shallow basins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape.surface import Floats, Integers

_SLACK = 0.1  # kT


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass between two basins.

    Attributes:
        joins: The two basins.
        energy: Reduced energy of the pass.
        location: ``(dim,)``; a saddle to machine precision where ``exact``.
        exact: Whether the location was refined to a stationary point of index 1 that joins the two basins.
    """

    joins: tuple[int, int]
    energy: float
    location: Floats
    exact: bool


@dataclass(frozen=True, eq=False)
class PassNetwork:
    """All minima and the passes between them, before shallow basins were merged.

    Attributes:
        minima: ``(n, dim)``.
        passes: Passes between them.
        owner: State of each minimum, ``(n,)``.
        of_state: The minimum that is each state's lowest, ``(states,)``.
    """

    minima: Floats
    passes: list[Pass]
    owner: Integers
    of_state: list[int]


def lowest_route(network: PassNetwork, start: int, end: int) -> list[Pass]:
    """Passes in order from minimum ``start`` to minimum ``end`` by the lowest way, empty if there is none.

    The way along the minimum spanning tree: its highest pass is as low as possible, and so is each part of it.
    """
    tree: dict[int, list[Pass]] = {k: [] for k in range(len(network.minima))}
    group = list(range(len(network.minima)))
    for item in sorted(network.passes, key=lambda item: item.energy):
        i, j = item.joins
        if group[i] != group[j]:
            tree[i].append(item)
            tree[j].append(item)
            group = [group[i] if g == group[j] else g for g in group]
    ways: dict[int, list[Pass]] = {start: []}
    open_ = [start]
    while open_:
        here = open_.pop()
        for item in tree[here]:
            there = item.joins[0] if item.joins[1] == here else item.joins[1]
            if there not in ways:
                ways[there] = [*ways[here], item]
                open_.append(there)
    return ways.get(end, [])


def lowest_pass(energies: Floats, passes: list[Pass]) -> Floats:
    """Energy of the highest point of the best path between every two basins, ``(n, n)``.

    The diagonal holds the minima's own energies; basins that no path joins are infinitely apart.
    """
    best = np.full((len(energies), len(energies)), np.inf)
    np.fill_diagonal(best, energies)
    for item in passes:
        i, j = item.joins
        best[i, j] = best[j, i] = min(best[i, j], item.energy)
    for k in range(len(energies)):
        best = np.minimum(best, np.maximum(best[:, k : k + 1], best[k : k + 1, :]))
    return best


def without_redundant(energies: Floats, passes: list[Pass]) -> list[Pass]:
    """Passes without those estimates that some path over exact saddles explains, to 0.1 kT.

    Basins that touch in a corner only have a lowest common point that is no saddle; the real way between them
    leads over their neighbours.
    """
    best = lowest_pass(energies, [item for item in passes if item.exact])
    return [item for item in passes if item.exact or item.energy < best[item.joins] - _SLACK]


def merge_shallow(
    energies: Floats, passes: list[Pass], *, merge_below: float, window: float
) -> tuple[Integers, list[Pass]]:
    """Basins absorbed into their neighbours, the shallowest first.

    A basin is absorbed across its lowest pass when that pass is less than ``merge_below`` above its minimum,
    or when its minimum is more than ``window`` above the lowest one. Of two basins so joined the deeper
    minimum stays.

    Args:
        energies: Reduced energies of the minima ``(n,)``.
        passes: Passes between them.
        merge_below: Least depth of a basin that stays, kT.
        window: Greatest energy of a minimum that stays, kT above the lowest.

    Returns:
        For every basin the basin it ends in ``(n,)``, and the passes left between those.
    """
    owner = np.arange(len(energies))
    lowest = energies.min()
    left = sorted(passes, key=lambda item: item.energy)
    while left:
        escape: dict[int, float] = {}
        way: dict[int, Pass] = {}
        for item in reversed(left):
            for k in item.joins:
                escape[k], way[k] = item.energy - energies[k], item
        shallow = [k for k in way if escape[k] < merge_below or energies[k] > lowest + window]
        if not shallow:
            break
        i, j = way[min(shallow, key=lambda k: escape[k])].joins
        deep, high = (i, j) if energies[i] <= energies[j] else (j, i)
        owner[owner == high] = deep
        left = _relabelled(left, high, deep)
    return owner, left


def _relabelled(passes: list[Pass], old: int, new: int) -> list[Pass]:
    """Passes after basin ``old`` became part of ``new``, the lowest between every two, by energy."""
    kept: dict[tuple[int, int], Pass] = {}
    for item in passes:
        i, j = sorted(new if k == old else k for k in item.joins)
        if i != j and (i, j) not in kept:
            kept[i, j] = Pass((i, j), item.energy, item.location, item.exact)
    return list(kept.values())
