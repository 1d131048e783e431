"""Particles: posterior paths and evidence from a guide that need not be right, and forecasts without one."""

from pyro_langevin.particle_filter.forecast import particle_forecast
from pyro_langevin.particle_filter.smooth import ParticleSmoothing, smooth_by_particles

__all__ = ["ParticleSmoothing", "particle_forecast", "smooth_by_particles"]
