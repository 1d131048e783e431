"""Emissions: from latent states to the distribution of the observed values, one kind of data a file."""

from pyro_langevin.emissions.base import Emission
from pyro_langevin.emissions.bernoulli import BernoulliEmission
from pyro_langevin.emissions.categorical import CategoricalEmission
from pyro_langevin.emissions.decoded import DecodedEmission
from pyro_langevin.emissions.gaussian import GaussianEmission
from pyro_langevin.emissions.joint import JointEmission
from pyro_langevin.emissions.poisson import PoissonEmission
from pyro_langevin.emissions.student_t import StudentTEmission
from pyro_langevin.emissions.transformer import TransformerEmission

__all__ = [
    "BernoulliEmission",
    "CategoricalEmission",
    "DecodedEmission",
    "Emission",
    "GaussianEmission",
    "JointEmission",
    "PoissonEmission",
    "StudentTEmission",
    "TransformerEmission",
]
