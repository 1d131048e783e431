"""Draws with a known truth: Markov jump paths of known rates, dressed as a fit of several seeds."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from draws_landscape import adjacent_states, landscape, pass_heights, passes
from scipy.linalg import expm

from pyro_langevin.diagnostics.jump_process import generator, mean_first_passage, relaxation_times, stationary_law

with warnings.catch_warnings():
    # Once a day arviz 0.23 announces its successor while it is imported.
    warnings.simplefilter("ignore")
    import arviz

from pyro_langevin.inference_data.assemble import assemble

LABELS = "ABCDEFGH"


@dataclass(frozen=True)
class Truth:
    """A hopping system as it is observed: rates per time unit, states' locations, lengths, noise."""

    rates: np.ndarray
    location: np.ndarray  # (state, channel)
    n_series: int = 20
    n_times: int = 201
    gap: float = 0.1
    noise: float = 0.3

    @property
    def n_states(self) -> int:
        return len(self.rates)

    @property
    def occupancy(self) -> np.ndarray:
        return stationary_law(self.rates)

    @property
    def dwell(self) -> np.ndarray:
        return 1.0 / (self.rates * (1 - np.eye(self.n_states))).sum(1)


TWO = Truth(np.array([[0.0, 0.4], [0.8, 0.0]]), np.array([[-1.0], [1.0]]))
# Reversible, as hopping in a potential is: the products of the rates round and back are equal.
THREE = Truth(
    np.array([[0.0, 0.5, 1 / 6], [0.3, 0.0, 0.3], [0.2, 0.6, 0.0]]),
    np.array([[-2.0, 0.0], [0.0, 1.5], [2.0, 0.0]]),
    n_series=30,
)


@dataclass(frozen=True)
class Jumps:
    """One series of a jump process: states visited and the times of entry, the first at zero."""

    state: np.ndarray
    entry: np.ndarray
    duration: float

    def at(self, times: np.ndarray) -> np.ndarray:
        return self.state[np.searchsorted(self.entry, times, side="right") - 1]

    def counts(self, n_states: int) -> tuple[np.ndarray, np.ndarray]:
        """Time spent in each state, and transitions from each to each."""
        exposure, events = np.zeros(n_states), np.zeros((n_states, n_states))
        np.add.at(exposure, self.state, np.diff(np.append(self.entry, self.duration)))
        np.add.at(events, (self.state[:-1], self.state[1:]), 1.0)
        return exposure, events


def jump_path(rates: np.ndarray, duration: float, random: np.random.Generator) -> Jumps:
    """A stationary path of a Markov jump process over a given time."""
    off_diagonal = rates * (1 - np.eye(len(rates)))
    exits = off_diagonal.sum(1)
    state = int(random.choice(len(rates), p=stationary_law(rates)))
    states, entries, now = [state], [0.0], 0.0
    while len(rates) > 1:
        now += random.exponential(1.0 / exits[state])
        if now >= duration:
            break
        state = int(random.choice(len(rates), p=off_diagonal[state] / exits[state]))
        states.append(state)
        entries.append(now)
    return Jumps(np.array(states), np.array(entries), duration)


def jittered(path: Jumps, scale: float, random: np.random.Generator) -> Jumps:
    """The path with its jumps moved a little, as a posterior is unsure of them; none removed."""
    moved = path.entry.copy()
    moved[1:] += scale * random.uniform(-1.0, 1.0, len(moved) - 1)
    moved = np.clip(np.maximum.accumulate(moved), 0.0, path.duration * (1 - 1e-9))
    return Jumps(path.state, moved, path.duration)


