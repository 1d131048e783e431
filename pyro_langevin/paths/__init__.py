"""Paths as Pyro distributions: the prior and the posteriors built on it."""

from pyro_langevin.paths.control import Control, Controls
from pyro_langevin.paths.controlled import ControlledPath
from pyro_langevin.paths.dense_gauss_markov import DenseGaussMarkovPath
from pyro_langevin.paths.forecast import prefix_condition
from pyro_langevin.paths.gauss_markov import GaussMarkovPath
from pyro_langevin.paths.independent_messages import IndependentMessages
from pyro_langevin.paths.langevin import LangevinPath
from pyro_langevin.paths.messages import Messages
from pyro_langevin.paths.parametrisation import Absolute, Additive, Parametrisation
from pyro_langevin.paths.shared_diffusion import require_shared_diffusion
from pyro_langevin.paths.steered import SteeredPath
from pyro_langevin.paths.tilted import TiltedPath, Tilting, has_divergence_along

__all__ = [
    "Absolute",
    "Additive",
    "Control",
    "ControlledPath",
    "Controls",
    "DenseGaussMarkovPath",
    "GaussMarkovPath",
    "IndependentMessages",
    "LangevinPath",
    "Messages",
    "Parametrisation",
    "SteeredPath",
    "TiltedPath",
    "Tilting",
    "has_divergence_along",
    "prefix_condition",
    "require_shared_diffusion",
]
