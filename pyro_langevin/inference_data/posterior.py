"""From a fit to draws with everything that the diagnostics need: torch to xarray, once."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pyro
import xarray as xr

from pyro_langevin.diagnostics.states import align_states, relabel, relabel_path
from pyro_langevin.inference_data.assemble import assemble
from pyro_langevin.inference_data.barrier_deviation import barrier_deviation
from pyro_langevin.inference_data.draws import PathDraws, draw_exactly, draw_paths, sample_states
from pyro_langevin.inference_data.groups import data_groups, posterior_group
from pyro_langevin.inference_data.kinetics_group import kinetics_group, learned_kinetics
from pyro_langevin.inference_data.landscape_groups import landscape_group, occupancy_group, states_group
from pyro_langevin.inference_data.particles import particle_evidence, particle_occupancy
from pyro_langevin.landscape import Landscape, find_landscape
from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.particle_filter import smooth_by_particles
from pyro_langevin.training import FitResult, FittedMember
from pyro_langevin.training.phases import can_be_exact

_STARTS = 20_000
_NUMBERS = 20_000_000  # states on the fine grid that default draws may cost
_PARTICLE_STEPS = 60_000_000  # steps of particles that the correction of a guide's draws may cost
_PARTICLES, _FEWEST, _RUNS = 200, 40, 4
_OWN_STATES = ("states", "occupancy", "kinetics")


def posterior(
    result: FitResult,
    observations: Observations,
    *,
    draws: int | None = None,
    exact: bool = True,
    merge_below: float = 1.0,
    seed: int = 0,
) -> Any:
    """Draws of the posterior paths, with states, occupancies and kinetics, as ArviZ holds them.

    A model that was fitted on its exact evidence (one or two latent dimensions) has an exact posterior too, and the
    draws come from that, at the observation times; otherwise they come from the fitted guide, on its fine grid.
    ``chain`` is an independent fit, ``draw`` a draw of its posterior. States of different fits are matched by overlap
    in time. Times are in the data's unit.

    Args:
        result: From :func:`~pyro_langevin.fit`.
        observations: The data to condition on, usually those of the fit, or a sample of a long record's. Long series
            are drawn in pieces from the exact posterior (:func:`~pyro_langevin.sample_smoothed`), but end to end from a
            guide: cut them with ``observations.windows(1000)`` there.
        draws: Draws a fit; by default 100, fewer (at least 5) where the data are large.
        exact: Draw from the exact posterior where there is one (with momenta on equal gaps only); False draws from the
            guide, whose quality :func:`~pyro_langevin.k_hat` then tells.
        merge_below: Least depth of a state in kT; shallower basins belong to their neighbour.
        seed: Seed of the draws.

    Returns:
        ArviZ ``InferenceData`` (before 1.0) or ``DataTree``, with the groups ``posterior``, ``states``, ``occupancy``,
        ``kinetics``, ``state_path``, ``landscape``, ``sample_stats``, ``observed_data`` and ``constant_data``.

    Raises:
        LandscapeError: If a learned potential has no minimum that can be found.
        NoPotentialError: If the prior's drift has no potential.
        ValueError: If the observations do not fit the model or are a :class:`~pyro_langevin.LongRecord`, or no
            draws are asked for.
    """
    if isinstance(observations, LongRecord):
        raise ValueError(
            f"posterior: expected Observations, got {observations}; draws fill memory: take some of it, "
            "record.sample(rows), or have all of it written to a file, write_paths(result, record, path)"
        )
    exact = exact and result.members[0].grid is not None and can_be_exact(result.model, observations)
    if draws is None:
        points = observations.n_times if exact else result.model.grid(observations).n_points
        size = observations.n_series * points * result.model.dynamics.dim
        draws = min(100, max(5, _NUMBERS // size))
    if draws < 1:
        raise ValueError(f"posterior: expected at least 1 draw, got {draws}")
    pyro.set_rng_seed(seed)
    fits: list[dict[str, xr.Dataset]] = []
    warnings: list[str] = []
    for member in result.members:
        member.model.emission.check(observations)
        device = next(member.model.parameters()).device
        if not exact:
            member = replace(member, grid=None)
        with pyro.get_param_store().scope():  # each fit has parameters of its own
            groups, found = _groups_of(member, observations.to(device=device), draws, merge_below)
        fits.append(groups)
        warnings += found
    if result.interrupted:
        warnings.append("training was interrupted: the figures are those of an unfinished fit")
    names = {"chain": np.arange(len(fits)), "series": observations.series_names, "channel": observations.channels}
    joined = {name: _joined([groups[name] for groups in fits], names) for name in fits[0]}
    alignment = align_states(joined["occupancy"]["p_state"])
    for name in _OWN_STATES:
        joined[name] = relabel(joined[name], alignment)
    for name in ("state", "visit"):
        joined["state_path"][name] = relabel_path(joined["state_path"][name], alignment)
    joined["sample_stats"] = joined["sample_stats"].assign_coords(phase=_phases(result.members))
    attrs = {
        "warnings": json.dumps(warnings),
        "model_fitted_by": "evidence" if "evidence" in result.members[0].phase else "bound",
        "wells": "one by construction" if result.model.dynamics.potential.one_well else "learned",
        "drawn_from": "exact posterior" if exact else "guide",
        "barriers_not_told": json.dumps([member.seed for member in result.members if not member.barriers_told]),
        "seeds": json.dumps([member.seed for member in result.members]),
        "versions": json.dumps({p: version(p) for p in ("pyro-langevin", "pyro-ppl", "torch", "arviz")}),
    }
    return assemble({**joined, **data_groups(observations)}, attrs)


def _groups_of(
    member: FittedMember, observations: Observations, draws: int, merge_below: float
) -> tuple[dict[str, xr.Dataset], list[str]]:
    """All groups of one fit, in its own order of states."""
    # with momenta the exact posterior needs gaps that are equal to the last digit
    drawn = observations.with_equal_gaps() if member.grid is not None and member.model.has_momenta else observations
    starts = sample_states(member, drawn, most=_STARTS)
    dynamics = member.model.dynamics
    landscape = find_landscape(
        dynamics.potential,
        starts,
        temperature=float(dynamics.temperature),
        merge_below=merge_below,
        beyond_starts=False,
    )
    if member.grid is not None:
        paths = draw_exactly(member, drawn, member.grid, landscape, draws)
    else:
        paths = draw_paths(member, observations, landscape, draws)
    learned = learned_kinetics(member, observations, landscape)
    chain = None if learned.chain is None else learned.chain.occupancy
    groups = {
        "posterior": posterior_group(member.model, paths),
        "states": states_group(member.model, landscape, _barrier_sd(member, drawn, landscape)),
        "occupancy": occupancy_group(paths, observations, landscape, chain),
        "kinetics": kinetics_group(learned, member, observations, landscape, paths),
        "state_path": xr.Dataset(
            {"state": (("draw", "series", "time"), paths.state), "visit": (("draw", "series", "time"), paths.visit)}
        ),
        "landscape": landscape_group(member.model, landscape, starts),
        "sample_stats": _statistics(member, paths),
    }
    if member.grid is None:
        _correct(groups, member, observations, landscape)
    return groups, [f"seed {member.seed}: {warning}" for warning in learned.warnings]


def _barrier_sd(member: FittedMember, observations: Observations, landscape: Landscape) -> np.ndarray | None:
    """How well the data tell the barriers, where the exact evidence says so."""
    if member.grid is None or member.model.has_momenta or landscape.n_states < 2:
        return None
    return barrier_deviation(member.model, observations, member.grid, landscape)


def _correct(
    groups: dict[str, xr.Dataset], member: FittedMember, observations: Observations, landscape: Landscape
) -> None:
    """Add what particles say of occupancy and evidence to a guide's draws, unless there are too many data."""
    steps = observations.n_series * member.model.grid(observations).n_points
    particles = min(_PARTICLES, _PARTICLE_STEPS // (_RUNS * steps))
    if particles < _FEWEST or not member.model.emission.independent_rows:
        return
    smoothed = smooth_by_particles(member.guide, observations, particles=particles, runs=_RUNS)
    groups["occupancy"] = groups["occupancy"].merge(particle_occupancy(smoothed, observations, landscape))
    groups["sample_stats"] = groups["sample_stats"].merge(particle_evidence(smoothed))


def _statistics(member: FittedMember, paths: PathDraws) -> xr.Dataset:
    return xr.Dataset(
        {
            "log_p": (("draw", "series"), paths.log_p),
            "log_q": (("draw", "series"), paths.log_q),
            "loss": (("iteration",), np.asarray(member.loss), {"long_name": "loss per observed value (nats)"}),
        },
        attrs={"restarts": member.restarts},
    )


def _phases(members: list[FittedMember]) -> xr.DataArray:
    """Phase ``(chain, iteration)`` of every step, for losses of two phases do not compare; empty beyond the last."""
    longest = max(len(member.phase) for member in members)
    rows = [[*member.phase, *[""] * (longest - len(member.phase))] for member in members]
    return xr.DataArray(np.array(rows, dtype=str), dims=("chain", "iteration"))


def _joined(fits: list[xr.Dataset], names: dict[str, Any]) -> xr.Dataset:
    """One group of all fits along ``chain``; states and iterations that a fit lacks are NaN."""
    uneven = ("state", "state_from", "state_to", "iteration")
    axes = {axis: max(fit.sizes.get(axis, 0) for fit in fits) for axis in uneven}
    padded = [
        fit.pad({axis: (0, size - fit.sizes[axis]) for axis, size in axes.items() if axis in fit.sizes})
        if any(axis in fit.sizes and size > fit.sizes[axis] for axis, size in axes.items())
        else fit
        for fit in fits
    ]
    joined = xr.concat(padded, dim="chain", combine_attrs="override")
    return joined.assign_coords({axis: values for axis, values in names.items() if axis in joined.dims})
