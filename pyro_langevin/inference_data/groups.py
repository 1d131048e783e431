"""The groups of the draws: arrays of one fit, or of the data, as xarray Datasets."""

from __future__ import annotations

import copy
import json
from typing import Any, cast

import numpy as np
import torch
import xarray as xr

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.inference_data.draws import PathDraws
from pyro_langevin.inference_data.lifted_landscape import LiftedLandscape
from pyro_langevin.landscape import Landscape, LandscapeError, chain_kinetics, continuous_kinetics, inertial_kinetics
from pyro_langevin.landscape.stationary import stationary_occupancy
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.training import FittedMember

_PROCESSES = 3
_LINE_POINTS, _PLANE_POINTS = 400, 120


def states_group(member: FittedMember, landscape: Landscape) -> xr.Dataset:
    """Minima, their place in data units, energies and barriers of one fit."""
    minimum = torch.from_numpy(landscape.minimum)
    with torch.no_grad():
        weight = next(member.model.emission.parameters())
        location = member.model.emission.mean(minimum.to(weight)).cpu().numpy()
    return xr.Dataset(
        {
            "minimum": (("state", "latent_dim"), landscape.minimum),
            "location": (("state", "channel"), location.astype(np.float64)),
            "beta_energy": (("state",), landscape.beta_energy),
            "beta_barrier": (("state_from", "state_to"), landscape.beta_barrier),
            "n_states": ((), landscape.n_states),
        }
    )


def occupancy_group(draws: PathDraws, observations: Observations, landscape: Landscape) -> xr.Dataset:
    """Stationary and path occupancy of one fit, and the probability of each state over time."""
    belongs = draws.state[..., None] == np.arange(landscape.n_states)
    weights = time_weights(observations)
    path = (belongs * weights[..., None]).sum(-2) / weights.sum(-1)[:, None]
    outside = (draws.state[:1] < 0)[0]
    return xr.Dataset(
        {
            "stationary": (("state",), stationary_occupancy(landscape).occupancy),
            "path": (("draw", "series", "state"), path),
            "p_state": (("series", "time", "state"), np.where(outside[..., None], np.nan, belongs.mean(0))),
        }
    )


def time_weights(observations: Observations) -> np.ndarray:
    """Time that each observation stands for: half of the gaps beside it, 0 on padding, ``(series, time)``."""
    times = observations.times.cpu().numpy()
    rows = np.arange(observations.n_times)
    inside = rows < observations.lengths.cpu().numpy()[:, None]
    gaps = np.diff(times, axis=-1) * inside[:, 1:]
    weights = np.zeros_like(times)
    weights[:, 1:] += 0.5 * gaps
    weights[:, :-1] += 0.5 * gaps
    return weights


def kinetics_group(
    member: FittedMember, observations: Observations, landscape: Landscape, draws: PathDraws
) -> tuple[xr.Dataset, list[str]]:
    """Kinetics of one fit: continuous, as discretised, and counted on the posterior paths; with warnings."""
    model = member.model
    n = landscape.n_states
    diffusion = torch.as_tensor(model.dynamics.diffusion).detach().cpu().double().numpy()
    grid = model.grid(observations)
    step = float(grid.steps[grid.step_mask].median())
    warnings: list[str] = []
    missing, table = np.full((n, n), np.nan), np.full(n, np.nan)
    continuous: dict[str, Any] = {
        "mfpt": missing, "rate": missing, "timescale": np.full(_PROCESSES, np.nan), "dwell_prior": table
    }
    frozen = copy.deepcopy(model.dynamics).cpu().double().read()
    try:
        if isinstance(frozen, UnderdampedDynamics):
            exact = inertial_kinetics(frozen, landscape, processes=_PROCESSES)
        else:
            exact = continuous_kinetics(landscape, diffusion, processes=_PROCESSES)
        timescale = np.full(_PROCESSES, np.nan)
        timescale[: len(exact.timescale)] = exact.timescale
        continuous = {
            "mfpt": exact.mfpt, "rate": exact.rate, "timescale": timescale, "dwell_prior": exact.dwell
        }
    except LandscapeError as problem:
        warnings.append(f"seed {member.seed}: no continuous kinetics: {problem}")
    dwell_chain = table
    if n > 1:
        inertial = frozen.dim > landscape.dim
        followed = cast(Landscape, LiftedLandscape(landscape, frozen.dim)) if inertial else landscape
        try:
            dwell_chain = chain_kinetics(frozen.transition, followed, step).dwell
        except LandscapeError as problem:
            warnings.append(f"seed {member.seed}: no kinetics of the chain as discretised: {problem}")
    pair = ("state_from", "state_to")
    dataset = xr.Dataset(
        {
            "mfpt": (pair, continuous["mfpt"]),
            "rate": (pair, continuous["rate"]),
            "timescale": (("process",), continuous["timescale"]),
            "dwell_prior": (("state",), _finite(continuous["dwell_prior"])),
            "dwell_chain": (("state",), _finite(dwell_chain)),
            "exposure": (("draw", "state"), draws.exposure),
            "events": (("draw", *pair), draws.events),
        },
        attrs={"time_unit": observations.time_unit, "time_convention": "continuous", "step": step},
    )
    return dataset, warnings


