"""Names and order of the dimensions of a sample site's values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyro.distributions import Delta
from torch import Tensor


@dataclass(frozen=True)
class SiteLayout:
    """How the values of one site are laid out in one run of a program.

    Attributes:
        shape: Shape of the values.
        event_dim: Number of dimensions that one event has; those before them are plates.
        plates: Name of each dimension: that of its plate, None where there is none.
        follows: Whether the values follow from those of other sites.
    """

    shape: tuple[int, ...]
    event_dim: int
    plates: tuple[str | None, ...]
    follows: bool

    @classmethod
    def of(cls, site: Mapping[str, Any]) -> SiteLayout:
        """Layout of a site of a trace."""
        event_dim = 0 if is_deterministic(site) else site["fn"].event_dim
        shape = tuple(site["value"].shape) if is_deterministic(site) else tuple(site["fn"].shape())
        batch = len(shape) - event_dim
        frames = {frame.dim: frame for frame in site["cond_indep_stack"] if frame.vectorized}
        plates: list[str | None] = [None] * len(shape)
        for position in range(batch):
            frame = frames.get(position - batch)
            if frame is not None and frame.size == shape[position]:
                plates[position] = frame.name
        return cls(shape, event_dim, tuple(plates), is_deterministic(site) or _is_point_mass(site))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the log density of one run."""
        return self.shape[: len(self.shape) - self.event_dim]

    @property
    def numel(self) -> int:
        """Numbers in one run."""
        return math.prod(self.shape)

    @property
    def kept(self) -> list[int]:
        """Dimensions that say something: all but those of size 1 that only align plates with one another."""
        batch = len(self.batch_shape)
        return [i for i, size in enumerate(self.shape) if i >= batch or size != 1 or self.plates[i] is not None]

    def names(self, site: str, given: Sequence[str] | None) -> tuple[str, ...]:
        """Name of every dimension that is kept.

        Args:
            site: Name of the site.
            given: The user's names: of all dimensions, or of those that no plate names.

        Raises:
            ValueError: If there are neither as many names as dimensions nor as many as nameless ones.
        """
        names = [self.plates[i] for i in self.kept]
        free = [i for i, name in enumerate(names) if name is None]
        if given is not None:
            if len(given) == len(names):
                return tuple(given)
            if len(given) != len(free):
                raise ValueError(
                    f"dims: expected {len(free)} names for {site!r}, those of its dimensions without a plate, or "
                    f"{len(names)}, those of all, got {list(given)}; its dimensions are {names} of sizes "
                    f"{[self.shape[i] for i in self.kept]}"
                )
            for place, name in zip(free, given, strict=True):
                names[place] = name
        return tuple(name if name is not None else f"{site}_dim_{i}" for i, name in enumerate(names))

    def batch_names(self, site: str, given: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the dimensions of its log density."""
        names = self.names(site, given)
        return names[: len(names) - self.event_dim]

    def values(self, runs: Tensor) -> np.ndarray:
        """Values ``(draw, *kept)`` of several runs, from ``(draw, numbers)``."""
        return runs.numpy().reshape(len(runs), *(self.shape[i] for i in self.kept))

    def log_densities(self, runs: Tensor) -> np.ndarray:
        """Log densities ``(draw, *kept plates)`` of several runs, from ``(draw, numbers)``."""
        batch = len(self.batch_shape)
        return runs.numpy().reshape(len(runs), *(self.shape[i] for i in self.kept if i < batch))


def is_deterministic(site: Mapping[str, Any]) -> bool:
    """Whether a site came from ``pyro.deterministic``."""
    return bool(site["infer"].get("_deterministic", False))


def _is_point_mass(site: Mapping[str, Any]) -> bool:
    law = site["fn"]
    while hasattr(law, "base_dist"):
        law = law.base_dist
    return isinstance(law, Delta)
