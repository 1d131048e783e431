"""Action of a generator over a lag, by a rational Krylov space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import expm

from pyro_langevin.landscape.surface import Floats, LandscapeError

_POLES_APART = 30.0  # one pole serves lags within this ratio of one another
_TENTH = 0.1  # pole of a lag, in units of the lag: van den Eshof and Hochbruck's choice
_MOST_ROUNDS = 40
_EVERY = 3  # rounds between two looks at the answer
_TOLERANCE = 1e-7
_DEPENDENT = 1e-10

Solver = Callable[[Floats], Floats]


def lagged_overlaps(
    apply: Solver, solver: Callable[[float], Solver], start: Floats, null: Floats, lags: Floats, *, symmetric: bool
) -> Floats:
    """Overlaps ``start.T exp(lag A) start``, ``(lag, k, k)``, for a generator ``A`` without growing modes.

    Beside its null vector, which is set apart so that long lags are exact, the generator is projected on the space that
    repeated ``(1 - s A)^-1`` span from ``start`` (van den Eshof and Hochbruck 2006). However stiff ``A`` is, the error
    falls fast with the dimension; it ends below 1e-7 of the largest overlap.

    Args:
        apply: Product ``A x`` with columns ``(m, k)``.
        solver: For a time ``s``, the function that solves ``(1 - s A) x = b`` with ``b`` ``(m,)``.
        start: Columns ``(m, k)``.
        null: Unit vector ``(m,)`` with ``A null = 0`` and ``A.T null = 0``.
        lags: Positive, ``(lag,)``.
        symmetric: Whether ``A`` is.

    Raises:
        LandscapeError: If the space would have to grow too far.
    """
    ends = null @ start
    start = start - np.outer(null, ends)
    if np.linalg.norm(start) < _DEPENDENT * np.linalg.norm(ends):
        return np.broadcast_to(np.outer(ends, ends), (len(lags), len(ends), len(ends)))
    spread = float(lags.max() / lags.min())
    count = 1 + int(np.ceil(np.log(spread) / np.log(_POLES_APART)))
    solvers = [solver(_TENTH * float(lag)) for lag in np.geomspace(lags.min(), lags.max(), count)]
    block = basis = _orthonormal(null[:, None], start)
    image = apply(basis)
    size, found, change = float((ends**2).max()), np.full((len(lags), len(ends), len(ends)), np.inf), np.inf
    for step in range(_MOST_ROUNDS * count):
        solve = solvers[step % count]
        solved = np.stack([solve(column) for column in block.T], -1)
        block = _orthonormal(np.concatenate([null[:, None], basis], -1), solved)
        if block.shape[1] > 0:
            basis, image = np.concatenate([basis, block], -1), np.concatenate([image, apply(block)], -1)
        if step % (_EVERY * count) == 0 or block.shape[1] == 0:
            before, found = found, _projected(basis, image, start, lags, symmetric)
            change = float(np.abs(found - before).max()) / size
            if change < _TOLERANCE or block.shape[1] == 0:
                return np.outer(ends, ends) + found
    raise LandscapeError(
        f"transition_probabilities: no convergence ({change:.1e} left); ask for lags closer to one another"
    )


def _projected(basis: Floats, image: Floats, start: Floats, lags: Floats, symmetric: bool) -> Floats:
    small, ends = basis.T @ image, basis.T @ start
    if not symmetric:
        return np.stack([ends.T @ expm(lag * small) @ ends for lag in lags])
    rates, modes = np.linalg.eigh(0.5 * (small + small.T))
    share = modes.T @ ends
    return np.stack([share.T @ (np.exp(lag * np.minimum(rates, 0.0))[:, None] * share) for lag in lags])


def _orthonormal(basis: Floats, block: Floats) -> Floats:
    """Orthonormal columns that ``block`` adds to the span of ``basis``."""
    size = np.linalg.norm(block, axis=0)
    columns = block / np.maximum(size, 1e-300)
    for _ in range(2):  # twice is enough
        columns = columns - basis @ (basis.T @ columns)
    directions, values, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(directions[:, values > _DEPENDENT])