def _finite(values: np.ndarray) -> np.ndarray:
    """A state that is never left has no mean dwell."""
    return np.where(np.isfinite(values), values, np.nan)


def landscape_group(member: FittedMember, landscape: Landscape, states: np.ndarray) -> xr.Dataset:
    """The learned potential in kT above its minimum, on a line or a plane; empty in more dimensions."""
    dim = landscape.dim
    if dim > 2:
        return xr.Dataset()
    points = np.concatenate([states, landscape.minimum])
    low, high = points.min(0), points.max(0)
    low, high = low - 0.2 * (high - low), high + 0.2 * (high - low)
    dynamics = copy.deepcopy(member.model.dynamics).cpu().double()
    count = _LINE_POINTS if dim == 1 else _PLANE_POINTS
    axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    mesh = np.stack(np.meshgrid(*axes, indexing="xy"), -1)
    with torch.no_grad():
        energy = dynamics.potential.energy(torch.from_numpy(mesh)) / dynamics.temperature
        floor = (dynamics.potential.energy(torch.from_numpy(landscape.minimum)) / dynamics.temperature).min()
    height = (energy - floor).numpy()
    if dim == 1:
        return xr.Dataset({"grid": (("point",), axes[0]), "beta_potential": (("point",), height)})
    return xr.Dataset(
        {"grid_x": (("x",), axes[0]), "grid_y": (("y",), axes[1]), "beta_potential": (("y", "x"), height)}
    )


def posterior_group(model: LangevinModel, draws: PathDraws) -> xr.Dataset:
    """Paths at the observation times and the fitted parameters of one fit."""
    n_draws, dim = draws.z.shape[0], draws.z.shape[-1]
    along = ("draw", "series", "time", "latent_dim")
    variables: dict[str, Any] = {"z": (along, draws.z)}
    for name, constant in model.dynamics.reported().items():
        values = _numbers(torch.as_tensor(constant).expand(dim))
        variables[name] = (("draw", "latent_dim"), np.repeat(values[None], n_draws, 0))
    if draws.momentum.shape[-1] > 0:
        variables["momentum"] = (along, draws.momentum)
    for name, (dims, value) in model.emission.parameters_in_data_units().items():
        variables[name] = (("draw", *dims), np.repeat(_numbers(value)[None], n_draws, 0))
    return xr.Dataset(variables)


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def data_groups(observations: Observations) -> dict[str, xr.Dataset]:
    """Observed values with NaN where missing, their times and lengths."""
    values = torch.where(observations.mask, observations.values, torch.nan).cpu().numpy()
    coords = {"series": observations.series_names, "channel": observations.channels}
    return {
        "observed_data": xr.Dataset({"y": (("series", "time", "channel"), values)}, coords=coords),
        "constant_data": xr.Dataset(
            {
                "time": (("series", "time"), observations.times.cpu().numpy()),
                "length": (("series",), observations.lengths.cpu().numpy()),
            },
            coords={"series": observations.series_names},
            attrs={"time_unit": observations.time_unit},
        ),
    }


def versions(packages: dict[str, str]) -> str:
    """Versions as text, for the root attributes."""
    return json.dumps(packages)
