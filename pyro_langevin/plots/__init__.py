"""Figures of a fit: each takes the draws and, if wanted, axes to draw on, and returns the axes."""

from pyro_langevin.plots.basin_tree import plot_basin_tree
from pyro_langevin.plots.chapman_kolmogorov import plot_chapman_kolmogorov
from pyro_langevin.plots.committor import plot_committor
from pyro_langevin.plots.data import plot_data
from pyro_langevin.plots.dwell_survival import plot_dwell_survival
from pyro_langevin.plots.guide_quality import plot_guide_quality
from pyro_langevin.plots.landscape import plot_landscape
from pyro_langevin.plots.loss import plot_loss
from pyro_langevin.plots.mfpt import plot_mfpt
from pyro_langevin.plots.occupancy import plot_occupancy
from pyro_langevin.plots.occupancy_variance import plot_occupancy_variance
from pyro_langevin.plots.phase_portrait import plot_phase_portrait
from pyro_langevin.plots.predictive import plot_predictive
from pyro_langevin.plots.rate_network import plot_rate_network
from pyro_langevin.plots.state_probability import plot_state_probability
from pyro_langevin.plots.state_raster import plot_state_raster
from pyro_langevin.plots.timescales import plot_timescales

__all__ = [
    "plot_basin_tree",
    "plot_chapman_kolmogorov",
    "plot_committor",
    "plot_data",
    "plot_dwell_survival",
    "plot_guide_quality",
    "plot_landscape",
    "plot_loss",
    "plot_mfpt",
    "plot_occupancy",
    "plot_occupancy_variance",
    "plot_phase_portrait",
    "plot_predictive",
    "plot_rate_network",
    "plot_state_probability",
    "plot_state_raster",
    "plot_timescales",
]
