"""Generator of underdamped dynamics of one position: Hermite functions of the momentum, finite volumes of the position.

In functions ``f(q, p) = sum_n f_n(q) h_n(p)`` with ``h_n`` the orthonormal Hermite polynomials of the thermal momentum,
the generator couples neighbouring orders only (Risken 1989, chapter 10): with the thermal speed ``v``

    (L f)_n = -friction n f_n + v sqrt(n) f_{n-1}' + v sqrt(n+1) (f_{n+1}' - beta U' f_{n+1}).

Even orders live at the centres of cells and odd orders at their faces, so that every derivative is centred, the two
couplings are minus one another's transpose, and constants are kept exactly. Where paths end, only momenta that lead out
are known; on half of the momenta that ties odd orders to even ones (Marshak's boundary of neutron transport).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import block_array, coo_matrix, csc_matrix, diags, identity

from pyro_langevin.landscape.surface import Floats, ReducedEnergy

_FEWEST_CELLS = 24


@dataclass(frozen=True, eq=False)
class PhaseSpaceGenerator:
    """The generator between two ends, after the similarity transform that makes reversal of momenta its symmetry.

    A function ``f`` is held as ``root * f_n`` at the centres (even orders) and likewise at the faces (odd orders).

    Attributes:
        matrix: ``(m, m)``; order 0 comes first, at the centres.
        centre: Positions of order 0, ``(n,)``.
        root: Square root of the Boltzmann weight of each centre's cell, not normalised, ``(n,)``.
        entry: What a function that is one beyond the left or right end adds to ``L f``, ``(2, m)``; zero at a wall.
        through: Dot product with the first odd order, ``(n - 1,)``: flux of a committor through each face.
    """

    matrix: csc_matrix
    centre: Floats
    root: Floats
    entry: Floats
    through: Floats

    def means(self, function: Floats) -> Floats:
        """Mean over Maxwell's momenta at each centre of a function ``(m, ...)``, ``(n, ...)``."""
        shape = (-1,) + (1,) * (function.ndim - 1)
        return np.asarray(function[: len(self.root)] / self.root.reshape(shape))

    def flux(self, committor: Floats) -> float:
        """Reactive flux to the right, per time and unit of weight, of a committor ``(m,)`` between two open ends."""
        count = len(self.root)
        return float((self.through * committor[count : 2 * count - 1]).mean())

    def embed(self, values: Floats) -> Floats:
        """Functions of the position alone ``(n, ...)`` as vectors ``(m, ...)``."""
        shape = (-1,) + (1,) * (values.ndim - 1)
        result = np.zeros((self.matrix.shape[0], *values.shape[1:]))
        result[: len(self.root)] = values * self.root.reshape(shape)
        return result


def make_phase_space_generator(
    surface: ReducedEnergy,
    ends: tuple[float, float],
    *,
    open_ends: tuple[bool, bool],
    lowest: float,
    spacing: float,
    orders: int,
    friction: float,
    speed: float,
) -> PhaseSpaceGenerator:
    """Generator between two positions; second order in the spacing.

    Args:
        surface: Reduced energy of the position.
        ends: The two positions.
        open_ends: Whether paths end there; else they are reflected.
        lowest: Reduced energy that weights are relative to.
        spacing: Wanted width of the cells.
        orders: Hermite functions of the momentum, even.
        friction: Rate.
        speed: Thermal speed ``sqrt(temperature / mass)``.
    """
    low, high = ends
    left, right = (0.5 if is_open else 0.0 for is_open in open_ends)
    count = max(_FEWEST_CELLS, int(np.ceil((high - low) / spacing)) + 1)
    width = (high - low) / (count - left - right)
    # a centre lies on each open end, with half a cell
    centre: Floats = np.asarray(low + (np.arange(count) + 0.5 - left) * width, dtype=np.float64)
    volume = np.full(count, width)
    volume[0] -= left * width
    volume[-1] -= right * width
    energy = surface(centre[:, None]) - lowest
    face = surface(np.asarray(0.5 * (centre[1:] + centre[:-1])[:, None], dtype=np.float64)) - lowest
    share = np.sqrt(width * volume)
    below, above = 0.5 * (energy[:-1] - face), 0.5 * (energy[1:] - face)
    shape = (count - 1, count)
    to_faces = diags([-np.exp(below) / share[:-1], np.exp(above) / share[1:]], [0, 1], shape=shape)
    to_centres = diags([np.exp(-below) / share[:-1], -np.exp(-above) / share[1:]], [0, -1], shape=shape[::-1])
    blocks: list[list[object]] = [[None] * orders for _ in range(orders)]
    for n in range(orders):
        blocks[n][n] = -friction * n * identity(count - n % 2)
        if n > 0:
            raising = speed * np.sqrt(n) * (to_faces if n % 2 else to_centres)
            blocks[n][n - 1], blocks[n - 1][n] = raising, -raising.T
    matrix = csc_matrix(block_array(blocks))
    root = np.sqrt(volume) * np.exp(-0.5 * energy)
    sizes = np.array([count - n % 2 for n in range(orders)])
    first = (np.cumsum(sizes) - sizes)[::2]
    outwards = speed * _half_range_speeds(orders)[::2, ::2]
    entry = np.zeros((2, matrix.shape[0]))
    for side, cell in enumerate((0, count - 1)):
        if open_ends[side]:
            place, rate = first + cell, outwards / volume[cell]
            rows, columns = np.repeat(place, len(place)), np.tile(place, len(place))
            matrix = csc_matrix(matrix - coo_matrix((rate.ravel(), (rows, columns)), shape=matrix.shape))
            entry[side, place] = rate[:, 0] * root[cell]
    through = np.asarray(speed * np.exp(-0.5 * face) / np.sqrt(width), dtype=np.float64)
    return PhaseSpaceGenerator(matrix, centre, root, entry, through)


def _half_range_speeds(orders: int) -> Floats:
    """Means of ``|x| h_m(x) h_n(x)`` under the standard normal for even ``m, n``, ``(orders, orders)``."""
    at_zero = np.zeros(orders + 1)
    at_zero[0] = 1.0
    for n in range(1, orders):
        at_zero[n + 1] = -np.sqrt(n / (n + 1.0)) * at_zero[n - 1]
    even, odd = np.arange(0, orders, 2), np.arange(1, orders, 2)
    # mean of sign(x) h_odd h_even: the Wronskian at zero, as both solve Hermite's equation
    slope = np.sqrt(odd) * at_zero[odd - 1]
    sign = np.zeros((orders + 1, orders))
    sign[1:orders:2, ::2] = (
        np.sqrt(2.0 / np.pi) * slope[:, None] * at_zero[even] / (odd[:, None] - even[None, :])
    )
    speeds = np.zeros((orders, orders))
    speeds[::2] = np.sqrt(even + 1.0)[:, None] * sign[even + 1]
    speeds[2::2] += np.sqrt(even[1:])[:, None] * sign[even[1:] - 1]
    return speeds
