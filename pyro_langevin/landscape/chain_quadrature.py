"""Kinetics of a discretised chain in one dimension, by quadrature of its transition density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs, splu

from pyro_langevin.landscape.chain_result import ChainKinetics, TransitionFunction, dwells, evaluate
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, LandscapeError

_HEIGHT = 25.0  # kT up to which the chain is followed
_ORDER = 6  # Gauss-Legendre nodes a panel
_PANEL = 2.0  # panel width in units of the narrowest noise: the kernel is then integrated to 1e-7
_PANELS = 120  # least number, to resolve the potential
_MOST_NODES = 60_000
_MOST_ENTRIES = 20_000_000  # of the matrix: a gigabyte or so while it is made
_REACH = 8.0  # standard deviations of noise that are kept
_LOSS_FLOOR = 1e-6  # below, what a row lacks is the error of the quadrature


@dataclass(frozen=True, eq=False)
class _Kernel:
    """Transition probabilities between quadrature nodes.

    Attributes:
        nodes: ``(m,)``.
        weights: ``(m,)``.
        matrix: ``(m, m)``, row a: density at each node after a step from node a, times weight; rows sum to
            one.
        lost: Probability of a step out of the region, ``(m,)``.
    """

    nodes: Floats
    weights: Floats
    matrix: csc_matrix
    lost: Floats


def chain_kinetics_1d(
    transition: TransitionFunction, landscape: Landscape, step: float, *, processes: int
) -> ChainKinetics:
    """Kinetics of the chain with Gaussian ``transition`` and ``step``, to about 1e-6 of the chain's own."""
    kernel = _kernel(transition, landscape, step)
    law = _stationary_law(kernel)
    states = landscape.n_states
    basin = landscape.basin(kernel.nodes[:, None])
    occupancy = np.bincount(basin, law, minlength=states).astype(np.float64)
    flux, last = _core_fluxes(kernel, law, landscape)
    rate = flux / (last[:, None] * step)
    zeros = np.zeros(states)
    return ChainKinetics(
        step=step,
        occupancy=occupancy,
        timescale=-step / np.log(_eigenvalues(kernel, processes)),
        mfpt=_passage_times(transition, kernel, landscape.minimum[:, 0], step),
        rate=rate,
        dwell=dwells(rate),
        occupancy_error=zeros,
        rate_error=np.zeros((states, states)),
        dwell_error=zeros,
        escape_rate=float(law @ kernel.lost) / step,
        events=np.full((states, states), np.inf),
    )


def _moments(transition: TransitionFunction, points: Floats, step: float) -> tuple[Floats, Floats]:
    """Mean and standard deviation ``(m,)`` of the step from points ``(m,)``."""
    result = evaluate(transition, points[:, None], step)
    mean, scale = result.mean.reshape(-1), result.scale.expand(len(points), 1, 1).reshape(-1)
    return mean.numpy().astype(np.float64), np.abs(scale.numpy().astype(np.float64))