def make_groups(
    truth: Truth, *, n_chains: int = 3, n_draws: int = 20, seed: int = 0, jitter: float = 0.05
) -> dict[str, xr.Dataset]:
    """The groups of a faithful fit: draws near the true paths, a potential with the record's own rates."""
    random = np.random.default_rng(seed)
    n, channels = truth.location.shape
    times = truth.gap * np.arange(truth.n_times)
    # The last series is shorter than the others.
    lengths = np.full(truth.n_series, truth.n_times)
    lengths[-1] = max(2, truth.n_times // 2)
    ends = times[lengths - 1]
    paths = [jump_path(truth.rates, end, random) for end in ends]
    inside = np.arange(truth.n_times) < lengths[:, None]
    y = truth.location[np.array([path.at(times) for path in paths])]
    y = np.where(inside[..., None], y + truth.noise * random.standard_normal(y.shape), np.nan)

    size = (n_chains, n_draws, truth.n_series)
    state = np.full((*size, truth.n_times), -1, dtype=np.int8)
    fraction, exposure, events = np.zeros((*size, n)), np.zeros((*size[:2], n)), np.zeros((*size[:2], n, n))
    for c, d, s in np.ndindex(*size):
        path = jittered(paths[s], jitter, random)
        state[c, d, s, : lengths[s]] = path.at(times[: lengths[s]])
        spent, jumps = path.counts(n)
        fraction[c, d, s] = spent / path.duration
        exposure[c, d] += spent
        events[c, d] += jumps
    onehot = (state[..., None] == np.arange(n)).astype(float)
    p_state = np.where(inside[..., None], onehot.mean(1), np.nan)

    # Each seed's potential has the record's rates, give or take a few per cent.
    fitted = events.mean((0, 1)) / np.maximum(exposure.mean((0, 1))[:, None], 1e-9)
    fitted = np.where(fitted > 0, fitted, truth.rates)
    rates = fitted * np.exp(0.03 * random.standard_normal((n_chains, n, n)))
    off_diagonal = rates * (1 - np.eye(n))
    passage = np.array([mean_first_passage(r) for r in rates])
    dwell = 1.0 / off_diagonal.sum(-1) if n > 1 else np.full((n_chains, 1), np.nan)
    stationary = np.array([stationary_law(r) for r in rates])
    energy = -np.log(stationary / stationary.max(1, keepdims=True))
    height = pass_heights(energy, passage)
    barrier = np.where(np.eye(n, dtype=bool), np.nan, height - energy[..., :, None])
    latent = 1 if channels == 1 else 2
    minimum = np.broadcast_to(truth.location[:, :latent], (n_chains, n, latent)).copy()
    z = np.where(inside[..., None], minimum[0][np.maximum(state, 0)], np.nan)
    z = z + 0.15 * random.standard_normal(z.shape)

    pair = {"state_from": list(LABELS[:n]), "state_to": list(LABELS[:n])}
    labels = {"state": list(LABELS[:n])}
    chain, series = {"chain": np.arange(n_chains)}, {"series": [f"s{i}" for i in range(truth.n_series)]}
    draw = {"draw": np.arange(n_draws)}
    channel = {"channel": [f"y{i}" for i in range(channels)]}
    iteration = np.arange(200)
    loss = 60.0 + 80.0 * np.exp(-iteration / 20) + random.standard_normal((n_chains, 200))
    phase = np.tile(np.where(iteration < 150, "evidence", "posterior"), (n_chains, 1))
    log_p = -50.0 + random.standard_normal(size)
    log_q = 10.0 + 0.5 * random.standard_normal(size)
    lags = truth.gap * np.array([1, 2, 5, 10, 20])
    noise = np.random.default_rng([seed, 1])  # of its own, so that the paths of a seed stay what they are
    sampled = stationary * np.exp(0.01 * noise.standard_normal((n_chains, n)))
    laplace = stationary * np.exp(0.05 * noise.standard_normal((n_chains, n)))
    estimates = np.stack([stationary, *(part / part.sum(1, keepdims=True) for part in (sampled, laplace))], -1)
    others = (stationary**2).sum(1, keepdims=True) - stationary**2
    sampled_error = 0.01 * stationary * np.sqrt((1 - stationary) ** 2 + others)
    errors = np.stack([0.0 * stationary, sampled_error, np.nan * stationary], -1)
    adjacent = adjacent_states(n, latent) & (barrier >= 3.0)
    groups = {
        "posterior": xr.Dataset(
            {
                "z": (("chain", "draw", "series", "time", "latent_dim"), z),
                "diffusion": (("chain", "draw", "latent_dim"), np.ones((*size[:2], latent))),
            },
            coords=chain | draw | series,
        ),
        "states": xr.Dataset(
            {
                "minimum": (("chain", "state", "latent_dim"), minimum),
                "location": (("chain", "state", "channel"), np.stack([truth.location] * n_chains)),
                "beta_energy": (("chain", "state"), energy),
                "beta_barrier": (("chain", "state_from", "state_to"), barrier),
                "n_states": ("chain", np.full(n_chains, n)),
                **passes(minimum, energy, height),
            },
            coords=chain | labels | pair | channel,
        ),
        "occupancy": xr.Dataset(
            {
                "stationary": (("chain", "state", "estimator"), estimates),
                "stationary_error": (("chain", "state", "estimator"), errors),
                "stationary_chain": (("chain", "state"), stationary + 0.004 * (1 / n - stationary)),
                "smoothed": (("chain", "series", "state"), fraction.mean(1)),
                "smoothed_error": (("chain", "series", "state"), np.full((n_chains, truth.n_series, n), 0.01)),
                "path": (("chain", "draw", "series", "state"), fraction),
                "p_state": (("chain", "series", "time", "state"), p_state),
            },
            coords=chain | draw | series | labels | {"estimator": ["integral", "sampled", "laplace"]},
        ),
        "kinetics": xr.Dataset(
            {
                "mfpt": (("chain", "state_from", "state_to"), passage),
                "mfpt_kramers": (("chain", "state_from", "state_to"), np.where(adjacent, 0.9 * passage, np.nan)),
                "rate": (("chain", "state_from", "state_to"), off_diagonal),
                "transition_prior": (
                    ("chain", "lag", "state_from", "state_to"),
                    np.array([[expm(generator(r) * lag) for lag in lags] for r in rates]),
                ),
                "timescale": (("chain", "process"), _processes(rates)),
                "dwell_prior": (("chain", "state"), dwell),
                "dwell_chain": (("chain", "state"), 1.02 * dwell),
                "exposure": (("chain", "draw", "state"), exposure),
                "events": (("chain", "draw", "state_from", "state_to"), events),
            },
            coords=chain | draw | labels | pair | {"lag": lags},
            attrs={"time_unit": "s", "time_convention": "continuous", "step": 0.05},
        ),
        "state_path": xr.Dataset(
            {name: (("chain", "draw", "series", "time"), state.copy()) for name in ("state", "visit")},
            coords=chain | draw | series,
        ),
        "landscape": landscape(minimum, energy, list(LABELS[:n]), random),
        "sample_stats": xr.Dataset(
            {
                "log_p": (("chain", "draw", "series"), log_p),
                "log_q": (("chain", "draw", "series"), log_q),
                "log_evidence": (("chain", "series"), (log_p - log_q).mean(1) + 0.6),
                "loss": (("chain", "iteration"), loss),
            },
            coords=chain | draw | series | {"phase": (("chain", "iteration"), phase)},
        ),
        "observed_data": xr.Dataset({"y": (("series", "time", "channel"), y)}, coords=series | channel),
        "constant_data": xr.Dataset(
            {
                "time": (("series", "time"), np.tile(times, (truth.n_series, 1))),
                "length": ("series", lengths),
            },
            coords=series,
        ),
    }
    return groups


def as_inference_data(groups: dict[str, xr.Dataset], *, warned: tuple[str, ...] = ()) -> Any:
    """The groups as the installed ArviZ holds them, with root attributes as the fit writes them."""
    return assemble(groups, _attributes(groups["states"].sizes["chain"], warned))


def arviz_psislw(log_weights: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Smoothed log weights and Pareto k along ``draw``, as ArviZ before and from 1.0 on computes them."""
    if "psislw" in vars(arviz):
        return arviz.psislw(log_weights.stack(__sample__=("draw",)))
    return (-log_weights).azstats.psislw(dim="draw")  # of log likelihoods, which it turns into weights


def as_data_tree(groups: dict[str, xr.Dataset], *, warned: tuple[str, ...] = ()) -> xr.DataTree:
    """The groups as a DataTree."""
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs = _attributes(groups["states"].sizes["chain"], warned)
    return tree


def _attributes(n_chains: int, warned: tuple[str, ...]) -> dict[str, object]:
    return {
        "warnings": json.dumps(list(warned)),
        "seeds": json.dumps([10 + i for i in range(n_chains)]),
        "versions": json.dumps({"pyro_langevin": "0.1.0", "torch": "2.13.0"}),
    }


def _processes(rates: np.ndarray) -> np.ndarray:
    """Hopping timescales and one more, fast, of motion inside a well."""
    hopping = [relaxation_times(r) for r in rates]
    return np.array([[*slow, 0.05] for slow in hopping])
