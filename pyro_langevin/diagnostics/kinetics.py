"""Kinetics side by side: of the learned potential, of its discretised chain, and of the posterior paths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.intervals import log_normal_interval, normal_interval, shortest_interval
from pyro_langevin.diagnostics.jump_process import mean_first_passage, relaxation_times
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.path_rates import on_present_states, path_rates

__all__ = ["barriers", "kinetics_table", "mfpt", "timescales"]


def mfpt(idata: Draws) -> xr.Dataset:
    """Mean first passage time between states, by two estimators, in the data's time unit.

    ``prior`` is that of the learned potential (continuous time), geometric mean over the chains. The seeds
    saw one and the same record, so their spread knows nothing of its length: the variance of ``log mfpt``
    is that over the seeds plus that of the paths' rates given the record, which for two states is about one
    over the number of transitions. ``paths`` is that of the jump process of the posterior paths, from its
    Gamma posteriors.

    Returns:
        ``mean`` (prior: geometric mean; paths: median), ``log_sd``, ``hdi_low``, ``hdi_high``
        (estimator, state_from, state_to); NaN on the diagonal.
    """
    labels = state_labels(idata)
    drawn = on_present_states(path_rates(idata), mean_first_passage, axes=2)
    centre, record, low, high = (np.full(drawn.shape[1:], np.nan) for _ in range(4))
    for i in range(len(labels)):
        for j in range(len(labels)):
            sample = drawn[:, i, j][np.isfinite(drawn[:, i, j])]
            if i != j and len(sample):
                centre[i, j], record[i, j] = np.median(sample), np.log(sample).std()
                low[i, j], high[i, j] = shortest_interval(sample, log=True)

    passage = group(idata, "kinetics", "mfpt")["mfpt"].transpose("chain", "state_from", "state_to").values
    learned, spread = _log_moments(passage)
    np.fill_diagonal(learned, np.nan)
    log_sd = np.hypot(spread, np.nan_to_num(record))
    log_sd[np.isnan(learned)] = np.nan
    prior_low, prior_high = log_normal_interval(learned, log_sd)
    dims = ("estimator", "state_from", "state_to")
    return xr.Dataset(
        {
            "mean": (dims, np.stack([learned, centre])),
            "log_sd": (dims, np.stack([log_sd, record])),
            "hdi_low": (dims, np.stack([prior_low, low])),
            "hdi_high": (dims, np.stack([prior_high, high])),
        },
        coords={"estimator": ["prior", "paths"], "state_from": labels, "state_to": labels},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )


def timescales(idata: Draws) -> xr.Dataset:
    """Relaxation times of the learned dynamics, slowest first, in the data's time unit.

    The first (number of states - 1) belong to hopping, and their intervals hold, besides the spread of the
    seeds, what the length of the record leaves open in the paths' own relaxation time; the faster ones, of
    motion inside the wells, carry the spread of the seeds only.

    Returns:
        ``mean`` (geometric), ``log_sd``, ``hdi_low``, ``hdi_high``, and ``paths``, the median of the paths'
        jump process, NaN beyond the hopping ones; dims (process).
    """
    learned = group(idata, "kinetics", "timescale")["timescale"].transpose("chain", "process")
    mean, spread = _log_moments(learned.values)
    rates = path_rates(idata).values
    whole = rates[np.isfinite(rates).all((-1, -2))]
    paths, log_sd = np.full(len(mean), np.nan), spread
    if len(whole) and whole.shape[-1] > 1:
        drawn = relaxation_times(whole)
        hopping = min(drawn.shape[-1], len(mean))
        paths[:hopping] = np.median(drawn, axis=0)[:hopping]
        log_sd[:hopping] = np.hypot(spread[:hopping], np.log(drawn).std(0)[:hopping])
    low, high = log_normal_interval(mean, log_sd)
    figures = {"mean": mean, "log_sd": log_sd, "hdi_low": low, "hdi_high": high, "paths": paths}
    return xr.Dataset(
        {name: ("process", values) for name, values in figures.items()},
        coords={"process": learned["process"].values},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )


def barriers(idata: Draws) -> xr.Dataset:
    """Height of the barrier from each state to each other, in kT: mean over the chains.

    A passage time goes as the exponential of the barrier, so the standard deviation of ``log mfpt`` that
    the length of the record leaves open is, in kT, one of the barrier too. How a rate is made up of a barrier and a
    diffusion the data tell as well as ``states.beta_barrier_sd`` says, where the fit could say so. The larger of the
    two enters, and its variance is added to that over the chains.

    Returns:
        ``mean``, ``sd``, ``hdi_low``, ``hdi_high`` (state_from, state_to); NaN on the diagonal.
    """
    heights = group(idata, "states", "beta_barrier")["beta_barrier"].transpose(
        "chain", "state_from", "state_to"
    )
    mean, spread = _moments_over_chains(heights.values)
    np.fill_diagonal(mean, np.nan)
    record = np.nan_to_num(mfpt(idata)["log_sd"].sel(estimator="paths").values)
    states = group(idata, "states")
    if "beta_barrier_sd" in states:
        told = states["beta_barrier_sd"].transpose("chain", "state_from", "state_to").values
        record = np.maximum(record, np.nan_to_num(_moments_over_chains(told)[0]))
    sd = np.where(np.isnan(mean), np.nan, np.hypot(spread, record))
    low, high = normal_interval(mean, sd)
    dims = ("state_from", "state_to")
    labels = state_labels(idata)
    return xr.Dataset(
        {
            "mean": (dims, mean),
            "sd": (dims, sd),
            "hdi_low": (dims, np.maximum(low, 0.0)),
            "hdi_high": (dims, high),
        },
        coords={"state_from": labels, "state_to": labels},
    )


def kinetics_table(idata: Draws) -> pd.DataFrame:
    """Dwell and first passage times by every route, side by side, in the data's time unit.

    Rows ``dwell[A]``, ..., ``mfpt[A->B]``, .... Columns: ``prior``, of the learned potential in continuous
    time (geometric mean of the seeds) with ``prior_low``, ``prior_high`` (seeds and record length);
    ``chain``, of the same dynamics as discretised in training (dwells; NaN where not computed); ``paths``,
    of the posterior paths with ``paths_low``, ``paths_high`` (Gamma posteriors); ``prior_over_paths``,
    which should be near one: else the learned potential does not hop as often as the data do;
    ``chain_over_prior``, which should be near one: else the step is too long; ``events``, the transitions
    behind the row, a mean over draws.
    """
    kinetics = group(idata, "kinetics", "dwell_prior", "events")
    labels = state_labels(idata)
    dwell = dwell_times(idata)
    prior, spread = _log_moments(kinetics["dwell_prior"].transpose("chain", "state").values)
    low, high = log_normal_interval(prior, np.hypot(spread, np.nan_to_num(dwell["log_sd"].values)))
    chain = np.full(len(labels), np.nan)
    if "dwell_chain" in kinetics:
        chain, _ = _log_moments(kinetics["dwell_chain"].transpose("chain", "state").values)
    rows = {}
    for i, label in enumerate(labels):
        paths = [float(dwell[name][i]) for name in ("mean", "hdi_low", "hdi_high", "events")]
        rows[f"dwell[{label}]"] = [prior[i], low[i], high[i], chain[i], *paths]
    passage = mfpt(idata)
    events = (
        kinetics["events"].mean(("chain", "draw"), skipna=True).transpose("state_from", "state_to").values
    )
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            if i != j:
                figures = (
                    passage.isel(state_from=i, state_to=j)[["mean", "hdi_low", "hdi_high"]].to_array().values
                )
                # Variables by estimators: prior first, then paths.
                rows[f"mfpt[{one}->{other}]"] = [*figures[:, 0], np.nan, *figures[:, 1], events[i, j]]
    columns = ["prior", "prior_low", "prior_high", "chain", "paths", "paths_low", "paths_high", "events"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(float)
    table.insert(7, "prior_over_paths", table["prior"] / table["paths"])
    table.insert(8, "chain_over_prior", table["chain"] / table["prior"])
    return table


def _log_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geometric mean over the chains (first axis) and standard deviation of the log, skipping NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(values > 0.0, values, np.nan))
    mean, sd = _moments_over_chains(logs)
    return np.exp(mean), sd


def _moments_over_chains(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the chains that have the figure; deviation 0 for a single one."""
    finite = np.isfinite(values)
    count = finite.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, values, 0.0).sum(0) / np.where(count > 0, count, np.nan)
        square = (np.where(finite, values - mean, 0.0) ** 2).sum(0)
        sd = np.sqrt(square / np.maximum(count - 1, 1))
    return mean, np.where(count > 0, sd, np.nan)
