"""Posterior draws as ArviZ holds them, and their files."""

from pyro_langevin.inference_data.assemble import load_draws, save_draws
from pyro_langevin.inference_data.posterior import posterior

__all__ = ["load_draws", "posterior", "save_draws"]
