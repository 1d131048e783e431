"""Draws of any Pyro model and guide that SVI has fitted, whether or not a path is among their sites."""

from pyro_langevin.inference_data.any_program.converter import from_pyro_svi

__all__ = ["from_pyro_svi"]
