"""All verdicts about a fit: the tuple of checks, and the warnings that the fit itself left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyro_langevin.diagnostics.layout import Draws, attribute
from pyro_langevin.diagnostics.verdicts.guide import corrected_figures, guide_too_far, guide_too_narrow
from pyro_langevin.diagnostics.verdicts.prior_against_paths import prior_against_paths
from pyro_langevin.diagnostics.verdicts.seeds import elbo_spread
from pyro_langevin.diagnostics.verdicts.states import number_of_states, one_state
from pyro_langevin.diagnostics.verdicts.stationary import stationary_against_path
from pyro_langevin.diagnostics.verdicts.step_size import step_size
from pyro_langevin.diagnostics.verdicts.transitions import few_transitions

__all__ = ["CHECKS", "all_warnings", "audit"]

CHECKS: tuple[Callable[[Draws], Iterator[str]], ...] = (
    one_state,
    number_of_states,
    few_transitions,
    prior_against_paths,
    step_size,
    stationary_against_path,
    elbo_spread,
    guide_too_narrow,
    guide_too_far,
    corrected_figures,
)
"""The checks in the order in which their warnings are given; each yields its warnings, none on clean draws."""


def audit(idata: Draws) -> list[str]:
    """Warnings about a fit, each a sentence or two: what disagrees, by how much, what to do.

    Checked are: one state only; the seeds' number of states; too few transitions; the learned potential's
    rates against those of its posterior paths; the kinetics as discretised against continuous time (the
    step-size check); the Boltzmann against the path occupancy; the seeds' ELBOs; the guide
    against the posterior. Clean draws give an empty list.
    """
    return [warning for check in CHECKS for warning in check(idata)]


def all_warnings(idata: Draws) -> list[str]:
    """Warnings that the fit left in the attribute ``warnings``, then those of :func:`audit`, none twice."""
    stored = attribute(idata, "warnings", [])
    stored = [stored] if isinstance(stored, str) and stored else list(stored)
    return list(dict.fromkeys([*map(str, stored), *audit(idata)]))
