"""Records of a known jump process, as a fit would hold them that knows paths and dynamics: one chain, one draw."""

from __future__ import annotations

import numpy as np
import xarray as xr
from draws import LABELS, Jumps, jump_path
from scipy.linalg import expm

from pyro_langevin.diagnostics.jump_process import generator, mean_first_passage, relaxation_times, stationary_law

TWO_RATES = np.array([[0.0, 0.4], [0.8, 0.0]])
# Reversible: the products of the rates round and back are equal.
THREE_RATES = np.array([[0.0, 0.5, 1 / 6], [0.3, 0.0, 0.3], [0.2, 0.6, 0.0]])
RING = np.array([[0.0, 0.6, 0.2], [0.2, 0.0, 0.6], [0.6, 0.2, 0.0]])  # three times as often round as back
RATCHET_SEEN = np.stack([np.tile([-1.0, 0.0, 1.0], 2), np.repeat([1.0, -1.0], 3)], -1)


def flashing_ratchet(height: float) -> np.ndarray:
    """Three sites on a ring whose energies are there or not (Roldan and Parrondo 2010): six states."""
    rates = np.zeros((6, 6))
    for i in range(3):
        for j in range(3):
            if i != j:
                rates[i, j], rates[3 + i, 3 + j] = np.exp(-height * (j - i) / 2), 1.0
        rates[i, 3 + i] = rates[3 + i, i] = 1.0
    return rates


def exact_record(
    rates: np.ndarray,
    durations: np.ndarray,
    random: np.random.Generator,
    *,
    gap: float = 0.1,
    location: np.ndarray | None = None,
    noise: float = 0.3,
    paths: list[Jumps] | None = None,
) -> xr.DataTree:
    """Groups of one record: series of these durations, observed at equal gaps through one channel (or more).

    Args:
        rates: of the process, and of the "learned" dynamics.
        durations: of each series.
        random: the source of chance.
        gap: between observations.
        location: (state, channel) of the observed values; by default the numbers of the states.
        noise: of the observed values.
        paths: the paths themselves, where they do not come from these rates.
    """
    n = len(rates)
    labels = list(LABELS[:n])
    paths = paths or [jump_path(rates, duration, random) for duration in durations]
    lengths = np.floor(np.asarray(durations) / gap + 1e-9).astype(int) + 1
    times = gap * np.arange(lengths.max())
    inside = times[None] <= (lengths - 1)[:, None] * gap + 1e-9
    state = np.full(inside.shape, -1, dtype=np.int8)
    fraction, exposure, events = np.zeros((len(paths), n)), np.zeros(n), np.zeros((n, n))
    for number, path in enumerate(paths):
        state[number, : lengths[number]] = path.at(times[: lengths[number]])
        spent, jumps = path.counts(n)
        fraction[number] = spent / path.duration
        exposure += spent
        events += jumps
    place = np.arange(n)[:, None] - 0.5 * (n - 1) if location is None else location
    shown = place[state] + noise * random.standard_normal((*state.shape, place.shape[1]))
    y = np.where(inside[..., None], shown, np.nan)
    law, passage = stationary_law(rates), mean_first_passage(rates)
    leaving = (rates * (1 - np.eye(n))).sum(1)
    lags = gap * np.array([1, 2, 5, 10, 20])
    one = {"chain": [0], "draw": [0]}
    named = {"state": labels, "state_from": labels, "state_to": labels}
    pair, row, path_dims = ("chain", "state_from", "state_to"), ("chain", "state"), ("chain", "draw", "series", "time")
    barrier = np.where(np.eye(n, dtype=bool), np.nan, 5.0)
    exact = {"estimator": ["integral"], "chain": [0], "state": labels}
    tree = xr.DataTree.from_dict(
        {
            "states": xr.Dataset(
                {
                    "beta_energy": (row, np.zeros((1, n))),
                    "beta_barrier": (pair, barrier[None]),
                    "n_states": ("chain", [n]),
                },
                coords={"chain": [0], **named},
            ),
            "occupancy": xr.Dataset(
                {
                    "path": (("chain", "draw", "series", "state"), fraction[None, None]),
                    "stationary": ((*row, "estimator"), law[None, :, None]),
                    "stationary_error": ((*row, "estimator"), np.zeros((1, n, 1))),
                    "stationary_chain": (row, law[None]),
                },
                coords=exact,
            ),
            "kinetics": xr.Dataset(
                {
                    "exposure": (("chain", "draw", "state"), exposure[None, None]),
                    "events": (("chain", "draw", "state_from", "state_to"), events[None, None]),
                    "mfpt": (pair, passage[None]),
                    "dwell_prior": (row, 1.0 / leaving[None]),
                    "timescale": (("chain", "process"), relaxation_times(rates)[None]),
                    "transition_prior": (
                        ("chain", "lag", "state_from", "state_to"),
                        np.array([[expm(generator(rates) * lag) for lag in lags]]),
                    ),
                },
                coords={**one, **named, "lag": lags},
                attrs={"time_unit": "s"},
            ),
            "state_path": xr.Dataset(dict.fromkeys(("state", "visit"), (path_dims, state[None, None]))),
            "sample_stats": xr.Dataset(
                {name: (("chain", "draw", "series"), np.zeros((1, 1, len(paths)))) for name in ("log_p", "log_q")}
            ),
            "observed_data": xr.Dataset(
                {"y": (("series", "time", "channel"), y)}, coords={"channel": [f"y{i}" for i in range(place.shape[1])]}
            ),
            "constant_data": xr.Dataset(
                {"time": (("series", "time"), np.tile(times, (len(paths), 1))), "length": ("series", lengths)},
                coords={"series": np.arange(len(paths))},
            ),
        }
    )
    tree.attrs = {"drawn_from": "exact posterior"}
    return tree


def drifting_record(
    random: np.random.Generator, *, factor: float, other: float = 1.0, n_series: int = 30, duration: float = 20.0
) -> xr.DataTree:
    """Two states; in the second half the first is left ``factor`` times as often, the other ``other`` times."""
    later = TWO_RATES * np.array([[factor], [other]])
    paths = []
    for _ in range(n_series):
        first = jump_path(TWO_RATES, duration / 2, random)
        second = jump_path(later, duration / 2, random)
        while second.state[0] != first.state[-1]:
            second = jump_path(later, duration / 2, random)
        entry = np.append(first.entry, second.entry[1:] + duration / 2)
        paths.append(Jumps(np.append(first.state, second.state[1:]), entry, duration))
    return exact_record(TWO_RATES, np.full(n_series, duration), random, paths=paths)
