"""The file of posterior paths of a long record: rows of all series one after the other, written as they come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import h5netcdf  # type: ignore[import-untyped]
import numpy as np

from pyro_langevin.grid_filter import Cuts
from pyro_langevin.observations import LongRecord

ROWS_AT_ONCE = 65_536  #: rows that are written together
_STORED_TOGETHER = 16_384  # rows of a compressed block of the file
_PIECE = 1000  # rows whose times are read together


class PathsFile:
    """A NetCDF file of paths, opened for writing; what is in it: :func:`~pyro_langevin.write_paths`.

    Args:
        path: The file.
        record: The record whose paths they are.
        labels: Labels of the states.
        chains: Number of fits.
        draws: Draws a fit.
        dim: Dimensions of a position.
    """

    def __init__(
        self, path: Path, record: LongRecord, labels: list[str], *, chains: int, draws: int, dim: int
    ) -> None:
        rows = record.n_rows
        self._labels = np.arange(len(labels))
        self._next = [0] * chains
        self._file = h5netcdf.File(path, "w")
        self._file.dimensions = {
            "chain": chains, "draw": draws, "row": rows, "latent_dim": dim,
            "state_label": len(labels), "series_name": record.n_series,
        }  # fmt: skip
        together = min(rows, _STORED_TOGETHER)
        blocks = {
            "z": (("chain", "draw", "row", "latent_dim"), "f4", (1, 1, together, dim)),
            "state": (("chain", "draw", "row"), "i1", (1, 1, together)),
            "p_state": (("chain", "row", "state_label"), "f4", (1, together, len(labels))),
            "time": (("row",), "f8", (together,)),
            "series": (("row",), "i4", (together,)),
        }
        for name, (along, kind, block) in blocks.items():
            self._file.create_variable(
                name, along, kind, chunks=block, compression="gzip", compression_opts=1, shuffle=True
            )
        for name, values in (("state_label", labels), ("series_name", record.series_names)):
            self._file.create_variable(name, (name,), data=np.array(values, dtype="S"))
        self._write_rows(record)

    def _write_rows(self, record: LongRecord) -> None:
        """Series and time of every row."""
        self._file["time"].attrs["time_unit"] = record.time_unit
        first = 0
        for some in Cuts.of(record.lengths, _PIECE, 1).split(ROWS_AT_ONCE // _PIECE):
            times = some.read(record).times.cpu().numpy()
            kept = [times[window, rows] for window, rows in enumerate(some.kept())]
            end = first + sum(map(len, kept))
            self._file["time"][first:end] = np.concatenate(kept)
            self._file["series"][first:end] = np.repeat(some.series.numpy(), [len(one) for one in kept])
            first = end

    def describe(self, attributes: Mapping[str, object]) -> None:
        """Say how the paths came about; values are written as JSON."""
        packages = ("pyro-langevin", "pyro-ppl", "torch")
        known = {**attributes, "versions": {name: version(name) for name in packages}}
        for name, value in known.items():
            self._file.attrs[name] = json.dumps(value)

    def write(self, chain: int, z: np.ndarray, state: np.ndarray) -> None:
        """The next rows of a fit.

        Args:
            chain: Which.
            z: Positions ``(draw, row, dim)``.
            state: Index of a label, ``(draw, row)``, -1 for none.
        """
        rows = slice(self._next[chain], self._next[chain] + z.shape[1])
        self._next[chain] = rows.stop
        self._file["z"][chain, :, rows] = z.astype(np.float32)
        self._file["state"][chain, :, rows] = state
        share = [(state == label).mean(0, dtype=np.float32) for label in self._labels]
        self._file["p_state"][chain, rows] = np.stack(share, -1)

    def __enter__(self) -> PathsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
