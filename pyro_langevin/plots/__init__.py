"""Figures of a fit: each takes the draws and, if wanted, axes to draw on, and returns the axes."""

from pyro_langevin.plots.data import plot_data
from pyro_langevin.plots.dwell_survival import plot_dwell_survival
from pyro_langevin.plots.landscape import plot_landscape
from pyro_langevin.plots.loss import plot_loss
from pyro_langevin.plots.occupancy import plot_occupancy

__all__ = ["plot_data", "plot_dwell_survival", "plot_landscape", "plot_loss", "plot_occupancy"]
