"""Posterior draws as ArviZ holds them, what they predict, their scores, and their files."""

from pyro_langevin.inference_data.any_program import from_pyro_svi
from pyro_langevin.inference_data.assemble import load_draws, save_draws
from pyro_langevin.inference_data.elpd import as_elpd
from pyro_langevin.inference_data.leave_future_out import leave_future_out
from pyro_langevin.inference_data.log_likelihood import add_log_likelihood
from pyro_langevin.inference_data.posterior import posterior
from pyro_langevin.inference_data.predictive import add_posterior_predictive, add_prior_predictive
from pyro_langevin.inference_data.written_paths import write_paths

__all__ = [
    "add_log_likelihood",
    "add_posterior_predictive",
    "add_prior_predictive",
    "as_elpd",
    "from_pyro_svi",
    "leave_future_out",
    "load_draws",
    "posterior",
    "save_draws",
    "write_paths",
]
