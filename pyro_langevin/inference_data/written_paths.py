"""Posterior paths of a record that is too long for memory, written to a file a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro
import torch
import xarray as xr
from torch import Tensor

from pyro_langevin.diagnostics.states import align_states
from pyro_langevin.grid_filter import Cuts, sample_smoothed, smoothed_pieces
from pyro_langevin.inference_data.draws import sample_states
from pyro_langevin.inference_data.paths_file import ROWS_AT_ONCE, PathsFile
from pyro_langevin.landscape import Landscape, find_landscape
from pyro_langevin.model import at_observations
from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.training import FitResult, FittedMember
from pyro_langevin.training.phases import can_be_exact

_SAMPLE, _SAMPLE_DRAWS = 20_000, 5  # rows and draws that tell the states of the fits apart
_STRETCH, _OVERLAP, _STRETCHES_AT_ONCE = 1000, 60, 64  # of a guide's draws


def write_paths(
    result: FitResult,
    record: LongRecord,
    path: str | Path,
    *,
    draws: int = 20,
    exact: bool = True,
    merge_below: float = 1.0,
    seed: int = 0,
) -> None:
    """Write posterior paths of all rows of a long record, with their states, to a NetCDF file.

    What :func:`~pyro_langevin.posterior` draws in memory is drawn, labelled and written here some 65,000 rows at a
    time. The states are those of the learned potentials, labelled alike in all fits by a sample of 20,000 rows. For
    figures with intervals pass such a sample to ``posterior``; this file tells the state of every row.

    The file has one group, which ``xarray.open_dataset(path, engine="h5netcdf")`` reads as far as it is asked for. Its
    rows are those of all series, one after the other:

    =====================================  =====================================================================
    ``z`` (chain, draw, row, latent_dim)   position of the path, float32
    ``state`` (chain, draw, row)           index of its state in the coordinate ``state_label``, int8; -1 for none
    ``p_state`` (chain, row, state_label)  share of the draws in each state, float32
    ``time`` (row)                         in the data's unit
    ``series`` (row)                       index in the coordinate ``series_name``
    =====================================  =====================================================================

    Draws from the exact posterior fit together across pieces (:func:`~pyro_langevin.grid_filter.smoothed_pieces`).
    Those from a guide do not: they are drawn in stretches of 1000 rows, each with 60 on either side that are dropped.

    Args:
        result: From :func:`~pyro_langevin.fit`.
        record: The record.
        path: The file; one that is there is replaced once the new one is whole.
        draws: Draws a fit.
        exact: Draw from the exact posterior where there is one; False draws from the guide.
        merge_below: Least depth of a state in kT.
        seed: Seed of the draws.

    Raises:
        ValueError: If ``record`` is no :class:`~pyro_langevin.LongRecord`, or no draws are asked for.
        LandscapeError: If a learned potential has no minimum that can be found.
        OSError: If the file cannot be written.
    """
    if not isinstance(record, LongRecord):
        raise ValueError(
            f"write_paths: expected a LongRecord, got {type(record).__name__}; draws of what is in memory come from "
            "posterior(result, observations)"
        )
    if draws < 1:
        raise ValueError(f"write_paths: expected at least 1 draw, got {draws}")
    pyro.set_rng_seed(seed)
    sample = record.sample(_SAMPLE)
    exact = exact and result.members[0].grid is not None and can_be_exact(result.model, sample)
    members = [member if exact else replace(member, grid=None) for member in result.members]
    if exact and result.model.has_momenta:
        record, sample = record.with_equal_gaps(), sample.with_equal_gaps()
    landscapes = [_landscape(member, sample, merge_below) for member in members]
    slots, labels = _slots(members, landscapes, sample)
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    try:
        with PathsFile(unfinished, record, labels, chains=len(members), draws=draws, dim=landscapes[0].dim) as file:
            file.describe({"seeds": [member.seed for member in members], "seed_of_draws": seed, "exact": exact})
            for chain, (member, landscape) in enumerate(zip(members, landscapes, strict=True)):
                with pyro.get_param_store().scope():  # each fit has parameters of its own
                    for drawn in _blocks(_pieces(member, record, draws)):
                        z = drawn[..., : landscape.dim]
                        file.write(chain, z, slots[chain][landscape.basin(z.astype(np.float64))])
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _landscape(member: FittedMember, sample: Observations, merge_below: float) -> Landscape:
    starts = sample_states(member, sample, most=_SAMPLE)
    temperature = float(member.model.dynamics.temperature)
    return find_landscape(
        member.model.dynamics.potential, starts, temperature=temperature, merge_below=merge_below, beyond_starts=False
    )


@torch.no_grad()
def _slots(
    members: list[FittedMember], landscapes: list[Landscape], sample: Observations
) -> tuple[list[np.ndarray], list[str]]:
    """Common index of every state of every fit, ``(own state,)``, and the labels of the common states."""
    most = max(landscape.n_states for landscape in landscapes)
    inside = sample.inside.cpu().numpy()
    shares = np.full((len(members), *inside.shape, most), np.nan)
    for chain, (member, landscape) in enumerate(zip(members, landscapes, strict=True)):
        z = _drawn(member, sample, _SAMPLE_DRAWS)[..., : landscape.dim].double().cpu().numpy()
        state = landscape.basin(z)
        share = np.stack([(state == own).mean(0) for own in range(landscape.n_states)], -1)
        shares[chain, ..., : landscape.n_states] = np.where(inside[..., None], share, np.nan)
    alignment = align_states(xr.DataArray(shares, dims=("chain", "series", "time", "state")))
    slots = []
    for landscape, order in zip(landscapes, alignment["order"].values, strict=True):
        slot = np.full(landscape.n_states, -1, dtype=np.int8)
        slot[order[order >= 0]] = np.flatnonzero(order >= 0)
        slots.append(slot)
    return slots, [str(label) for label in alignment["state"].values]


def _drawn(member: FittedMember, observations: Observations, draws: int) -> Tensor:
    """Paths at the observation times, ``(draw, series, time, dim)``."""
    if member.grid is not None:
        return sample_smoothed(member.model, observations, member.grid, draws).z
    path = member.guide.path(observations).rsample(torch.Size([draws]))
    return at_observations(path, member.model.grid(observations))


def _pieces(member: FittedMember, record: LongRecord, draws: int) -> Iterator[Tensor]:
    """Draws ``(row, draw, dim)`` of all rows, in the order of series and rows."""
    record = record.to(next(member.model.parameters()).device)
    if member.grid is not None:
        return (piece.z for piece in smoothed_pieces(member.model, record, member.grid, draws))
    return _guide_pieces(member, record, draws)


@torch.no_grad()
def _guide_pieces(member: FittedMember, record: LongRecord, draws: int) -> Iterator[Tensor]:
    for some in Cuts.of(record.lengths, _STRETCH, _OVERLAP).split(_STRETCHES_AT_ONCE):
        z = _drawn(member, some.read(record), draws)
        for window, kept in enumerate(some.kept()):
            yield z[:, window, kept].movedim(0, 1)


def _blocks(pieces: Iterator[Tensor]) -> Iterator[np.ndarray]:
    """Draws ``(draw, row, dim)`` of neighbouring pieces ``(row, draw, dim)``, enough to be written together."""
    held: list[Tensor] = []
    for piece in pieces:
        held.append(piece)
        if sum(map(len, held)) >= ROWS_AT_ONCE:
            yield torch.cat(held).movedim(1, 0).cpu().numpy()
            held = []
    if held:
        yield torch.cat(held).movedim(1, 0).cpu().numpy()
