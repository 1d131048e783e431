"""Langevin dynamics, other diffusions, and the schemes that turn them into Gaussian transitions."""

from pyro_langevin.dynamics.euler_maruyama import EulerMaruyama
from pyro_langevin.dynamics.ito_diffusion import ItoDiffusion, ItoDynamics, ItoScheme, NoPotentialError
from pyro_langevin.dynamics.ito_form import ItoForm
from pyro_langevin.dynamics.local_linearization import LocalLinearization
from pyro_langevin.dynamics.noise import AdditiveNoise, GeometricNoise, LinearNoise, Noise
from pyro_langevin.dynamics.overdamped import Overdamped, OverdampedDynamics, Scheme
from pyro_langevin.dynamics.torchsde_form import TorchSDE, to_torchsde
from pyro_langevin.dynamics.transition import Transition

__all__ = [
    "AdditiveNoise",
    "EulerMaruyama",
    "GeometricNoise",
    "ItoDiffusion",
    "ItoDynamics",
    "ItoForm",
    "ItoScheme",
    "LinearNoise",
    "LocalLinearization",
    "NoPotentialError",
    "Noise",
    "Overdamped",
    "OverdampedDynamics",
    "Scheme",
    "TorchSDE",
    "Transition",
    "to_torchsde",
]
