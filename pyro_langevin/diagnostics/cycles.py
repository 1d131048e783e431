"""Cycles of a network of states, and the part of a flux that goes round."""

from __future__ import annotations

import numpy as np

__all__ = ["cycle_part", "fundamental_cycles"]


def fundamental_cycles(strength: np.ndarray) -> np.ndarray:
    """Cycles that together hold every cycle of a network, (cycle, from, to): 1 along the cycle, -1 against it.

    One for each edge that a spanning tree of the strongest edges leaves out: that edge, and back along the tree
    (Schnakenberg 1976).

    Args:
        strength: (n, n) symmetric, positive where two states are joined.
    """
    n = len(strength)
    pairs = sorted(((strength[i, j], i, j) for i in range(n) for j in range(i) if strength[i, j] > 0), reverse=True)
    part = np.arange(n)
    tree: dict[int, list[int]] = {state: [] for state in range(n)}
    left_out = []
    for _, i, j in pairs:
        if part[i] == part[j]:
            left_out.append((i, j))
            continue
        part[part == part[i]] = part[j]
        tree[i].append(j)
        tree[j].append(i)
    cycles = np.zeros((len(left_out), n, n))
    for number, (i, j) in enumerate(left_out):
        way = [i, *_way(tree, j, i)]
        for one, other in zip(way[:-1], way[1:], strict=True):
            cycles[number, one, other] += 1.0
            cycles[number, other, one] -= 1.0
    return cycles


def cycle_part(flux: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """What goes round of an antisymmetric flux: the flux less ``strength_ij (phi_i - phi_j)``, same shape.

    The potential phi is the one that leaves no divergence: a record that begins here and ends there, or series that
    relax from one state, drive just such a flux, and no cycle. Linear in the flux.

    Args:
        flux: (*batch, n, n), antisymmetric.
        strength: (n, n) symmetric, positive where two states are joined.
    """
    laplacian = np.diag(strength.sum(1)) - strength
    phi = flux.sum(-1) @ np.linalg.pinv(laplacian)  # symmetric, so either side will do
    return np.asarray(flux - strength * (phi[..., :, None] - phi[..., None, :]))


def _way(tree: dict[int, list[int]], start: int, end: int) -> list[int]:
    """States from start to end along the tree."""
    before = {start: start}
    waiting = [start]
    for state in waiting:
        for neighbour in tree[state]:
            if neighbour not in before:
                before[neighbour] = state
                waiting.append(neighbour)
    way = [end]
    while way[-1] != start:
        way.append(before[way[-1]])
    return way[::-1]
