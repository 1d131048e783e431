"""A potential, its passes and its committors for draws with a known truth: shapes that hang together, no physics."""

from __future__ import annotations

import numpy as np
import xarray as xr


def pass_heights(energy: np.ndarray, passage: np.ndarray) -> np.ndarray:
    """Height of the lowest way between minima, (chain, state, state), kT: symmetric, and lowest over all detours."""
    n = energy.shape[-1]
    one_way = energy[..., :, None] + np.log(np.maximum(passage, 1e-9)) + 3.0
    height = 0.5 * (one_way + np.swapaxes(one_way, -1, -2))
    for via in range(n):
        height = np.minimum(height, np.maximum(height[..., :, via, None], height[..., None, via, :]))
    return height


def adjacent_states(n: int, latent: int) -> np.ndarray:
    """Which minima have a pass of their own: neighbours on a line, all on a plane."""
    apart = abs(np.arange(n)[:, None] - np.arange(n))
    return (apart == 1) if latent == 1 else (apart > 0)


def passes(minimum: np.ndarray, energy: np.ndarray, height: np.ndarray, *, images: int = 21) -> dict[str, object]:
    """``saddle``, ``path`` and ``path_beta_energy`` of adjacent states: straight, with a hump of the pass's height."""
    n_chains, n, latent = minimum.shape
    there = np.where(adjacent_states(n, latent), 1.0, np.nan)
    along = np.linspace(0.0, 1.0, images)
    ends = minimum[:, :, None, None, :], minimum[:, None, :, None, :]
    path = ends[0] + along[:, None] * (ends[1] - ends[0])
    floor = energy[:, :, None, None] + along * (energy[:, None, :, None] - energy[:, :, None, None])
    middle = 0.5 * (energy[:, :, None] + energy[:, None, :])
    hump = (height - middle)[..., None] * np.sin(np.pi * along) ** 2
    pair = ("chain", "state_from", "state_to")
    return {
        "saddle": ((*pair, "latent_dim"), path[..., images // 2, :] * there[..., None]),
        "path": ((*pair, "image", "latent_dim"), path * there[..., None, None]),
        "path_beta_energy": ((*pair, "image"), (floor + hump) * there[..., None]),
    }


def landscape(
    minimum: np.ndarray, energy: np.ndarray, labels: list[str], random: np.random.Generator
) -> xr.Dataset:
    """A potential with wells of these energies at these places: -log of a sum of Gaussians."""
    n_chains, n, latent = minimum.shape
    width = 0.25 if latent == 1 else 0.45
    if latent == 1:
        grid = np.linspace(minimum.min() - 1.0, minimum.max() + 1.0, 301)
        points = grid[:, None]
    else:
        x = np.linspace(minimum[..., 0].min() - 1.5, minimum[..., 0].max() + 1.5, 81)
        y = np.linspace(minimum[..., 1].min() - 1.5, minimum[..., 1].max() + 1.5, 71)
        points = np.stack(np.meshgrid(x, y), -1)
    values, committors = [], []
    for chain in range(n_chains):
        distance = ((points[..., None, :] - minimum[chain]) ** 2).sum(-1)
        density = (np.exp(-energy[chain]) * np.exp(-distance / (2 * width**2))).sum(-1) + 3e-3
        spread = ((points - minimum[chain].mean(0)) ** 2).sum(-1)
        potential = (
            -np.log(density) + 0.05 * spread + 0.03 * random.standard_normal() * np.sin(2 * points[..., 0])
        )
        values.append(potential - potential.min())
        likelihood = np.exp(-(distance - distance.min(-1, keepdims=True)) / width**2)
        committors.append(np.moveaxis(likelihood / likelihood.sum(-1, keepdims=True), -1, 0))
    chains = {"chain": np.arange(n_chains), "state": labels}
    if latent == 1:
        return xr.Dataset(
            {
                "grid": (("chain", "point"), np.tile(grid, (n_chains, 1))),
                "beta_potential": (("chain", "point"), np.array(values)),
                "committor": (("chain", "state", "point"), np.array(committors)),
            },
            coords=chains,
        )
    return xr.Dataset(
        {
            "grid_x": (("chain", "x"), np.tile(x, (n_chains, 1))),
            "grid_y": (("chain", "y"), np.tile(y, (n_chains, 1))),
            "beta_potential": (("chain", "y", "x"), np.array(values)),
            "committor": (("chain", "state", "y", "x"), np.array(committors)),
        },
        coords=chains,
    )
