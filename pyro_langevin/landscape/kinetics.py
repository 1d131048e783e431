"""Kinetics of the continuous dynamics on a landscape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pyro_langevin.landscape.core_transitions import core_committors, core_fluxes, passage_times
from pyro_langevin.landscape.finite_volume import CoreFunction, Generator, GridCores, make_generator, timescales
from pyro_langevin.landscape.quadrature import core_fluxes_1d, occupancy_1d, passage_times_1d, timescales_1d
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.stationary import occupancy_on_grid
from pyro_langevin.landscape.surface import Floats, Integers, LandscapeError

_COARSEST = 0.8  # grid cells by the standard deviation of the narrowest well
_HEIGHT = 15.0  # kT: cells above hold less than e^-15 of the probability of the deepest ...
_ABOVE_PASS = 8.0  # ... and are left out if they are also this much above every pass


@dataclass(frozen=True, eq=False)
class Kinetics:
    """Kinetics of overdamped dynamics in continuous time; ``n`` states, times in the unit of the diffusion.

    Attributes:
        occupancy: Probability of each basin under the Boltzmann law, ``(n,)``.
        timescale: Slowest implied timescales of the generator, ``(k,)``, the slowest first.
        mfpt: Mean first-passage time from the minimum of i to j, ``(n, n)``: to the point of the minimum in
            one dimension, to the core in more; zero on the diagonal.
        rate: Transitions from i to j per time with i the core visited last, ``(n, n)``.
        dwell: Mean time with i the core visited last, ``1 / sum_j rate_ij``, ``(n,)``; infinite for a single
            state.
        flux: Reactive flux: transitions from core i to j per time in equilibrium, ``(n, n)``, symmetric; of the
            transition path theory of E and Vanden-Eijnden (2006).
    """

    occupancy: Floats
    timescale: Floats
    mfpt: Floats
    rate: Floats
    dwell: Floats
    flux: Floats


def continuous_kinetics(
    landscape: Landscape, diffusion: ArrayLike, *, processes: int = 5, cores: CoreFunction | None = None
) -> Kinetics:
    """Kinetics of ``dz = -D grad(beta U) dt + sqrt(2 D) dW``.

    One dimension: quadrature (1e-6). Two and three: finite volumes on the landscape's grid (O(h^2), of the
    order of 1e-3). Dwells and rates count core-to-core transitions (Schütte's milestoning), free of
    recrossings, exact for reversible dynamics.

    Args:
        landscape: The landscape.
        diffusion: Scalar or one value a dimension, in latent units squared per time.
        processes: Number of timescales.
        cores: Core labels ``(m,)`` of points ``(m, dim)`` instead of the landscape's own, for two and three
            dimensions.

    Raises:
        LandscapeError: On a diffusion that is not positive or of another shape, and in more than three
            dimensions: use :func:`simulated_kinetics` there.
    """
    along = along_dimensions(landscape, diffusion)
    if landscape.dim == 1:
        return _line(landscape, float(along[0]), processes)
    if landscape.grid is None:
        raise LandscapeError(
            f"kinetics: expected at most 3 dimensions, got {landscape.dim}; "
            "use simulated_kinetics"
        )
    return _grid(landscape, along, processes, landscape.core if cores is None else cores)


def along_dimensions(landscape: Landscape, diffusion: ArrayLike) -> Floats:
    """Diffusion along each dimension, ``(dim,)``.

    Raises:
        LandscapeError: If it is not positive or of another shape.
    """
    given = np.asarray(diffusion, dtype=np.float64)
    if given.shape not in ((), (1,), (landscape.dim,)) or not ((given > 0) & np.isfinite(given)).all():
        raise LandscapeError(
            f"kinetics: expected a positive diffusion, scalar or ({landscape.dim},), got {given.tolist()}"
        )
    return np.broadcast_to(given, (landscape.dim,))


def generator_height(landscape: Landscape) -> float:
    """Energy in kT of the highest cells that a generator needs."""
    highest = float((landscape.beta_barrier + landscape.beta_energy[:, None]).max())
    return max(_HEIGHT, highest + _ABOVE_PASS)


def _line(landscape: Landscape, diffusion: float, processes: int) -> Kinetics:
    minima = landscape.minimum[:, 0]
    flux, last = core_fluxes_1d(landscape, diffusion)
    rate, dwell = rates_and_dwells(flux, last)
    return Kinetics(
        occupancy=occupancy_1d(landscape),
        timescale=timescales_1d(landscape, diffusion, count=processes),
        mfpt=passage_times_1d(landscape, diffusion, start=minima, target=minima),
        rate=rate,
        dwell=dwell,
        flux=flux,
    )


def _grid(landscape: Landscape, diffusion: Floats, processes: int, cores: CoreFunction) -> Kinetics:
    grid, states = landscape.grid, landscape.n_states
    assert grid is not None
    check_resolution(landscape, grid)
    free = make_generator(grid, diffusion, height=generator_height(landscape))
    cored, label = cored_generator(landscape, diffusion, cores)
    flux, last = core_fluxes(cored, core_committors(cored, label, states=states))
    rate, dwell = rates_and_dwells(flux, last)
    start = np.searchsorted(cored.cells, grid.nearest(landscape.minimum))
    return Kinetics(
        occupancy=occupancy_on_grid(grid, states),
        timescale=timescales(free, count=processes),
        mfpt=passage_times(cored, label, start, states=states),
        rate=rate,
        dwell=dwell,
        flux=flux,
    )


def cored_generator(landscape: Landscape, diffusion: Floats, cores: CoreFunction) -> tuple[Generator, Integers]:
    """Generator that knows the edges of the cores, and the core of each cell in use ``(m,)``, -1 outside."""
    grid = landscape.grid
    assert grid is not None
    label = np.asarray(cores(grid.points), dtype=np.int64)
    # a core narrower than a cell still has one
    label[grid.nearest(landscape.minimum)] = np.arange(landscape.n_states)
    on_grid = GridCores(label.reshape(grid.energy.shape), cores)
    generator = make_generator(grid, diffusion, height=generator_height(landscape), cores=on_grid)
    return generator, label[generator.cells]


def check_resolution(landscape: Landscape, grid: EnergyGrid) -> None:
    """Refuse wells that the grid does not resolve: finite volumes would be off by more than some per cent."""
    hessian = landscape.surface.slope_and_curvature(landscape.minimum)[1]
    curvature = np.diagonal(hessian, axis1=-2, axis2=-1).max(0)
    coarseness = float((grid.spacing * np.sqrt(curvature)).max())
    if coarseness > _COARSEST:
        raise LandscapeError(
            f"kinetics: the narrowest well is {1.0 / coarseness:.2g} grid cells wide, too sharp for the "
            f"grid in {grid.dim} dimensions; use chain_kinetics"
        )


def rates_and_dwells(flux: Floats, last: Floats) -> tuple[Floats, Floats]:
    """Rates ``(n, n)`` and mean dwells ``(n,)`` from fluxes and probabilities of the last core."""
    rate = flux / last[:, None]
    out = rate.sum(-1)
    dwell = np.full(len(last), np.inf)
    np.divide(1.0, out, out=dwell, where=out > 0)
    return rate, dwell
