"""Training: fit, its result and its checkpoints."""

from pyro_langevin.training.errors import CheckpointError, TrainingError
from pyro_langevin.training.fitting import fit
from pyro_langevin.training.path_elbo import PathELBO
from pyro_langevin.training.result import FitResult, FittedMember

__all__ = ["CheckpointError", "FitResult", "FittedMember", "PathELBO", "TrainingError", "fit"]
