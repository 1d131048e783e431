"""Stationarity: do the first and the second half of the records show the same states and rates?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.jump_process import stationary_law
from pyro_langevin.diagnostics.layout import Draws, group, observed_duration, state_labels
from pyro_langevin.diagnostics.occupancy import record_sd_of_rates
from pyro_langevin.diagnostics.path_rates import on_present_states, path_rates

__all__ = ["stationarity"]


def stationarity(idata: Draws) -> xr.Dataset:
    """Occupancy and exit rates in the first and the second half of the records, on the posterior paths.

    Every series is cut at the middle of its time. For a stationary jump process with the paths' rates the difference of
    the two halves' occupancies has the variance ``4 (v_half - v_whole)``, with the sampling variances v of halves and
    wholes of these lengths (:func:`~pyro_langevin.diagnostics.occupancy.record_sd`); the variance over draws is added.
    Exits are counted between cores, one Poisson number a half. Series that begin out of equilibrium, in one state all
    of them, have other occupancies in the first half without being any less homogeneous: ``start_z`` tells, and rates
    then still compare.

    Returns:
        Per state: ``first``, ``second`` (occupancies), ``difference`` (second less first), ``sd``, ``z``;
        ``rate_first``, ``rate_second`` (exits over the time in the state), ``rate_z`` (of the log ratio); ``start_z``
        (of the number of series that begin in the state against the long run). NaN with one state.
    """
    labels = state_labels(idata)
    n = len(labels)
    spent, exits, starts = _halves(idata, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = spent / spent.sum(-1, keepdims=True)  # (draw, half, state)
        rate = np.where(spent > 0.0, exits / spent, np.nan)
    half = np.asarray(share.mean(0))
    spread = (share[:, 1] - share[:, 0]).std(0)

    rates = path_rates(idata)
    durations = observed_duration(idata).values
    whole_sd = record_sd_of_rates(rates, durations).values
    half_sd = record_sd_of_rates(rates, durations / 2).values
    sd = np.sqrt(np.maximum(4.0 * (half_sd**2 - whole_sd**2), 0.0) + spread**2)
    events = exits.mean(0) + 0.5
    time = spent.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where((sd > 0.0) & (n > 1), (half[1] - half[0]) / sd, np.nan)
        log_ratio = np.log(events[1] / time[1]) - np.log(events[0] / time[0])
        wobble = np.log((exits[:, 1] + 0.5) / spent[:, 1]) - np.log((exits[:, 0] + 0.5) / spent[:, 0])
        scatter = np.sqrt(np.nan_to_num(mean_of_known((wobble - mean_of_known(wobble)) ** 2)))
        rate_z = log_ratio / np.sqrt((1.0 / events).sum(0) + scatter**2)
        law = mean_of_known(on_present_states(rates, stationary_law, axes=1))
        number = starts.sum()
        start_sd = np.sqrt(number * law * (1.0 - law) + (number * whole_sd) ** 2)
        start_z = np.where(start_sd > 0.0, (starts - number * law) / start_sd, np.nan)
    known = np.isfinite(rate_z) & (n > 1)
    figures = {
        "first": half[0], "second": half[1], "difference": half[1] - half[0], "sd": sd, "z": z,
        "rate_first": rate.mean(0)[0], "rate_second": rate.mean(0)[1], "rate_z": np.where(known, rate_z, np.nan),
        "start_z": start_z,
    }
    return xr.Dataset(
        {name: ("state", values) for name, values in figures.items()},
        coords={"state": labels},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )


def _halves(idata: Draws, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time in and exits from each state, (draws of all chains, half, state), and how many series begin in each."""
    held = group(idata, "state_path", "state")
    constant = group(idata, "constant_data", "time", "length")
    times = constant["time"].transpose("series", "time").values
    lengths = np.asarray(constant["length"].values, dtype=int)
    series, first = np.nonzero(np.arange(times.shape[1] - 1) < lengths[:, None] - 1)
    begin, end = times[series, first], times[series, first + 1]
    middle = 0.5 * (times[series, 0] + times[series, lengths[series] - 1])
    early = np.clip(middle - begin, 0.0, end - begin)  # time of each gap that lies in the first half
    parts = np.stack([early, end - begin - early])
    later = (0.5 * (begin + end) >= middle).astype(int)

    basins = held["state"].transpose("chain", "draw", "series", "time").values
    basins = basins.reshape(-1, *basins.shape[2:])
    visits = held["visit" if "visit" in held else "state"].transpose("chain", "draw", "series", "time").values
    visits = visits.reshape(-1, *visits.shape[2:])
    spent, exits, starts = np.zeros((len(basins), 2, n + 1)), np.zeros((len(basins), 2, n + 1)), np.zeros(n + 1)
    for draw, (basin, visit) in enumerate(zip(basins, visits, strict=True)):
        basin = np.where(basin < 0, n, basin).astype(int)
        for half in (0, 1):
            # A gap counts half for the state at either end, as the occupancy of the paths does.
            for ends in (first, first + 1):
                spent[draw, half] += 0.5 * np.bincount(basin[series, ends], parts[half], minlength=n + 1)
        now, then = visit[series, first].astype(int), visit[series, first + 1].astype(int)
        left = (now >= 0) & (then >= 0) & (now != then)
        np.add.at(exits[draw], (later[left], now[left]), 1.0)
        starts += np.bincount(basin[:, 0], minlength=n + 1) / len(basins)
    return spent[..., :n], exits[..., :n], starts[:n]
