"""Detailed balance: do the paths, and the data themselves, look the same read backwards?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.blocks import memory_time, record_blocks, sign_test
from pyro_langevin.diagnostics.cycles import cycle_part, fundamental_cycles
from pyro_langevin.diagnostics.lagged_counts import count_pairs
from pyro_langevin.diagnostics.layout import Draws, group, observed_duration, state_labels
from pyro_langevin.diagnostics.time_reversal import MEMORIES_PER_BLOCK, data_asymmetry

__all__ = ["detailed_balance"]

RESAMPLES = 500


def detailed_balance(idata: Draws) -> xr.Dataset:
    """Net flux between states, entropy production, and tests of reversibility of the paths and of the data.

    A Langevin process in a potential is reversible, whatever the potential: no net flux from i to j in the long run. A
    record has a little of it, since it begins and ends somewhere; with two states never more than one transition a
    series, which says nothing. From three states on flux can go round: for each independent cycle of the network of
    transitions the statistic is ``sum_ij A_ij / (S_ij / 2)`` along the cycle, with ``A_ij = N_ij - N_ji`` and ``S_ij =
    N_ij + N_ji`` counted on transitions between cores; to first order it is the cycle's affinity (the log of the ratio
    of the products of counts round and back). Its mean is zero for any reversible process, also if series do not
    begin in equilibrium, and a block of the record is as likely as its mirror image: so signs of blocks, chosen by
    chance, give its distribution. The paths come from a prior that is reversible and lean towards it; the data's own
    test does not.

    Returns:
        ``net_flux``, ``net_flux_sd`` (state_from, state_to): ``A_ij`` over the total time, and its standard deviation
        over blocks of three relaxation times, one over the time unit. ``entropy_production``, scalar, ``sum_{i<j} A_ij
        log(N_ij / N_ji)`` over the total time of the flux that goes round, in k_B over the time unit, less its mean
        under random signs (the plug-in estimate is never negative), and ``entropy_production_sd`` over blocks drawn
        with replacement: what hops between observations or states that are not told apart produce is not in it. ``z``:
        of the cycle that goes round most surely, signed; ``p_value``: of the largest ``|z|`` of all cycles.
        ``asymmetry_z`` (lag, channel, channel_other) and ``asymmetry_p_value``: the test of the data themselves, see
        :func:`~pyro_langevin.diagnostics.time_reversal.data_asymmetry`. Without cycles the figures of cycles are NaN.

    Source:
        Schnakenberg (1976) for cycles and entropy production.
    """
    labels = state_labels(idata)
    n = len(labels)
    blocks = _transitions(idata, n)
    duration = float(observed_duration(idata).sum())
    counts = blocks.sum(0)
    net = blocks - np.swapaxes(blocks, 1, 2)
    both = counts + counts.T
    cycles = fundamental_cycles(both)
    production = production_sd = z = p_value = float("nan")
    if len(cycles):
        with np.errstate(divide="ignore"):
            weight = np.where(both > 0.0, 2.0 / both, 0.0)
        # Each edge of a cycle stands in it twice, there and back.
        test = sign_test(0.5 * np.einsum("cij,bij->bc", cycles * weight, net))
        z, p_value = float(test.z[int(np.argmax(np.nan_to_num(abs(test.z))))]), test.p_value
        production, production_sd = _entropy_production(cycle_part(net, both), blocks, duration)
    data = data_asymmetry(idata)
    pair = ("state_from", "state_to")
    return xr.Dataset(
        {
            "net_flux": (pair, net.sum(0) / duration),
            "net_flux_sd": (pair, np.sqrt((net**2).sum(0)) / duration),
            "entropy_production": production,
            "entropy_production_sd": production_sd,
            "z": z,
            "p_value": p_value,
            "asymmetry_z": data["z"],
            "asymmetry_p_value": data["p_value"],
        },
        coords={"state_from": labels, "state_to": labels},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )


def _transitions(idata: Draws, n_states: int) -> np.ndarray:
    """Transitions between cores from one observation to the next, (block, from, to), mean over chains and draws."""
    held = group(idata, "state_path", "state")
    paths = held["visit" if "visit" in held else "state"].transpose("chain", "draw", "series", "time").values
    lengths = np.asarray(group(idata, "constant_data", "length")["length"].values, dtype=int)
    series, first = np.nonzero(np.arange(paths.shape[-1] - 1) < lengths[:, None] - 1)
    number = record_blocks(idata, at_least=MEMORIES_PER_BLOCK * memory_time(idata))
    _, blocks = count_pairs(
        paths.reshape(-1, *paths.shape[2:]), (series, first, first + 1), number[series, first], n_states
    )
    blocks[:, np.arange(n_states), np.arange(n_states)] = 0.0
    return blocks


def _entropy_production(net: np.ndarray, blocks: np.ndarray, duration: float) -> tuple[float, float]:
    """Rate of entropy production less its mean under reversibility, and its standard deviation over blocks."""
    random = np.random.default_rng(0)
    both = blocks + np.swapaxes(blocks, 1, 2)
    signs = random.choice([-1.0, 1.0], size=(RESAMPLES, len(blocks)))
    weights = random.multinomial(len(blocks), np.full(len(blocks), 1.0 / len(blocks)), size=RESAMPLES).astype(float)
    plain = float(_plug_in(net.sum(0), both.sum(0)))
    reversible = _plug_in(np.einsum("rb,bij->rij", signs, net), both.sum(0))
    resampled = _plug_in(np.einsum("rb,bij->rij", weights, net), np.einsum("rb,bij->rij", weights, both))
    return (plain - float(reversible.mean())) / duration, float(resampled.std()) / duration


def _plug_in(net: np.ndarray, both: np.ndarray) -> np.ndarray:
    """``sum_{i<j} A_ij log(N_ij / N_ji)`` with ``N = (S + A) / 2``, half a transition added to each, (*sample)."""
    # The flux that goes round can exceed the count where little of it is known: that is all one way, and no more.
    net = np.clip(net, -both, both)
    return np.asarray(0.5 * (net * np.log((both + net + 1.0) / (both - net + 1.0))).sum((-2, -1)))
