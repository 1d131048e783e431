"""Latent Langevin processes with learned potentials as Pyro priors: states, occupancy and kinetics of noisy series."""

from pyro_langevin.diagnostics import audit, dwell_times, kinetics_table, occupancy, summary, summary_record
from pyro_langevin.dynamics import (
    OBABO,
    AdditiveNoise,
    EulerMaruyama,
    GeometricNoise,
    ItoDiffusion,
    LinearNoise,
    LocalLinearization,
    NoPotentialError,
    Overdamped,
    PhaseSpaceLinearization,
    Underdamped,
    to_torchsde,
)
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
from pyro_langevin.encoders import Filtering, RecurrentEncoder, Smoothing, TwoSided
from pyro_langevin.grid_filter import StateGrid, grid_log_evidence, sample_smoothed
from pyro_langevin.guides import ControlledGuide, ControlNetwork, GaussMarkovGuide, JointGuide, SteeredGuide
from pyro_langevin.inference_data import load_draws, posterior, save_draws
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import find_landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import ObservationError, Observations, join_channels
from pyro_langevin.paths import (
    Absolute,
    Additive,
    Control,
    ControlledPath,
    Controls,
    DenseGaussMarkovPath,
    GaussMarkovPath,
    LangevinPath,
    Messages,
    SteeredPath,
    prefix_condition,
)
from pyro_langevin.plots import plot_data, plot_dwell_survival, plot_landscape, plot_loss, plot_occupancy
from pyro_langevin.potentials import (
    LocalExpansion,
    MixturePotential,
    NeuralPotential,
    Potential,
    QuadraticPotential,
)
from pyro_langevin.reparam import LangevinReparam
from pyro_langevin.report import write_report
from pyro_langevin.simulation import simulate
from pyro_langevin.tables import read_table
from pyro_langevin.time_grid import TimeGrid
from pyro_langevin.training import CheckpointError, FitResult, TrainingError, fit

__all__ = [
    "Absolute",
    "Additive",
    "AdditiveNoise",
    "BernoulliEmission",
    "CategoricalEmission",
    "CheckpointError",
    "Control",
    "ControlNetwork",
    "ControlledGuide",
    "ControlledPath",
    "Controls",
    "DecodedEmission",
    "DenseGaussMarkovPath",
    "Emission",
    "EulerMaruyama",
    "Filtering",
    "FitResult",
    "GaussMarkovGuide",
    "GaussMarkovPath",
    "GaussianEmission",
    "GeometricNoise",
    "ItoDiffusion",
    "JointEmission",
    "JointGuide",
    "LangevinModel",
    "LangevinPath",
    "LangevinReparam",
    "LinearNoise",
    "LocalExpansion",
    "LocalLinearization",
    "Messages",
    "MixtureInitial",
    "MixturePotential",
    "NeuralPotential",
    "NoPotentialError",
    "OBABO",
    "ObservationError",
    "Observations",
    "Overdamped",
    "PhaseSpaceLinearization",
    "PoissonEmission",
    "Potential",
    "QuadraticPotential",
    "RecurrentEncoder",
    "Smoothing",
    "StateGrid",
    "SteeredGuide",
    "SteeredPath",
    "StudentTEmission",
    "TimeGrid",
    "TrainingError",
    "TwoSided",
    "Underdamped",
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
    "prefix_condition",
    "read_table",
    "sample_smoothed",
    "save_draws",
    "simulate",
    "summary",
    "summary_record",
    "to_torchsde",
    "write_report",
]
