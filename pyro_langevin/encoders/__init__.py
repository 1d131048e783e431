"""Encoders: observations to one context vector at each observation time."""

from pyro_langevin.encoders.base import Encoder
from pyro_langevin.encoders.convolutional import ConvolutionalEncoder
from pyro_langevin.encoders.direction import POSITION_DIM, Direction, Filtering, Smoothing, TwoSided
from pyro_langevin.encoders.recurrent import RecurrentEncoder
from pyro_langevin.encoders.transformer import TransformerEncoder

__all__ = [
    "POSITION_DIM",
    "ConvolutionalEncoder",
    "Direction",
    "Encoder",
    "Filtering",
    "RecurrentEncoder",
    "Smoothing",
    "TransformerEncoder",
    "TwoSided",
]
