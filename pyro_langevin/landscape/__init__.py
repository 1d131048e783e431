"""States, occupancies and kinetics of a potential.

A landscape belongs to one potential and temperature; results are frozen dataclasses of numpy arrays.
"""

from pyro_langevin.landscape.basins import find_landscape
from pyro_langevin.landscape.chain import chain_kinetics
from pyro_langevin.landscape.chain_result import ChainKinetics
from pyro_langevin.landscape.committors import GridCommittors, LineCommittors, committors, inertial_committors
from pyro_langevin.landscape.cores import TransitionCounts, count_transitions, last_visited
from pyro_langevin.landscape.energy_path import EnergyPath, minimum_energy_path
from pyro_langevin.landscape.inertia import inertial_kinetics
from pyro_langevin.landscape.kinetics import Kinetics, continuous_kinetics
from pyro_langevin.landscape.kramers import KramersRates, inertial_kramers_rates, kramers_rates
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.simulated_kinetics import SimulatedKinetics, simulated_kinetics
from pyro_langevin.landscape.simulated_transitions import simulated_transition_probabilities
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.stationary import StationaryOccupancy, stationary_occupancy
from pyro_langevin.landscape.surface import LandscapeError
from pyro_langevin.landscape.transition_probabilities import inertial_transition_probabilities, transition_probabilities

__all__ = [
    "transition_probabilities",
    "inertial_transition_probabilities",
    "simulated_transition_probabilities",
    "simulated_kinetics",
    "SimulatedKinetics",
    "kramers_rates",
    "inertial_kramers_rates",
    "KramersRates",
    "inertial_committors",
    "committors",
    "LineCommittors",
    "GridCommittors",
    "ChainKinetics",
    "EnergyGrid",
    "EnergyPath",
    "Kinetics",
    "Landscape",
    "LandscapeError",
    "StationaryOccupancy",
    "TransitionCounts",
    "chain_kinetics",
    "continuous_kinetics",
    "count_transitions",
    "find_landscape",
    "inertial_kinetics",
    "last_visited",
    "minimum_energy_path",
    "stationary_occupancy",
]
