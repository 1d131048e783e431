"""States, occupancies and kinetics of a potential.

A landscape belongs to one potential and temperature; results are frozen dataclasses of numpy arrays.
"""

from pyro_langevin.landscape.basins import find_landscape
from pyro_langevin.landscape.chain import chain_kinetics
from pyro_langevin.landscape.chain_result import ChainKinetics
from pyro_langevin.landscape.cores import TransitionCounts, count_transitions, last_visited
from pyro_langevin.landscape.inertia import inertial_kinetics
from pyro_langevin.landscape.kinetics import Kinetics, continuous_kinetics
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.stationary import StationaryOccupancy, stationary_occupancy
from pyro_langevin.landscape.surface import LandscapeError

__all__ = [
    "ChainKinetics",
    "EnergyGrid",
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
    "stationary_occupancy",
]
