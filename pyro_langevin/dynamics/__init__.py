"""Langevin dynamics and the schemes that turn them into Gaussian transitions."""

from pyro_langevin.dynamics.control_port import ControlPort, control_port
from pyro_langevin.dynamics.euler_maruyama import EulerMaruyama
from pyro_langevin.dynamics.local_linearization import LocalLinearization
from pyro_langevin.dynamics.overdamped import Overdamped, OverdampedDynamics, Scheme
from pyro_langevin.dynamics.transition import Transition

__all__ = [
    "ControlPort",
    "EulerMaruyama",
    "LocalLinearization",
    "Overdamped",
    "OverdampedDynamics",
    "Scheme",
    "Transition",
    "control_port",
]
