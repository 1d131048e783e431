"""Encoders: observations to one context vector at each observation time."""

from pyro_langevin.encoders.direction import POSITION_DIM, Direction, Filtering, Smoothing, TwoSided
from pyro_langevin.encoders.recurrent import RecurrentEncoder

__all__ = ["POSITION_DIM", "Direction", "Filtering", "RecurrentEncoder", "Smoothing", "TwoSided"]
