"""All verdicts about a fit: the tuple of checks, and the warnings that the fit itself left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyro_langevin.diagnostics.layout import Draws, attribute
from pyro_langevin.diagnostics.verdicts.barriers import barriers_not_told
from pyro_langevin.diagnostics.verdicts.chapman_kolmogorov import chapman_kolmogorov_failure
from pyro_langevin.diagnostics.verdicts.drift import record_drifts
from pyro_langevin.diagnostics.verdicts.estimators import stationary_estimators_disagree
from pyro_langevin.diagnostics.verdicts.guide import corrected_figures, guide_too_far, guide_too_narrow
from pyro_langevin.diagnostics.verdicts.metastability import states_do_not_hold
from pyro_langevin.diagnostics.verdicts.prior_against_paths import prior_against_paths
from pyro_langevin.diagnostics.verdicts.reversibility import detailed_balance_broken
from pyro_langevin.diagnostics.verdicts.seeds import elbo_spread
from pyro_langevin.diagnostics.verdicts.states import number_of_states, one_state
from pyro_langevin.diagnostics.verdicts.stationary import stationary_against_path
from pyro_langevin.diagnostics.verdicts.step_occupancy import step_dominates_occupancy
from pyro_langevin.diagnostics.verdicts.step_size import step_size
from pyro_langevin.diagnostics.verdicts.transitions import few_transitions

__all__ = ["CHECKS", "all_warnings", "audit"]

CHECKS: tuple[Callable[[Draws], Iterator[str]], ...] = (
    one_state,
    number_of_states,
    few_transitions,
    states_do_not_hold,
    record_drifts,
    detailed_balance_broken,
    prior_against_paths,
    barriers_not_told,
    chapman_kolmogorov_failure,
    step_size,
    step_dominates_occupancy,
    stationary_against_path,
    stationary_estimators_disagree,
    elbo_spread,
    guide_too_narrow,
    guide_too_far,
    corrected_figures,
)
"""The checks in the order in which their warnings are given; each yields its warnings, none on clean draws."""


def audit(idata: Draws) -> list[str]:
    """Warnings about a fit, each a sentence or two: what disagrees, by how much, what to do.

    Checked are: one state only; the seeds' number of states; too few transitions; states behind low barriers that
    are recrossed; the first against the second half of the record; detailed balance of paths and data; the learned
    potential's rates against those of its posterior paths, whether the data tell barriers, and the transition
    probabilities at several lags (Chapman-Kolmogorov); kinetics and occupancies as discretised against continuous time
    (the step-size checks); the Boltzmann against the path occupancy; the estimators of the Boltzmann occupancy; the
    seeds' ELBOs; the guide against the posterior. Clean draws give an empty list. What a check needs and the draws do
    not hold is not checked.
    """
    return [warning for check in CHECKS for warning in check(idata)]


def all_warnings(idata: Draws) -> list[str]:
    """Warnings that the fit left in the attribute ``warnings``, then those of :func:`audit`, none twice."""
    stored = attribute(idata, "warnings", [])
    stored = [stored] if isinstance(stored, str) and stored else list(stored)
    return list(dict.fromkeys([*map(str, stored), *audit(idata)]))
