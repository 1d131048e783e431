"""Exact evidence and posterior of models with one or two latent dimensions, by filtering on a grid of states."""

from pyro_langevin.grid_filter.evidence import grid_log_evidence
from pyro_langevin.grid_filter.propagator import Propagator
from pyro_langevin.grid_filter.smoother import SmoothedDraws, sample_smoothed
from pyro_langevin.grid_filter.state_grid import MOST_DIMENSIONS, StateGrid
from pyro_langevin.grid_filter.transitions import Transitions, expected_transitions

__all__ = [
    "MOST_DIMENSIONS",
    "Propagator",
    "SmoothedDraws",
    "StateGrid",
    "Transitions",
    "expected_transitions",
    "grid_log_evidence",
    "sample_smoothed",
]
