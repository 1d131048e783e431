"""Dwell times of the posterior paths: mean by exposure over events, and survival."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.intervals import INTERVAL, shortest_interval
from pyro_langevin.diagnostics.kaplan_meier import arcsine_interval, kaplan_meier
from pyro_langevin.diagnostics.layout import Draws, group, present_states, state_labels
from pyro_langevin.diagnostics.path_rates import exit_counts, path_rates

__all__ = ["dwell_survival", "dwell_times"]


def dwell_times(idata: Draws) -> xr.Dataset:
    """Mean dwell time of the posterior paths in each state, in the data's time unit.

    ``mean = exposure / events``, both averaged over chains and draws: the time between reaching a state's
    core and reaching another's, over the number of such passages. A visit that the record cuts off adds
    exposure and no event, so long dwells in short records come out as long as they are (the mean over
    complete dwells alone comes out short). The rate, its inverse, is unbiased; the dwell itself is too long
    by a share of about ``1 / events``, small beside its standard deviation of ``1 / sqrt(events)``. The
    interval is the shortest on the log scale of the mixture of Gamma posteriors over draws: it holds what
    the noise and what the length of the record leave open.

    Returns:
        Per state: ``mean``; ``sd`` (NaN below three events, where the posterior has none); ``hdi_low``,
        ``hdi_high``; ``exposure``, ``events``, means over chains and draws; ``log_sd``, posterior standard
        deviation of the log. With one state there is nowhere to go, and all but the exposure are NaN;
        without an event the mean is NaN and only ``hdi_low`` says much.
    """
    labels = state_labels(idata)
    counts = exit_counts(idata)
    leaving = present_states(idata).sum("state") > 1
    if bool(leaving.any()):
        counts = counts.where(leaving)  # a seed with one state says nothing of how long a visit lasts
    counts = counts.mean(("chain", "draw"), skipna=True)
    rates = path_rates(idata).values
    off_diagonal = np.where(np.eye(len(labels), dtype=bool), 0.0, np.nan_to_num(rates)).sum(-1)
    with np.errstate(divide="ignore"):
        samples = np.where(off_diagonal > 0.0, 1.0 / off_diagonal, np.nan)
    events = counts["events"].values
    low, high, sd, log_sd = (np.full(len(labels), np.nan) for _ in range(4))
    for state in range(len(labels)):
        drawn = samples[:, state][np.isfinite(samples[:, state])]
        if len(drawn):
            low[state], high[state] = shortest_interval(drawn, log=True)
            log_sd[state] = np.log(drawn).std()
            sd[state] = drawn.std() if events[state] >= 3.0 else np.nan
    mean = (counts["exposure"] / counts["events"]).where(counts["events"] > 0.0)
    if len(labels) == 1:
        counts["events"] = counts["events"] * np.nan
    result = counts.assign(mean=mean)
    for name, values in {"sd": sd, "hdi_low": low, "hdi_high": high, "log_sd": log_sd}.items():
        result[name] = ("state", values)
    return result.assign_attrs(time_unit=group(idata, "kinetics").attrs.get("time_unit", ""))


def dwell_survival(idata: Draws, *, n_points: int = 200) -> xr.Dataset:
    """Probability that a visit to a state outlasts a duration (Kaplan-Meier), from the paths' runs.

    A run is an unbroken stay: the time until another core is reached, as transitions are counted. (Draws that
    hold no ``visit`` are read by basins, where short excursions over the boundary break a run.) Runs are read off at
    the observation times, so a visit shorter than a gap is unseen and two visits with an unseen excursion between them
    count as one. The last run of a series is censored. The first run, whose beginning nobody saw, is left out:
    counted in, it biases the curve unless dwells are exponential.

    Args:
        idata: the draws.
        n_points: number of durations, evenly spaced up to the longest run.

    Returns:
        ``survival``, ``hdi_low``, ``hdi_high`` (state, duration), the interval on the arcsine scale from
        the spread over the draws plus Greenwood's variance; ``runs`` (state): complete runs per draw. A
        state without a run is NaN.
    """
    labels = state_labels(idata)
    states = group(idata, "state_path", "state")
    visits = states["visit"] if "visit" in states else states["state"]
    paths = visits.transpose("chain", "draw", "series", "time").values
    times = group(idata, "constant_data", "time")["time"].transpose("series", "time").values
    runs = [_runs(path, times) for path in paths.reshape(-1, *paths.shape[2:])]
    longest = max((float(duration.max()) for _, duration, _ in runs if len(duration)), default=0.0)
    durations = np.linspace(0.0, longest if longest > 0.0 else 1.0, n_points)

    shape = (len(labels), n_points)
    survival, low, high = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    complete = np.zeros(len(labels))
    for state in range(len(labels)):
        mine = [(duration[of == state], ended[of == state]) for of, duration, ended in runs]
        mine = [part for part in mine if len(part[0])]
        if not mine:
            continue
        pooled_durations, pooled_ended = (np.concatenate(part) for part in zip(*mine, strict=True))
        complete[state] = pooled_ended.sum() / len(runs)
        # All draws' runs in one risk set: counts are then posterior means, and the curve never rises. The
        # pool has len(mine) times the runs of one draw, so its Greenwood variance is that much too small.
        survival[state], variance = kaplan_meier(pooled_durations, pooled_ended, durations)
        single = np.array([kaplan_meier(*part, durations)[0] for part in mine])
        spread = np.where(np.isfinite(single), (single - survival[state]) ** 2, 0.0).mean(0)
        low[state], high[state] = arcsine_interval(
            survival[state], len(mine) * variance + spread, probability=INTERVAL
        )
    dims = ("state", "duration")
    return xr.Dataset(
        {
            "survival": (dims, survival),
            "hdi_low": (dims, low),
            "hdi_high": (dims, high),
            "runs": ("state", complete),
        },
        coords={"state": labels, "duration": durations},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )


def _runs(path: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """State, duration and whether the end was seen, for every run whose beginning was seen."""
    n_series, n_times = path.shape
    begins = np.ones(path.shape, dtype=bool)
    begins[:, 1:] = path[:, 1:] != path[:, :-1]
    series, start = np.nonzero(begins & (path >= 0))
    # The run ends where the next of its series begins, or is cut off at the series' last observation.
    last = (path >= 0).sum(1) - 1
    followed = np.zeros(len(series), dtype=bool)
    followed[:-1] = series[1:] == series[:-1]
    end = np.where(followed, np.append(start[1:], 0), last[series])
    seen = np.zeros(len(series), dtype=bool)
    seen[1:] = followed[:-1]
    duration = times[series, end] - times[series, start]
    return path[series, start][seen], duration[seen], followed[seen]
