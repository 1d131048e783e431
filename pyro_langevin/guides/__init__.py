"""Guides: amortised posteriors over paths."""

from pyro_langevin.guides.amortised import AmortisedGuide
from pyro_langevin.guides.frame import Frame, PositionFrame, frame_of
from pyro_langevin.guides.gauss_markov import GaussMarkovGuide
from pyro_langevin.guides.phase_space import PhaseSpaceFrame
from pyro_langevin.guides.steered import SteeredGuide

__all__ = [
    "AmortisedGuide",
    "Frame",
    "GaussMarkovGuide",
    "PhaseSpaceFrame",
    "PositionFrame",
    "SteeredGuide",
    "frame_of",
]
