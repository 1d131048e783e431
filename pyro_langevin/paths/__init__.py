"""Paths as Pyro distributions: the prior and the posteriors built on it."""

from pyro_langevin.paths.dense_gauss_markov import DenseGaussMarkovPath
from pyro_langevin.paths.gauss_markov import GaussMarkovPath
from pyro_langevin.paths.langevin import LangevinPath
from pyro_langevin.paths.shared_diffusion import require_shared_diffusion
from pyro_langevin.paths.steered import SteeredPath
from pyro_langevin.paths.tilt import Messages

__all__ = [
    "DenseGaussMarkovPath",
    "GaussMarkovPath",
    "LangevinPath",
    "Messages",
    "SteeredPath",
    "require_shared_diffusion",
]
