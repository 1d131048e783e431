"""States across seeds: how many there are, which is which between seeds, and where the data are when."""

from __future__ import annotations

import string

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from pyro_langevin.diagnostics.layout import Draws, group

__all__ = ["align_states", "n_states", "relabel", "relabel_path", "state_probability"]

SAME_STATE = 0.5
"""Least overlap for a state of a seed with another number of states to count as the same state."""


def align_states(p_state: xr.DataArray) -> xr.Dataset:
    """Which state of each chain is which, by overlap in time.

    The overlap of two states is ``sum_t min(p, p') / sum_t max(p, p')``: one when they claim the same
    times, zero when they never meet. It needs no coordinates, which are not comparable between seeds. The
    reference is, among the chains with the most common number of states, the one most like the others; the
    other chains are matched to it so that the sum of overlaps is greatest (Hungarian method). A chain with
    another number of states keeps a match only where the overlap is at least one half; its other states go
    to slots labelled "unmatched".

    Args:
        p_state: probability of each state, dims chain, series, time, state; a state that a chain does not
            have is NaN.

    Returns:
        ``order`` (chain, state): index, on the chain's own axis, of the state that goes into each common
        slot, -1 for none; ``overlap`` (chain, state): with the reference's state, NaN for none. Slots are
        labelled A, B, ... in the reference's order. ``attrs["reference"]``: position of the reference
        chain.
    """
    array = p_state.transpose("chain", "series", "time", "state")
    values = array.values.reshape(array.sizes["chain"], -1, array.sizes["state"])
    present = np.isfinite(values).any(1)
    values = np.nan_to_num(values)
    n_chains = len(values)
    counts = present.sum(1)
    usual = int(np.bincount(counts).argmax())
    candidates = np.flatnonzero(counts == usual)

    matches: dict[tuple[int, int], dict[int, tuple[int, float]]] = {}
    for one in map(int, candidates):
        for other in range(n_chains):
            matches[one, other] = _matched(values[one], present[one], values[other], present[other])
    likeness = [
        sum(overlap for other in map(int, candidates) for _, overlap in matches[one, other].values())
        for one in map(int, candidates)
    ]
    reference = int(candidates[int(np.argmax(likeness))])
    slots = np.flatnonzero(present[reference]).tolist()

    rows, overlaps, surplus = [], [], []
    for chain in range(n_chains):
        found = matches[reference, chain]
        if counts[chain] != usual:
            found = {state: match for state, match in found.items() if match[1] >= SAME_STATE}
        rows.append([found[state][0] if state in found else -1 for state in slots])
        overlaps.append([found[state][1] if state in found else np.nan for state in slots])
        taken = {own for own, _ in found.values()}
        surplus.append([int(own) for own in np.flatnonzero(present[chain]) if own not in taken])
    extra = max(len(own) for own in surplus)
    order = [row + own + [-1] * (extra - len(own)) for row, own in zip(rows, surplus, strict=True)]
    padded = [row + [np.nan] * extra for row in overlaps]
    coords = {"chain": array["chain"].values, "state": _labels(len(slots), extra)}
    return xr.Dataset(
        {
            "order": (("chain", "state"), np.array(order, dtype=int).reshape(n_chains, -1)),
            "overlap": (("chain", "state"), np.array(padded, dtype=float).reshape(n_chains, -1)),
        },
        coords=coords,
        attrs={"reference": reference},
    )


def relabel(dataset: xr.Dataset, alignment: xr.Dataset) -> xr.Dataset:
    """A dataset whose axes ``state``, ``state_from``, ``state_to`` follow the slots of an alignment.

    Args:
        dataset: variables with a ``chain`` axis and states in each chain's own order.
        alignment: from :func:`align_states`.

    Returns:
        The same variables in the common order, NaN where a chain lacks the state (numbers become floats).
    """
    order = alignment["order"].values
    labels = alignment["state"].values
    result: dict[str, xr.DataArray] = {}
    for name, variable in dataset.data_vars.items():
        axes = [axis for axis in ("state", "state_from", "state_to") if axis in variable.dims]
        moved = variable
        for axis in axes:
            chains = []
            for position, row in enumerate(order):
                own = moved.isel(chain=position, **{axis: np.maximum(row, 0)}).astype(float)
                chains.append(own.assign_coords({axis: labels}).where(xr.DataArray(row >= 0, dims=axis)))
            moved = xr.concat(chains, dim=variable["chain"])
        result[str(name)] = moved.transpose(*variable.dims)
    return xr.Dataset(result, attrs=dataset.attrs)


def relabel_path(state: xr.DataArray, alignment: xr.Dataset) -> xr.DataArray:
    """State indices (chain, ...) of paths, as indices of the common slots; -1 (beyond the end) stays."""
    values = state.transpose("chain", ...)
    own_states = max(int(values.max()), int(alignment["order"].max())) + 1
    moved = []
    for path, row in zip(values.values, alignment["order"].values, strict=True):
        slot = np.full(own_states + 1, -1, dtype=np.int8)  # the last entry serves the index -1
        slot[row[row >= 0]] = np.flatnonzero(row >= 0)
        moved.append(slot[path])
    return values.copy(data=np.stack(moved)).transpose(*state.dims)


def n_states(idata: Draws) -> xr.Dataset:
    """Number of states: that of each chain, the most common one, and the share of chains that found it.

    Returns:
        ``n_states`` (chain), ``mode`` and ``agreement`` (scalars; agreement in (0, 1]). Ties go to fewer
        states.
    """
    counts = group(idata, "states", "n_states")["n_states"].astype(int)
    numbers, times = np.unique(counts.values, return_counts=True)
    mode = int(numbers[int(np.argmax(times))])
    return xr.Dataset({"n_states": counts, "mode": mode, "agreement": float(times.max() / times.sum())})


def state_probability(idata: Draws) -> xr.DataArray:
    """Probability of each state at each observation time, (series, time, state), averaged over chains.

    A state that a chain does not have counts as probability zero there. NaN beyond a series' length. The
    coordinate ``t`` (series, time) holds the observation times.
    """
    p_state = group(idata, "occupancy", "p_state")["p_state"].transpose("chain", "series", "time", "state")
    inside = p_state.notnull().any("state")
    mean = p_state.fillna(0.0).where(inside).mean("chain", skipna=True)
    times = group(idata, "constant_data", "time")["time"].transpose("series", "time")
    return mean.assign_coords(t=(("series", "time"), times.values)).rename("state_probability")


def _matched(
    one: np.ndarray, one_present: np.ndarray, other: np.ndarray, other_present: np.ndarray
) -> dict[int, tuple[int, float]]:
    """For each matched state of ``one``: the state of ``other``, and their overlap."""
    mine, theirs = np.flatnonzero(one_present), np.flatnonzero(other_present)
    overlap = np.zeros((len(mine), len(theirs)))
    for row, a in enumerate(mine):
        for column, b in enumerate(theirs):
            union = np.maximum(one[:, a], other[:, b]).sum()
            overlap[row, column] = np.minimum(one[:, a], other[:, b]).sum() / union if union > 0.0 else 0.0
    pairs = zip(*linear_sum_assignment(-overlap), strict=True)
    return {int(mine[a]): (int(theirs[b]), float(overlap[a, b])) for a, b in pairs}


def _labels(matched: int, unmatched: int) -> list[str]:
    letters = string.ascii_uppercase
    named = [letters[i] if i < len(letters) else f"S{i + 1}" for i in range(matched)]
    return named + ["unmatched" if i == 0 else f"unmatched {i + 1}" for i in range(unmatched)]