def _kernel(transition: TransitionFunction, landscape: Landscape, step: float) -> _Kernel:
    assert landscape.grid is not None and landscape.core_edge is not None
    axis = landscape.grid.axes[0]
    inside = axis[landscape.grid.energy < _HEIGHT]
    low, high = inside[0], inside[-1]
    coarse = np.linspace(low, high, 2001)
    narrowest = float(_moments(transition, coarse, step)[1].min())
    width = min(_PANEL * narrowest, (high - low) / _PANELS)
    if not width > 0 or (high - low) / width * _ORDER > _MOST_NODES:
        raise LandscapeError(
            f"chain_kinetics: the noise of a step ({narrowest:.2g}) is too small against the landscape "
            f"({high - low:.2g}) to be resolved; at so short a step use continuous_kinetics"
        )
    special = np.concatenate([landscape.saddle[:, 0], landscape.minimum[:, 0], landscape.core_edge.ravel()])
    ends = np.unique(np.concatenate([[low, high], special[(special > low) & (special < high)]]))
    panels = [
        np.linspace(a, b, int(np.ceil((b - a) / width)) + 1) for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
    edges = np.concatenate([part[:-1] for part in panels] + [ends[-1:]])
    offset, share = np.polynomial.legendre.leggauss(_ORDER)
    half = 0.5 * np.diff(edges)
    nodes = (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * offset).ravel()
    weights = (half[:, None] * share).ravel()
    mean, scale = _moments(transition, nodes, step)
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise LandscapeError("chain_kinetics: a transition is not finite, or without noise")
    matrix, total = _transition_matrix(nodes, weights, mean, scale)
    return _Kernel(nodes, weights, matrix, np.where(total < 1.0 - _LOSS_FLOOR, 1.0 - total, 0.0))


def _transition_matrix(
    nodes: Floats, weights: Floats, mean: Floats, scale: Floats
) -> tuple[csc_matrix, Floats]:
    """Rows that sum to one, and what they summed to before."""
    # a step that would leave the region ends at its edge, so that a too long step shows as loss and not as
    # an error
    mean = np.clip(mean, nodes[0], nodes[-1])
    begin = np.searchsorted(nodes, mean - _REACH * scale)
    end = np.searchsorted(nodes, mean + _REACH * scale)
    if int((end - begin).sum()) > _MOST_ENTRIES:
        raise LandscapeError(
            f"chain_kinetics: the noise of a step lies between {scale.min():.2g} and {scale.max():.2g}, and a matrix "
            f"that resolves the one and holds the other has {int((end - begin).sum()):,} entries; use a shorter step, "
            "whose noise is more even, or continuous_kinetics"
        )
    rows = np.repeat(np.arange(len(nodes)), end - begin)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
    columns = columns + begin[rows]
    standard = (nodes[columns] - mean[rows]) / scale[rows]
    density = np.exp(-0.5 * standard**2) / (scale[rows] * np.sqrt(2.0 * np.pi))
    values = density * weights[columns]
    total = np.bincount(rows, values, minlength=len(nodes)).astype(np.float64)
    return csc_matrix((values / total[rows], (rows, columns)), shape=(len(nodes), len(nodes))), total


def _stationary_law(kernel: _Kernel) -> Floats:
    """Stationary probabilities of the nodes, ``(m,)``."""
    size = len(kernel.nodes)
    # inverse iteration next to the eigenvalue one
    factor = splu(csc_matrix((1.0 + 1e-10) * identity(size) - kernel.matrix.T))
    law = np.full(size, 1.0 / size)
    for _ in range(4):
        law = np.abs(factor.solve(law))
        law /= law.sum()
    return np.asarray(law)


def _eigenvalues(kernel: _Kernel, count: int) -> Floats:
    """Largest eigenvalues below one, ``(count,)``, real parts."""
    size = len(kernel.nodes)
    shift = 1.0 + 1e-6
    factor = splu(csc_matrix(shift * identity(size) - kernel.matrix))
    operator = LinearOperator((size, size), matvec=factor.solve, dtype=np.float64)
    start = 1.0 + np.random.default_rng(0).random(size)
    try:
        values = eigs(operator, k=count + 1, which="LM", v0=start, tol=1e-9, return_eigenvectors=False)
    except ArpackNoConvergence as error:
        values = error.eigenvalues
    found = np.sort((shift - 1.0 / values).real)[::-1][1:]
    result = np.zeros(count)
    result[: len(found)] = np.clip(found[:count], 0.0, 1.0)
    return np.maximum(result, 1e-300)


def _passage_times(transition: TransitionFunction, kernel: _Kernel, minima: Floats, step: float) -> Floats:
    """Mean time from each minimum to the first step at or beyond each other, ``(n, n)``."""
    count = len(minima)
    times = np.zeros((count, count))
    mean, scale = _moments(transition, minima, step)
    mean = np.clip(mean, kernel.nodes[0], kernel.nodes[-1])
    first = np.exp(-0.5 * ((kernel.nodes - mean[:, None]) / scale[:, None]) ** 2) * kernel.weights
    first /= first.sum(-1, keepdims=True)
    for target in range(count):
        for side in (-1.0, 1.0):
            start = np.flatnonzero(side * (minima[target] - minima) > 0)
            if not len(start):
                continue
            before = side * (minima[target] - kernel.nodes) > 0
            block = kernel.matrix[before][:, before]
            time = splu(csc_matrix(identity(block.shape[0]) - block)).solve(np.full(block.shape[0], step))
            times[start, target] = step + first[start][:, before] @ time
    return times


def _core_fluxes(kernel: _Kernel, law: Floats, landscape: Landscape) -> tuple[Floats, Floats]:
    """Core-to-core transitions a step ``(n, n)``, and probability that a core was the last visited ``(n,)``.

    The joint law of the place and the last core is propagated forwards, which needs no reversibility: a
    discretised chain has none.
    """
    core = landscape.core(kernel.nodes[:, None])
    states = landscape.n_states
    known = (core[:, None] == np.arange(states)) * 1.0
    outside = core < 0
    last = known * law[:, None]
    if outside.any():
        into_gap = kernel.matrix.T.tocsr()[outside]
        block = into_gap[:, outside]
        factor = splu(csc_matrix(identity(block.shape[0]) - block))
        last[outside] = factor.solve(np.ascontiguousarray(into_gap[:, ~outside] @ last[~outside]))
    flux = last.T @ (kernel.matrix @ known)
    np.fill_diagonal(flux, 0.0)
    return flux, last.sum(0)
