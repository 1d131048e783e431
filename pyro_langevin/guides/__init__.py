"""Guides: amortised posteriors over paths."""

from pyro_langevin.guides.amortised import AmortisedGuide, MessageGuide
from pyro_langevin.guides.control_network import ControlNetwork
from pyro_langevin.guides.controlled import ControlledGuide
from pyro_langevin.guides.frame import Frame, PositionFrame, frame_of
from pyro_langevin.guides.gauss_markov import GaussMarkovGuide
from pyro_langevin.guides.joint import JointGuide
from pyro_langevin.guides.phase_space import PhaseSpaceFrame
from pyro_langevin.guides.steered import SteeredGuide

__all__ = [
    "AmortisedGuide",
    "ControlNetwork",
    "ControlledGuide",
    "Frame",
    "GaussMarkovGuide",
    "JointGuide",
    "MessageGuide",
    "PhaseSpaceFrame",
    "PositionFrame",
    "SteeredGuide",
    "frame_of",
]
