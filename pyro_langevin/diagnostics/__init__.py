"""States, occupancy, dwell times and kinetics of draws, with intervals and verdicts."""

from pyro_langevin.diagnostics.dwell import dwell_survival, dwell_times
from pyro_langevin.diagnostics.guide_quality import elbo, k_hat
from pyro_langevin.diagnostics.kinetics import barriers, kinetics_table, mfpt, timescales
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.diagnostics.path_rates import path_rates
from pyro_langevin.diagnostics.record import summary_record
from pyro_langevin.diagnostics.states import (
    align_states,
    n_states,
    relabel,
    relabel_path,
    state_probability,
)
from pyro_langevin.diagnostics.summary import summary
from pyro_langevin.diagnostics.verdicts import all_warnings, audit

__all__ = [
    "align_states",
    "all_warnings",
    "audit",
    "barriers",
    "dwell_survival",
    "dwell_times",
    "elbo",
    "k_hat",
    "kinetics_table",
    "mfpt",
    "n_states",
    "occupancy",
    "path_rates",
    "relabel",
    "relabel_path",
    "state_probability",
    "summary",
    "summary_record",
    "timescales",
]
