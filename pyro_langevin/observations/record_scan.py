"""The one reading of a long record that checks it, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pyro_langevin.observations.checks import check_finite, check_ranges, check_times, too_short, unobserved
from pyro_langevin.observations.row_sources import Block, RowSource, pieces

_GAPS_KEPT = 1_000_000  # of which the median is taken


@dataclass(frozen=True)
class RecordScan:
    """What is known of a record once it was read.

    Attributes:
        n_values: Number of observed values.
        has_empty_rows: Whether nothing was observed in some row.
        typical_gap: Median gap, of at most a million of them.
        shortest_gap: Shortest gap of all.
        longest_gap: Longest.
        fingerprint: Of values and times.
    """

    n_values: int
    has_empty_rows: bool
    typical_gap: float
    shortest_gap: float
    longest_gap: float
    fingerprint: str


def scan(source: RowSource, names: Sequence[str], channels: Sequence[str]) -> RecordScan:
    """Read a record once and check it as :class:`~pyro_langevin.observations.Observations` are checked.

    Raises:
        ObservationError: In the same words.
    """
    short = np.flatnonzero(source.lengths < 2)
    if len(short):
        raise too_short(int(source.lengths[short[0]]), names[short[0]])
    stride = -(-int(source.lengths.sum()) // _GAPS_KEPT)
    seen = np.zeros(len(source.lengths), dtype=bool)
    lowest, highest = np.full(source.obs_dim, np.nan), np.full(source.obs_dim, np.nan)
    n_values, empty, shortest, longest = 0, False, np.inf, 0.0
    kept_gaps: list[np.ndarray] = []
    digest, clock = hashlib.sha256(), hashlib.sha256()
    last = np.zeros((1, 0))
    for block in source.blocks():
        values = block.values
        times = np.concatenate([last, block.times], -1) if block.row > 0 else block.times
        gaps = np.diff(times)
        _refuse(source, block, gaps, names)
        last = block.times[:, -1:]
        observed = ~np.isnan(values)
        n_values += int(observed.sum())
        rows = observed.any(-1)
        empty = empty or not rows.all()
        seen[block.series : block.series + len(values)] |= rows.any(-1)
        flat = values.reshape(-1, source.obs_dim)
        lowest = np.fmin(lowest, np.fmin.reduce(flat))
        highest = np.fmax(highest, np.fmax.reduce(flat))
        if gaps.size:
            shortest, longest = min(shortest, float(gaps.min())), max(longest, float(gaps.max()))
            kept_gaps.append(gaps.ravel()[::stride].copy())
        digest.update(np.ascontiguousarray(values).data)
        clock.update(np.ascontiguousarray(block.times).data)
    if not seen.all():
        raise unobserved(names[int(np.flatnonzero(~seen)[0])])
    check_ranges(lowest.tolist(), highest.tolist(), channels, torch.get_default_dtype())
    typical = float(torch.from_numpy(np.concatenate(kept_gaps)).median())
    digest.update(clock.digest())
    return RecordScan(n_values, empty, typical, shortest, longest, digest.hexdigest()[:12])


def _refuse(source: RowSource, block: Block, gaps: np.ndarray, names: Sequence[str]) -> None:
    """Raises if something is wrong in a block, with what is to be said of the whole series."""
    in_order = bool(np.isfinite(block.times).all()) and bool((gaps > 0).all())
    if in_order and not np.isinf(block.values).any():
        return
    for number in range(block.series, block.series + len(block.values)):
        length = int(source.lengths[number])
        check_finite((source.values(number, *ends) for ends in pieces(length)), names[number])
        check_times((source.times(number, *ends) for ends in pieces(length)), names[number])
