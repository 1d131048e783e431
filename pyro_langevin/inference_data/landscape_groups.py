"""Groups of the draws that describe the learned potential: states, occupancy, and its picture."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.inference_data.draws import PathDraws
from pyro_langevin.inference_data.groups import time_weights
from pyro_langevin.inference_data.plane import Plane
from pyro_langevin.landscape import (
    Landscape,
    LandscapeError,
    committors,
    inertial_committors,
    minimum_energy_path,
    stationary_occupancy,
)
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_IMAGES = 51
_LINE_POINTS, _PLANE_POINTS = 400, 120
_MARGIN = 0.2  # of the extent of the paths, drawn beyond them


def states_group(model: LangevinModel, landscape: Landscape, barrier_sd: np.ndarray | None) -> xr.Dataset:
    """Minima, their place in data units, energies, and the barriers, saddles and paths between them, of one fit."""
    minimum = torch.from_numpy(landscape.minimum)
    with torch.no_grad():
        weight = next(model.emission.parameters())
        location = model.emission.mean(minimum.to(weight)).cpu().numpy()
    n, dim = landscape.n_states, landscape.dim
    saddle = np.full((n, n, dim), np.nan)
    path, height = np.full((n, n, _IMAGES, dim), np.nan), np.full((n, n, _IMAGES), np.nan)
    for place, (i, j) in zip(landscape.saddle, landscape.saddle_joins, strict=True):
        saddle[i, j] = saddle[j, i] = place
        way = minimum_energy_path(landscape, int(i), int(j), images=_IMAGES)
        path[i, j], path[j, i] = way.points, way.points[::-1]
        height[i, j], height[j, i] = way.beta_energy, way.beta_energy[::-1]
    pair = ("state_from", "state_to")
    variables = {
        "minimum": (("state", "latent_dim"), landscape.minimum),
        "location": (("state", "channel"), location.astype(np.float64)),
        "beta_energy": (("state",), landscape.beta_energy),
        "beta_barrier": (pair, landscape.beta_barrier),
        "saddle": ((*pair, "latent_dim"), saddle),
        "path": ((*pair, "image", "latent_dim"), path),
        "path_beta_energy": ((*pair, "image"), height),
        "n_states": ((), n),
    }
    if barrier_sd is not None:
        variables["beta_barrier_sd"] = (pair, barrier_sd)
    return xr.Dataset(variables)


def occupancy_group(
    draws: PathDraws, observations: Observations, landscape: Landscape, chain: np.ndarray | None
) -> xr.Dataset:
    """Stationary and path occupancy of one fit, and the probability of each state over time.

    Args:
        draws: Posterior paths.
        observations: The data.
        landscape: The learned landscape.
        chain: Occupancy of the dynamics as discretised, ``(state,)``, where it is known.
    """
    weights = time_weights(observations)
    belongs = [draws.state == state for state in range(landscape.n_states)]
    path = np.stack([np.einsum("dst,st->ds", one, weights) for one in belongs], -1) / weights.sum(-1)[:, None]
    share = np.stack([one.mean(0) for one in belongs], -1)
    outside = (draws.state[:1] < 0)[0]
    stationary = stationary_occupancy(landscape)
    return xr.Dataset(
        {
            "stationary": (("state", "estimator"), stationary.value),
            "stationary_error": (("state", "estimator"), stationary.error),
            "stationary_chain": (("state",), np.full(landscape.n_states, np.nan) if chain is None else chain),
            "path": (("draw", "series", "state"), path),
            "p_state": (("series", "time", "state"), np.where(outside[..., None], np.nan, share)),
        },
        coords={"estimator": list(stationary.estimator)},
    )


def landscape_group(model: LangevinModel, landscape: Landscape, states: np.ndarray) -> xr.Dataset:
    """The learned potential in kT above its minimum, with committors, on a line or a plane.

    In more than two dimensions the plane goes through three minima; with fewer of them there is none, and the group is
    empty.

    Args:
        model: The fitted model.
        landscape: Its landscape.
        states: Points of posterior paths, ``(n, dim)``: the picture covers them.
    """
    points = np.concatenate([states, landscape.minimum])
    if landscape.dim == 1:
        axis = _covering(points[:, 0], _LINE_POINTS)
        height, committor = _drawn(model, landscape, axis[:, None])
        variables: dict[str, Any] = {"grid": (("point",), axis), "beta_potential": (("point",), height)}
        if committor is not None:
            variables["committor"] = (("state", "point"), np.moveaxis(committor, -1, 0))
        return xr.Dataset(variables)
    plane = Plane.whole(2) if landscape.dim == 2 else Plane.through(landscape.minimum[_lowest(landscape)])
    if plane is None:
        return xr.Dataset()
    across = plane.coordinates(points if landscape.dim == 2 else landscape.minimum)
    x, y = (_covering(values, _PLANE_POINTS) for values in across.T)
    mesh = plane.points(np.stack(np.meshgrid(x, y, indexing="xy"), -1))
    height, committor = _drawn(model, landscape, mesh)
    variables = {"grid_x": (("x",), x), "grid_y": (("y",), y), "beta_potential": (("y", "x"), height)}
    if committor is not None:
        variables["committor"] = (("state", "y", "x"), np.moveaxis(committor, -1, 0))
    if landscape.dim == 2:
        return xr.Dataset(variables)
    variables["minimum_in_plane"] = (("state", "axis"), plane.coordinates(landscape.minimum))
    return xr.Dataset(variables, attrs={"plane": "three minima"})


def _drawn(model: LangevinModel, landscape: Landscape, mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Energies ``(*mesh,)`` and committors ``(*mesh, state)`` of points ``(*mesh, dim)``."""
    flat = mesh.reshape(-1, landscape.dim)
    height = landscape.surface(flat) - float(landscape.surface(landscape.minimum).min())
    function = _committors(model, landscape)
    shape = mesh.shape[:-1]
    return height.reshape(shape), None if function is None else function(flat).reshape(*shape, -1)


def _committors(model: LangevinModel, landscape: Landscape) -> Callable[[np.ndarray], np.ndarray] | None:
    """Function of points; None where it cannot be had."""
    if landscape.n_states < 2 or landscape.dim > 3:
        return None
    frozen = copy.deepcopy(model.dynamics).cpu().double().read()
    try:
        if isinstance(frozen, UnderdampedDynamics):
            return inertial_committors(frozen, landscape)
        return committors(landscape, frozen.diffusion.detach().numpy())
    except LandscapeError:
        return None


def _lowest(landscape: Landscape) -> np.ndarray:
    """The three deepest states."""
    return np.argsort(landscape.beta_energy, kind="stable")[:3]


def _covering(values: np.ndarray, count: int) -> np.ndarray:
    extra = _MARGIN * float(np.ptp(values))
    return np.linspace(values.min() - extra, values.max() + extra, count)
