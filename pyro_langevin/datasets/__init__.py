"""Data to try things on: simulated with a known answer, recorded, and exact answers for known potentials."""

from pyro_langevin.datasets.files import data_file
from pyro_langevin.datasets.flashing_ratchet import flashing_ratchet
from pyro_langevin.datasets.folding_model import FoldingData, folding_model
from pyro_langevin.datasets.hidden_markov import HiddenMarkovData, hidden_markov
from pyro_langevin.datasets.jump_process import jump_process
from pyro_langevin.datasets.lorenz_spikes import LorenzSpikes, lorenz_spikes
from pyro_langevin.datasets.recorded import (
    KINSOFT_OCCUPANCY,
    KINSOFT_RATES,
    IceCore,
    ice_core,
    ice_core_isotopes,
    kinsoft,
)
from pyro_langevin.datasets.reference import (
    COLD_DOUBLE_WELL,
    DOUBLE_WELL,
    MUELLER_BROWN,
    ORNSTEIN_UHLENBECK,
    PRINZ,
    TILTED_DOUBLE_WELL,
    TRIPLE_WELL,
    ExactAnswer,
)
from pyro_langevin.datasets.simulated_diffusion import SimulatedData, double_well, simulate_overdamped
from pyro_langevin.datasets.simulated_jumps import SimulatedJumps, three_states
from pyro_langevin.datasets.walking import walking

__all__ = [
    "COLD_DOUBLE_WELL",
    "DOUBLE_WELL",
    "KINSOFT_OCCUPANCY",
    "KINSOFT_RATES",
    "MUELLER_BROWN",
    "ORNSTEIN_UHLENBECK",
    "PRINZ",
    "TILTED_DOUBLE_WELL",
    "TRIPLE_WELL",
    "ExactAnswer",
    "FoldingData",
    "HiddenMarkovData",
    "IceCore",
    "LorenzSpikes",
    "SimulatedData",
    "SimulatedJumps",
    "data_file",
    "double_well",
    "flashing_ratchet",
    "folding_model",
    "hidden_markov",
    "ice_core",
    "ice_core_isotopes",
    "jump_process",
    "kinsoft",
    "lorenz_spikes",
    "simulate_overdamped",
    "three_states",
    "walking",
]
