"""Guided particle smoothing: posterior paths and evidence from a guide that need not be right."""

from pyro_langevin.particle_filter.smooth import ParticleSmoothing, smooth_by_particles

__all__ = ["ParticleSmoothing", "smooth_by_particles"]
