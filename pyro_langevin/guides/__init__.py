"""Guides: amortised posteriors over paths."""

from pyro_langevin.guides.amortised import AmortisedGuide
from pyro_langevin.guides.gauss_markov import GaussMarkovGuide
from pyro_langevin.guides.steered import SteeredGuide

__all__ = ["AmortisedGuide", "GaussMarkovGuide", "SteeredGuide"]
