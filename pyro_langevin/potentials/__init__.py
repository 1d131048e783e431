"""Potentials: learned and with known answers."""

from pyro_langevin.potentials.base import ClosedFormPotential, Energy, LocalExpansion, Potential
from pyro_langevin.potentials.coupled_oscillators import CoupledOscillatorPotential
from pyro_langevin.potentials.mixture import MixturePotential
from pyro_langevin.potentials.neural import NeuralPotential
from pyro_langevin.potentials.quadratic import QuadraticPotential

__all__ = [
    "ClosedFormPotential",
    "CoupledOscillatorPotential",
    "Energy",
    "LocalExpansion",
    "MixturePotential",
    "NeuralPotential",
    "Potential",
    "QuadraticPotential",
]
