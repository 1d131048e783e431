"""Guides: amortised posteriors over paths."""

from pyro_langevin.guides.amortised import AmortisedGuide, MessageGuide
from pyro_langevin.guides.control_network import ControlNetwork
from pyro_langevin.guides.controlled import ControlledGuide
from pyro_langevin.guides.gauss_markov import GaussMarkovGuide
from pyro_langevin.guides.joint import JointGuide
from pyro_langevin.guides.steered import SteeredGuide

__all__ = [
    "AmortisedGuide",
    "ControlNetwork",
    "ControlledGuide",
    "GaussMarkovGuide",
    "JointGuide",
    "MessageGuide",
    "SteeredGuide",
]
