"""Latent Langevin processes with learned potentials as Pyro priors: states, occupancy and kinetics of noisy series."""

from pyro_langevin.diagnostics import audit, dwell_times, kinetics_table, occupancy, summary, summary_record
from pyro_langevin.dynamics import EulerMaruyama, LocalLinearization, Overdamped
from pyro_langevin.emissions import (
    BernoulliEmission,
    CategoricalEmission,
    DecodedEmission,
    Emission,
    GaussianEmission,
    JointEmission,
    PoissonEmission,
    StudentTEmission,
)
from pyro_langevin.encoders import RecurrentEncoder
from pyro_langevin.grid_filter import StateGrid, grid_log_evidence
from pyro_langevin.guides import GaussMarkovGuide, SteeredGuide
from pyro_langevin.inference_data import load_draws, posterior, save_draws
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import find_landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import ObservationError, Observations, join_channels
from pyro_langevin.paths import GaussMarkovPath, LangevinPath, Messages, SteeredPath
from pyro_langevin.plots import plot_data, plot_dwell_survival, plot_landscape, plot_loss, plot_occupancy
from pyro_langevin.potentials import (
    MixturePotential,
    NeuralPotential,
    Potential,
    QuadraticPotential,
)
from pyro_langevin.report import write_report
from pyro_langevin.tables import read_table
from pyro_langevin.time_grid import TimeGrid
from pyro_langevin.training import CheckpointError, FitResult, TrainingError, fit

__all__ = [
    "BernoulliEmission",
    "CategoricalEmission",
    "CheckpointError",
    "DecodedEmission",
    "Emission",
    "EulerMaruyama",
    "FitResult",
    "GaussMarkovGuide",
    "GaussMarkovPath",
    "GaussianEmission",
    "JointEmission",
    "LangevinModel",
    "LangevinPath",
    "LocalLinearization",
    "Messages",
    "MixtureInitial",
    "MixturePotential",
    "NeuralPotential",
    "ObservationError",
    "Observations",
    "Overdamped",
    "PoissonEmission",
    "Potential",
    "QuadraticPotential",
    "RecurrentEncoder",
    "StateGrid",
    "SteeredGuide",
    "SteeredPath",
    "StudentTEmission",
    "TimeGrid",
    "TrainingError",
    "audit",
    "dwell_times",
    "find_landscape",
    "fit",
    "grid_log_evidence",
    "join_channels",
    "kinetics_table",
    "load_draws",
    "occupancy",
    "plot_data",
    "plot_dwell_survival",
    "plot_landscape",
    "plot_loss",
    "plot_occupancy",
    "posterior",
    "read_table",
    "save_draws",
    "summary",
    "summary_record",
    "write_report",
]
