"""Noisy time series on their own times, with every check of user input."""

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.joining import join_channels
from pyro_langevin.observations.observations import Observations

__all__ = ["ObservationError", "Observations", "join_channels"]
