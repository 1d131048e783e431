"""Noisy time series on their own times, with every check of user input."""

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.joining import join_channels
from pyro_langevin.observations.long_record import LongRecord
from pyro_langevin.observations.observations import LONG, Observations
from pyro_langevin.observations.record_windows import RecordWindows

__all__ = ["LONG", "LongRecord", "ObservationError", "Observations", "RecordWindows", "join_channels"]
