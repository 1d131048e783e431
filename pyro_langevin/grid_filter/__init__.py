"""Exact evidence and posterior by filtering on a grid: of one or two positions, or one and its momentum."""

from pyro_langevin.grid_filter.evidence import grid_log_evidence, propagator_of
from pyro_langevin.grid_filter.hops import Hops, drawn_hops, reduced_energy
from pyro_langevin.grid_filter.overlapping import Cuts
from pyro_langevin.grid_filter.phase_space import PhaseSpacePropagator
from pyro_langevin.grid_filter.pieces import Piece, smoothed_pieces
from pyro_langevin.grid_filter.propagator import Propagator
from pyro_langevin.grid_filter.smoother import SmoothedDraws, sample_smoothed
from pyro_langevin.grid_filter.state_grid import MOST_DIMENSIONS, StateGrid
from pyro_langevin.grid_filter.transitions import Transitions, expected_transitions

__all__ = [
    "MOST_DIMENSIONS",
    "Cuts",
    "Hops",
    "PhaseSpacePropagator",
    "Piece",
    "Propagator",
    "SmoothedDraws",
    "StateGrid",
    "Transitions",
    "drawn_hops",
    "expected_transitions",
    "grid_log_evidence",
    "propagator_of",
    "reduced_energy",
    "sample_smoothed",
    "smoothed_pieces",
]
