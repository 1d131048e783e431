"""Small states for a Markov state model: clusters of basins along their slow coordinates."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from pyro_langevin.landscape.surface import Floats, Integers

_MOST_POINTS = 5000  # clustered; more would not move the centres
_SWEEPS = 3
_RIDGE = 1e-9


def slow_coordinates(paths: Floats, lag: int, *, count: int) -> Floats:
    """Linear combinations of coordinates that are remembered longest, ``(*batch, time, count)``, in units of that.

    Time-lagged independent components (Molgedey and Schuster 1994; Pérez-Hernández et al. 2013) scaled by their
    autocorrelation at the lag, so that distances are kinetic (Noé and Clementi 2015).

    Args:
        paths: ``(*batch, time, dim)``.
        lag: In rows.
        count: At most ``dim``.
    """
    dim = paths.shape[-1]
    begin, end = paths[..., :-lag, :].reshape(-1, dim), paths[..., lag:, :].reshape(-1, dim)
    mean = 0.5 * (begin.mean(0) + end.mean(0))
    begin, end = begin - mean, end - mean
    now = 0.5 * (begin.T @ begin + end.T @ end) / len(begin)
    later = 0.5 * (begin.T @ end + end.T @ begin) / len(begin)
    values, vectors = eigh(later, now + _RIDGE * np.trace(now) * np.eye(dim))
    order = np.argsort(values)[::-1][:count]
    return np.asarray((paths - mean) @ (vectors[:, order] * np.maximum(values[order], 0.0)))


def small_states(coordinates: Floats, basin: Integers, *, clusters: int, generator: np.random.Generator) -> Integers:
    """Number of the small state of each point: k-means within each basin, ``(*batch, time)``.

    Args:
        coordinates: ``(*batch, time, k)``.
        basin: ``(*batch, time)``.
        clusters: Number of them in each basin.
        generator: Source of randomness.
    """
    flat, owner = coordinates.reshape(-1, coordinates.shape[-1]), basin.ravel()
    label, used = np.zeros(len(flat), dtype=np.int64), 0
    for state in np.unique(owner):
        mine = np.flatnonzero(owner == state)
        sample = flat[generator.permutation(mine)[:_MOST_POINTS]]
        # evenly over the range rather than by density: what matters is near the edge of a basin, where points are few
        centre = _spread(sample, clusters)
        for _ in range(_SWEEPS):
            nearest = _nearest(sample, centre)
            centre = np.stack([sample[nearest == k].mean(0) for k in np.unique(nearest)])
        _, label[mine] = np.unique(_nearest(flat[mine], centre), return_inverse=True)
        label[mine] += used
        used = int(label[mine].max()) + 1
    return label.reshape(basin.shape)


def _nearest(points: Floats, centre: Floats) -> Integers:
    return np.asarray(((points[:, None] - centre) ** 2).sum(-1).argmin(-1), dtype=np.int64)


def _spread(points: Floats, count: int) -> Floats:
    """Points each the furthest from those before it (Gonzalez 1985)."""
    chosen = [points[0]]
    distance = ((points - points[0]) ** 2).sum(-1)
    for _ in range(min(count, len(points)) - 1):
        chosen.append(points[int(distance.argmax())])
        distance = np.minimum(distance, ((points - chosen[-1]) ** 2).sum(-1))
    return np.array(chosen)
