"""Occupancy: the fraction of time spent in each state, by three estimators."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.intervals import fraction_interval, shortest_fraction_interval, shortest_interval
from pyro_langevin.diagnostics.jump_process import occupancy_sd, stationary_law
from pyro_langevin.diagnostics.layout import Draws, group, observed_duration, state_labels, trusted_stationary
from pyro_langevin.diagnostics.path_rates import on_present_states, path_rates

__all__ = ["occupancy", "pooled_path", "record_sd", "record_sd_of_rates"]

ESTIMATORS = {
    "path": "time spent in the state by the posterior paths; the interval covers THIS record only",
    "long_run": "stationary law of the paths' transition rates; the interval covers the long run, "
    "including what a record of this length leaves open",
    "stationary": "Boltzmann law of the learned potential; the interval covers the long run: "
    "spread of the seeds and what a record of this length leaves open",
}


def occupancy(idata: Draws) -> xr.Dataset:
    """Fraction of time in each state, with what each interval covers.

    Three estimators answer two questions. *How was this record's time divided?* ``path``: the posterior
    paths' fraction of time, pooled over series in proportion to their observed time; its 90 % interval is
    the shortest that holds the draws of all chains, and shrinks to nothing as the noise does, however short
    the record. *How is time divided in the long run?* ``long_run``, from the transition rates of the same
    paths with their Gamma posteriors (:func:`~pyro_langevin.diagnostics.path_rates.path_rates`), and
    ``stationary``, the Boltzmann law of the learned potential. The seeds know nothing of the record's
    length, since all saw the same record: the variance of ``stationary`` is that over the seeds plus
    ``record_sd ** 2``.

    Returns:
        ``mean``, ``sd``, ``hdi_low``, ``hdi_high`` (estimator, state); ``record_sd`` (state), the sampling
        standard deviation of the time fraction in records of these lengths; ``disagreement`` (state),
        ``(stationary - path) / sqrt(path sd^2 + record_sd^2)``: beyond about 2 the learned potential and
        its own posterior paths contradict each other. ``attrs`` say what each interval covers.
    """
    labels = state_labels(idata)
    path = pooled_path(idata)
    # (chain, state); NaN where a chain lacks the state.
    stationary = trusted_stationary(idata).values
    rates = path_rates(idata)
    long_run = on_present_states(rates, stationary_law, axes=1)
    record = record_sd_of_rates(rates, observed_duration(idata).values)

    rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in ESTIMATORS}
    for state in range(len(labels)):
        drawn = path[..., state].ravel()
        rows["path"].append((*_moments(drawn), *shortest_interval(drawn)))
        implied = long_run[:, state]
        rows["long_run"].append((*_moments(implied), *shortest_fraction_interval(implied)))
        mean, spread = _moments(stationary[:, state])
        sd = float(np.hypot(spread, record.values[state]))
        rows["stationary"].append((mean, sd, *fraction_interval(mean, sd)))
    table = np.array([rows[name] for name in ESTIMATORS])  # (estimator, state, figure)
    figures = ("mean", "sd", "hdi_low", "hdi_high")
    result = xr.Dataset(
        {figure: (("estimator", "state"), table[:, :, i]) for i, figure in enumerate(figures)},
        coords={"estimator": list(ESTIMATORS), "state": labels},
        attrs={f"{name}_covers": text for name, text in ESTIMATORS.items()},
    )
    path_row = result.sel(estimator="path", drop=True)
    difference = result["mean"].sel(estimator="stationary", drop=True) - path_row["mean"]
    allowed = np.hypot(path_row["sd"], record)
    return result.assign(record_sd=record, disagreement=xr.where(allowed > 0, difference / allowed, 0.0))


def record_sd(idata: Draws) -> xr.DataArray:
    """Sampling standard deviation of the fraction of time in each state in such records, (state).

    Exact for a stationary Markov jump process with the paths' mean rates
    (:func:`~pyro_langevin.diagnostics.jump_process.occupancy_sd`); series count as independent. Zero with
    one state.
    """
    return record_sd_of_rates(path_rates(idata), observed_duration(idata).values)


def record_sd_of_rates(samples: xr.DataArray, durations: np.ndarray) -> xr.DataArray:
    """The same from rates already sampled."""
    labels = samples["state_from"].values
    rates = samples.mean("sample", skipna=True).values
    known = np.isfinite(rates) & ~np.eye(len(labels), dtype=bool)
    there = np.flatnonzero(known.any(0) & known.any(1))
    sd = np.zeros(len(labels))
    # Seeds with different numbers of states may never see two states together: such a pair has no rate.
    sd[there] = occupancy_sd(np.nan_to_num(rates[np.ix_(there, there)]), durations)
    return xr.DataArray(sd, dims="state", coords={"state": labels}, name="record_sd")


def pooled_path(idata: Draws) -> np.ndarray:
    """Path occupancy over all series, (chain, draw, state), each series weighted by its observed time."""
    path = group(idata, "occupancy", "path")["path"].transpose("chain", "draw", "series", "state")
    weights = observed_duration(idata).values
    share = weights / weights.sum()
    return np.asarray(np.einsum("cdsk,s->cdk", path.values, share))


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; deviation 0 of a single one, NaN of none."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    return float(finite.mean()), float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
