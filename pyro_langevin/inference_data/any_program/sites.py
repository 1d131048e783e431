"""Which sites of a trace hold data, and which draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyro.poutine import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_factor, site_is_subsample

from pyro_langevin.inference_data.any_program.layout import is_deterministic

Site = Any  # a message of Pyro, whose type its own functions do not agree on


def samples(trace: Trace) -> Iterator[tuple[str, Site]]:
    """Sample sites of a trace, without the choice of subsamples."""
    return ((n, s) for n, s in trace.nodes.items() if s["type"] == "sample" and not site_is_subsample(s))


def is_observation(site: Site) -> bool:
    """Whether a site holds data."""
    return bool(site["is_observed"]) and not is_deterministic(site) and not site_is_factor(site)


class WithoutData(UnconditionMessenger):
    """Draws the observed sites, but not those that follow from others."""

    def _pyro_sample(self, msg: Any) -> None:
        if is_observation(msg):
            super()._pyro_sample(msg)


def refuse_subsample(name: str, site: Site) -> None:
    """Refuse a plate that takes some of its data only.

    Raises:
        ValueError: If the site chooses such a subsample.
    """
    if site["type"] == "sample" and site_is_subsample(site) and len(site["value"]) < site["fn"].size:
        raise ValueError(
            f"from_pyro_svi: the plate {name!r} takes {len(site['value'])} of {site['fn'].size} data; give arguments "
            "with which model and guide run over all data (no subsample_size)"
        )
