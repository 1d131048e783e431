"""States, occupancy, dwell times and kinetics of draws, with intervals and verdicts."""

from pyro_langevin.diagnostics.basin_tree import basin_tree
from pyro_langevin.diagnostics.chapman_kolmogorov import chapman_kolmogorov
from pyro_langevin.diagnostics.committor import committor
from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.diagnostics.detailed_balance import detailed_balance
from pyro_langevin.diagnostics.dwell import dwell_survival, dwell_times
from pyro_langevin.diagnostics.effective_samples import effective_samples
from pyro_langevin.diagnostics.guide_quality import elbo, evidence_gap, k_hat
from pyro_langevin.diagnostics.implied_timescales import implied_timescales
from pyro_langevin.diagnostics.kinetics import barriers, kinetics_table, mfpt, timescales
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.diagnostics.occupancy_variance import occupancy_variance
from pyro_langevin.diagnostics.path_rates import path_rates
from pyro_langevin.diagnostics.record import summary_record
from pyro_langevin.diagnostics.recrossing import recrossing
from pyro_langevin.diagnostics.states import (
    align_states,
    n_states,
    relabel,
    relabel_path,
    state_probability,
)
from pyro_langevin.diagnostics.stationarity import stationarity
from pyro_langevin.diagnostics.summary import summary
from pyro_langevin.diagnostics.transition_matrix import transition_matrix
from pyro_langevin.diagnostics.verdicts import all_warnings, audit

__all__ = [
    "align_states",
    "all_warnings",
    "audit",
    "barriers",
    "basin_tree",
    "chapman_kolmogorov",
    "committor",
    "corrected_occupancy",
    "detailed_balance",
    "dwell_survival",
    "dwell_times",
    "effective_samples",
    "elbo",
    "evidence_gap",
    "implied_timescales",
    "k_hat",
    "kinetics_table",
    "mfpt",
    "n_states",
    "occupancy",
    "occupancy_variance",
    "path_rates",
    "recrossing",
    "relabel",
    "relabel_path",
    "state_probability",
    "stationarity",
    "summary",
    "summary_record",
    "timescales",
    "transition_matrix",
]
