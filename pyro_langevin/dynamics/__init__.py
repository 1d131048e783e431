"""Langevin dynamics, other diffusions, and the schemes that turn them into transitions with a density."""

from pyro_langevin.dynamics.control_port import ControlPort, control_port
from pyro_langevin.dynamics.euler_maruyama import EulerMaruyama
from pyro_langevin.dynamics.fractional_diffusion import FractionalDiffusion, FractionalDynamics
from pyro_langevin.dynamics.fractional_noise import FractionalNoise
from pyro_langevin.dynamics.ito_diffusion import ItoDiffusion, ItoDynamics, ItoScheme, NoPotentialError
from pyro_langevin.dynamics.ito_form import ItoForm
from pyro_langevin.dynamics.kicked_transition import KickedTransition
from pyro_langevin.dynamics.local_linearization import LocalLinearization
from pyro_langevin.dynamics.noise import AdditiveNoise, GeometricNoise, LinearNoise, Noise
from pyro_langevin.dynamics.obabo import OBABO
from pyro_langevin.dynamics.overdamped import Overdamped, OverdampedDynamics, Scheme
from pyro_langevin.dynamics.phase_linearization import PhaseSpaceLinearization
from pyro_langevin.dynamics.shared_noise import SharedNoiseTransition
from pyro_langevin.dynamics.torchsde_form import TorchSDE, to_torchsde
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.dynamics.underdamped import PhaseSpaceScheme, Underdamped, UnderdampedDynamics

__all__ = [
    "AdditiveNoise",
    "ControlPort",
    "EulerMaruyama",
    "FractionalDiffusion",
    "FractionalDynamics",
    "FractionalNoise",
    "GeometricNoise",
    "ItoDiffusion",
    "ItoDynamics",
    "ItoForm",
    "ItoScheme",
    "KickedTransition",
    "LinearNoise",
    "LocalLinearization",
    "NoPotentialError",
    "Noise",
    "OBABO",
    "Overdamped",
    "OverdampedDynamics",
    "PhaseSpaceLinearization",
    "PhaseSpaceScheme",
    "Scheme",
    "SharedNoiseTransition",
    "TorchSDE",
    "Transition",
    "Underdamped",
    "UnderdampedDynamics",
    "control_port",
    "to_torchsde",
]
