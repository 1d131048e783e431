"""What a fit recovered of a system whose answer is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.datasets import ExactAnswer
from pyro_langevin.diagnostics.layout import group, trusted_stationary

Array = NDArray[np.float64]

BARRIER_ALLOWED = 0.5  # kT
OCCUPANCY_ALLOWED = 0.04
TIME_ALLOWED = 0.20  # relative
DIFFUSION_ALLOWED = 0.20  # relative


@dataclass(frozen=True)
class Score:
    """One figure of a fit against its exact value.

    Attributes:
        name: The quantity.
        exact: Its exact value.
        found: What each seed found; NaN where it found nothing.
        allowed: Largest difference that counts as recovered.
    """

    name: str
    exact: float
    found: tuple[float, ...]
    allowed: float

    @property
    def recovered(self) -> bool:
        """Whether every seed is near enough."""
        return all(abs(value - self.exact) <= self.allowed for value in self.found)

    @property
    def spread(self) -> float:
        """Largest minus smallest of the seeds."""
        return max(self.found) - min(self.found)


def double_well_scores(idata: Any, loadings: Array, exact: ExactAnswer) -> list[Score]:
    """Figures of every seed against those of a double well that was seen through linear loadings.

    Args:
        idata: The draws.
        loadings: ``(channel, 1)``: the observations were ``loadings @ position`` and noise.
        exact: The exact answer; its state 0 lies left.
    """
    direction = loadings[:, 0] / np.square(loadings).sum()
    sides = _sides(idata, direction)
    states, kinetics, occupancy = (group(idata, name) for name in ("states", "kinetics", "occupancy"))
    barrier = states["beta_barrier"].transpose("chain", "state_from", "state_to").values
    mfpt = kinetics["mfpt"].transpose("chain", "state_from", "state_to").values
    boltzmann = trusted_stationary(idata).values
    paths = occupancy["path"].mean(("draw", "series")).transpose("chain", "state").values

    def one(table: Array, side: int) -> tuple[float, ...]:
        return tuple(row[pair[side]] if pair else np.nan for row, pair in zip(table, sides, strict=True))

    def two(table: Array, side: int) -> tuple[float, ...]:
        return tuple(
            row[pair[side], pair[1 - side]] if pair else np.nan
            for row, pair in zip(table, sides, strict=True)
        )

    counts = tuple(float(count) for count in states["n_states"].values)
    share, diffusion = exact.occupancy[0], exact.diffusion
    rows = [
        Score("number of states", exact.n_states, counts, 0.0),
        Score("barrier left->right (kT)", exact.barrier(0, 1), two(barrier, 0), BARRIER_ALLOWED),
        Score("barrier right->left (kT)", exact.barrier(1, 0), two(barrier, 1), BARRIER_ALLOWED),
        Score("occupancy left, potential", share, one(boltzmann, 0), OCCUPANCY_ALLOWED),
        Score("occupancy left, paths", share, one(paths, 0), OCCUPANCY_ALLOWED),
        Score("MFPT left->right", exact.mfpt[0, 1], two(mfpt, 0), TIME_ALLOWED * exact.mfpt[0, 1]),
        Score("MFPT right->left", exact.mfpt[1, 0], two(mfpt, 1), TIME_ALLOWED * exact.mfpt[1, 0]),
        Score("diffusion", diffusion, _diffusion(idata, direction), DIFFUSION_ALLOWED * diffusion),
    ]
    return rows


def _sides(idata: Any, direction: Array) -> list[tuple[int, int] | None]:
    """Left and right state of every seed; None where it did not find two.

    A latent coordinate may point either way; the emission at the minima, read along the loadings, does not.
    """
    location = group(idata, "states", "location")["location"].transpose("chain", "state", "channel").values
    sides: list[tuple[int, int] | None] = []
    for place in location @ direction:
        present: Sequence[int] = np.flatnonzero(np.isfinite(place)).tolist()
        left, *others = sorted(present, key=lambda state: float(place[state]))
        sides.append((left, others[0]) if len(others) == 1 else None)
    return sides


def _diffusion(idata: Any, direction: Array) -> tuple[float, ...]:
    """Diffusion of every seed in the true coordinate.

    The data fix D only up to the square of the latent scale: position = stretch * latent, where the learned
    weights are the true loadings times the stretch (least squares), hence D in the true coordinate is
    stretch^2 times the learned one.
    """
    posterior = group(idata, "posterior", "weight", "diffusion").isel(draw=0, latent_dim=0)
    stretch = posterior["weight"].transpose("chain", "channel").values @ direction
    return tuple((stretch**2 * posterior["diffusion"].values).tolist())
