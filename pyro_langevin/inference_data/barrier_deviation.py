"""How well the data tell the barriers: curvature of the exact evidence in the directions of a few bumps."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.grid_filter import StateGrid, grid_log_evidence
from pyro_langevin.landscape import Landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.potentials import Potential
from pyro_langevin.potentials.base import Energy

_BUMPS = {1: 28, 2: 30}  # on a line about as wide as the wells: with 20 intervals covered .76 for .9
_WINDOW = 60
_MOST_ROWS = 8000  # of which the curvature is taken; it grows in proportion to them
_PRIOR = 3.0  # standard deviation of a bump before data, kT: holds those that no data reach
_LOGARITHMIC = ("friction_unconstrained", "relative_noise_unconstrained")  # where they are learned
_HEIGHT, _LOGARITHM = 0.05, 0.02  # steps of the differences


class Bumped(Potential):
    """A potential with Gaussian bumps on it.

    Args:
        base: The potential, held.
        centres: Centres of the bumps, ``(bump, dim)``.
        width: Their standard deviation.
        temperature: k_B T, the unit of their heights.

    Attributes:
        height: Heights ``(bump,)`` in kT, zero at first.
    """

    centres: Tensor
    base: Energy

    def __init__(self, base: Potential, centres: Tensor, *, width: float, temperature: float) -> None:
        super().__init__(base.dim)
        self.base, self.width, self.temperature = base.read(), width, temperature
        self.register_buffer("centres", centres)
        self.height = Parameter(torch.zeros(len(centres), dtype=centres.dtype, device=centres.device))

    def energy(self, z: Tensor) -> Tensor:
        return self.base.energy(z) + self.temperature * (self.bumps(z) @ self.height.to(z))

    def bumps(self, z: Tensor) -> Tensor:
        """Every bump of height one at points ``(*batch, dim)``, ``(*batch, bump)``."""
        squared = (z.unsqueeze(-2) - self.centres.to(z)).square().sum(-1)
        return (-0.5 * squared / self.width**2).exp()


def barrier_deviation(
    model: LangevinModel, observations: Observations, grid: StateGrid, landscape: Landscape
) -> np.ndarray:
    """Standard deviation in kT, given the data, of the barrier from each state to each other, ``(n, n)``.

    Laplace's approximation about the fitted model: potential, diffusion and noise have a Gaussian posterior whose
    precision is minus the Hessian of the exact log evidence, by differences of its gradient. The potential moves by
    bumps about as wide as wells; finer ones would find the data to tell less. Rates are told by counting hops; how a
    rate is made up of a barrier and a diffusion is told by motion within and between wells, and that is what this
    adds. Zero on the diagonal.

    Args:
        model: A model fitted on its exact evidence, overdamped.
        observations: The data.
        grid: The grid it was fitted on.
        landscape: Its landscape.
    """
    frozen = copy.deepcopy(model)
    temperature = float(frozen.dynamics.temperature)
    bumped = _bumped(frozen.dynamics.potential, grid, temperature)
    frozen.dynamics.potential = bumped
    windows = observations.windows(min(_WINDOW, observations.n_times))
    share = min(1.0, _MOST_ROWS / (windows.n_series * windows.n_times))
    chosen = torch.randperm(windows.n_series)[: max(1, round(share * windows.n_series))]
    scale = float(observations.mask.sum()) / float(windows.select(chosen).mask.sum())
    precision = scale * _curvature(frozen, windows.select(chosen), grid)
    values, vectors = np.linalg.eigh(precision)
    precision = (vectors * np.maximum(values, 0.0)) @ vectors.T  # away from the maximum a direction may bend up
    heights = len(bumped.height)
    precision[np.arange(heights), np.arange(heights)] += _PRIOR**-2
    covariance = np.linalg.inv(precision + 1e-9 * np.eye(len(precision)))[:heights, :heights]
    lever = _lever(bumped, landscape)
    return np.sqrt(np.einsum("ijk,kl,ijl->ij", lever, covariance, lever))


def _bumped(base: Potential, grid: StateGrid, temperature: float) -> Bumped:
    """Bumps all over the grid, as far apart as they are wide."""
    points = grid.points.numpy()
    width = grid.spacing * (len(points) / _BUMPS[grid.dim]) ** (1.0 / grid.dim)
    axes = [np.arange(low + 0.5 * width, high, width) for low, high in zip(points.min(0), points.max(0), strict=True)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dim)
    near = np.linalg.norm(lattice[:, None] - points, axis=-1).min(1) < grid.spacing
    centres = torch.from_numpy(lattice[near]).to(next(base.parameters(), grid.points))
    return Bumped(base, centres, width=width, temperature=temperature)


def _curvature(model: LangevinModel, windows: Observations, grid: StateGrid) -> np.ndarray:
    """Minus the Hessian of the log evidence by heights, log friction and log noise, symmetrised."""
    groups = [(model.dynamics.potential.height, _HEIGHT)]
    own = {**dict(model.dynamics.named_parameters()), **dict(model.emission.named_parameters())}
    groups += [(own[name], _LOGARITHM) for name in _LOGARITHMIC if name in own]
    for parameter in model.parameters():
        parameter.requires_grad_(any(parameter is kept for kept, _ in groups))

    def slope() -> np.ndarray:
        evidence = grid_log_evidence(model, windows, grid).sum()
        found = torch.autograd.grad(evidence, [kept for kept, _ in groups])
        # heights one by one; the other parameters of a group move together
        return torch.cat([found[0], *[part.sum().reshape(1) for part in found[1:]]]).double().cpu().numpy()

    before, rows = slope(), []
    for kept, step in groups:
        moves = torch.eye(kept.numel()).to(kept) if kept is groups[0][0] else torch.ones(1, kept.numel()).to(kept)
        for move in moves.reshape(-1, *kept.shape):
            with torch.no_grad():
                kept.add_(step * move)
            rows.append((before - slope()) / step)
            with torch.no_grad():
                kept.sub_(step * move)
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)


def _lever(bumped: Bumped, landscape: Landscape) -> np.ndarray:
    """How every barrier moves with every height, ``(n, n, bump)``: at its top less at its bottom."""
    states = landscape.n_states
    bottom = bumped.bumps(torch.from_numpy(landscape.minimum)).numpy()
    lever = np.zeros((states, states, bottom.shape[-1]))
    if len(landscape.saddle):
        top = bumped.bumps(torch.from_numpy(landscape.saddle)).numpy()
        height = landscape.beta_energy[:, None] + landscape.beta_barrier
        for i, j in np.ndindex(states, states):
            if i != j:
                lever[i, j] = top[np.abs(landscape.saddle_beta_energy - height[i, j]).argmin()] - bottom[i]
    return lever
