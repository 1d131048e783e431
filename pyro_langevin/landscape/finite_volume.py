"""The generator on a grid in two and three dimensions, by finite volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import LinearOperator, cg, eigsh, splu

from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError

_EDGE_BISECTIONS = 8


@dataclass(frozen=True, eq=False)
class Generator:
    r"""Generator of overdamped dynamics on the cells of a grid, symmetrised.

    Scharfetter-Gummel rates ``D/h^2 B(E_b - E_a)`` with ``B(x) = x/(e^x - 1)`` are reversible with respect to
    ``exp(-E)``; ``matrix`` is minus the generator after the similarity transform with ``root``. Errors are
    O(h^2).

    Attributes:
        cells: Flat indices of the cells of the grid that are in use, ``(m,)``.
        matrix: Symmetric positive semidefinite, ``(m, m)``.
        root: Square root of the cells' probabilities, ``(m,)``: the null vector of ``matrix``.
        dim: Dimension of the space.
    """

    cells: Integers
    matrix: csc_matrix
    root: Floats
    dim: int

    def pseudo_inverse(self) -> Callable[[Floats], Floats]:
        """Function that solves ``matrix x = b`` for the parts of ``b`` and ``x`` orthogonal to ``root``."""
        # the direct solver pins one cell, exact for any barrier; conjugate gradients are faster without
        keep = np.ones(len(self.root), dtype=bool)
        if self.dim < 3:
            keep[int(self.root.argmax())] = False
        solve = self.solver(keep)

        def inverse(right: Floats) -> Floats:
            solution = np.zeros_like(right)
            solution[keep] = solve((right - (self.root @ right) * self.root)[keep])
            return np.asarray(solution - (self.root @ solution) * self.root)

        return inverse

    def solver(self, keep: np.ndarray) -> Callable[[Floats], Floats]:
        """Function that solves ``matrix x = b`` on the cells to keep ``(m,)`` (bool)."""
        return _solver(csc_matrix(self.matrix[keep][:, keep]), self.dim)

    def shifted_solver(self, time: float) -> Callable[[Floats], Floats]:
        """Function that solves ``(1 + time matrix) x = b``: an implicit step of the dynamics."""
        return _solver(csc_matrix(identity(len(self.root)) + time * self.matrix), self.dim)


def _solver(block: csc_matrix, dim: int) -> Callable[[Floats], Floats]:
    """Factorised up to two dimensions; in three, where factors would fill the memory, conjugate gradients."""
    if dim > 2:
        return _iterative_solver(block)
    factor = splu(block, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return lambda right: np.asarray(factor.solve(right))


def _iterative_solver(block: csc_matrix) -> Callable[[Floats], Floats]:
    diagonal = block.diagonal()
    jacobi = LinearOperator(block.shape, matvec=lambda x: x / diagonal, dtype=np.float64)
    rows = block.tocsr()

    def solve(right: Floats) -> Floats:
        solution, stalled = cg(rows, right, rtol=1e-8, maxiter=20_000, M=jacobi)
        if stalled:
            raise LandscapeError(
                "kinetics: the linear solver did not converge; barriers above some 20 kT are out of reach"
            )
        return np.asarray(solution)

    return solve


CoreFunction = Callable[[Floats], Integers]


@dataclass(frozen=True, eq=False)
class GridCores:
    """Cores on a grid, with a function that tells where between two cells their edges are.

    Attributes:
        label: Core of each cell, -1 outside, shape of the grid.
        function: Core labels ``(m,)`` of points ``(m, dim)``.
    """

    label: Integers
    function: CoreFunction


def make_generator(
    grid: EnergyGrid, diffusion: Floats, *, height: float, cores: GridCores | None = None
) -> Generator:
    """Generator on the cells below ``height`` kT, reflecting at their edge.

    Args:
        grid: Energies in kT relative to the lowest minimum.
        diffusion: Diffusion along each dimension, ``(dim,)``.
        height: Highest energy of a cell in use.
        cores: If given, cells just outside a core are coupled to its edge, as far away as it is, in place of
            the next cell's centre (Gibou et al. 2002). For problems whose solution is constant on cores.
    """
    used = grid.energy < height
    number = np.full(grid.energy.shape, -1, dtype=np.int64)
    number[used] = np.arange(int(used.sum()))
    centre = grid.points
    rows, columns, values = [], [], []
    diagonal = np.zeros(int(used.sum()))
    cell = np.arange(grid.energy.size).reshape(grid.energy.shape)
    for axis, (spacing, mobility) in enumerate(zip(grid.spacing, diffusion, strict=True)):
        count = grid.energy.shape[axis]
        first, second = (cell.take(np.arange(count - 1) + k, axis).ravel() for k in (0, 1))
        pair = used.ravel()[first] & used.ravel()[second]
        first, second = first[pair], second[pair]
        rise = grid.energy.ravel()[second] - grid.energy.ravel()[first]
        # B(x) exp(x/2) = (x/2)/sinh(x/2) on both sides of the face; B itself on the diagonal
        half = np.maximum(np.abs(0.5 * rise), 1e-8)
        symmetric = mobility / spacing**2 * half / np.sinh(half)
        if cores is not None:
            symmetric = symmetric * _edge_factor(cores, centre, first, second, rise)
        one, two = number.ravel()[first], number.ravel()[second]
        diagonal += np.bincount(one, symmetric * np.exp(-0.5 * rise), minlength=len(diagonal))
        diagonal += np.bincount(two, symmetric * np.exp(0.5 * rise), minlength=len(diagonal))
        rows += [one, two]
        columns += [two, one]
        values += [-symmetric, -symmetric]
    everyone = np.arange(len(diagonal))
    entries = np.concatenate([*values, diagonal])
    places = np.concatenate([*rows, everyone]), np.concatenate([*columns, everyone])
    matrix = csc_matrix((entries, places), shape=(len(diagonal), len(diagonal)))
    root = np.exp(-0.5 * grid.energy[used])
    return Generator(np.flatnonzero(used.ravel()), matrix, root / np.linalg.norm(root), grid.dim)


def _edge_factor(cores: GridCores, centre: Floats, first: Integers, second: Integers, rise: Floats) -> Floats:
    """Factor on the coupling of two cells where the edge of a core runs between their centres, else one."""
    factor = np.ones(len(first))
    label = cores.label.ravel()
    crossing = np.flatnonzero((label[first] < 0) != (label[second] < 0))
    inwards = label[second[crossing]] >= 0
    outer = np.where(inwards, first[crossing], second[crossing])
    inner = np.where(inwards, second[crossing], first[crossing])
    fall = np.where(inwards, rise[crossing], -rise[crossing])
    near, far = np.zeros(len(crossing)), np.ones(len(crossing))
    for _ in range(_EDGE_BISECTIONS):
        middle = 0.5 * (near + far)
        reached = cores.function(centre[outer] + middle[:, None] * (centre[inner] - centre[outer])) >= 0
        near, far = np.where(reached, near, middle), np.where(reached, middle, far)
    # the coupling grows as the edge comes nearer, and its weight is that of the edge and not of the inner
    # centre
    factor[crossing] = np.exp(0.5 * (1.0 - far) * fall) / far
    return factor


def timescales(generator: Generator, *, count: int) -> Floats:
    """Slowest implied timescales, ``(count,)``."""
    root = generator.root
    solve = generator.pseudo_inverse()
    operator = LinearOperator((len(root), len(root)), matvec=lambda x: solve(x.ravel()), dtype=np.float64)
    start = root * np.random.default_rng(0).standard_normal(len(root))
    values = eigsh(operator, k=count, which="LA", v0=solve(start), tol=1e-5, return_eigenvectors=False)
    return np.asarray(np.sort(values)[::-1])
