"""What the amortised guides share: a model that is held but not owned, an encoder, and often a message head."""

from __future__ import annotations

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.nn import PyroModule
from torch import Tensor

from pyro_langevin.encoders import Encoder
from pyro_langevin.guides.frame import Frame, frame_of
from pyro_langevin.guides.messages import MessageHead, StepOutputs
from pyro_langevin.guides.standard_values import interpolated
from pyro_langevin.model import LangevinModel, series_plate
from pyro_langevin.observations import Observations
from pyro_langevin.time_grid import TimeGrid


class AmortisedGuide(PyroModule):
    """Base of guides that read a whole series with an encoder and say something about every step.

    Args:
        model: The model; held as ``(model,)`` so that its parameters are registered once, by the model.
        encoder: Observations to contexts.
    """

    def __init__(self, model: LangevinModel, encoder: Encoder) -> None:
        super().__init__()
        if encoder.obs_dim != model.emission.obs_dim:
            raise ValueError(
                f"{type(self).__name__}: the encoder reads {encoder.obs_dim} channels, the emission has "
                f"{model.emission.obs_dim}; build both with the same obs_dim"
            )
        self._model = (model,)
        self.encoder = encoder

    def path(self, observations: Observations) -> TorchDistribution:
        """Posterior paths of a batch of series, on the model's grid."""
        raise NotImplementedError(f"{type(self).__name__} must define path(observations)")

    def forward(self, observations: Observations, n_series: int | None = None) -> Tensor:
        """Sample site ``z``: paths on the model's grid, ``(*particles, series, point, dim)``."""
        path = self.path(observations)
        with series_plate(observations, n_series), poutine.scale(scale=self.model.annealing):
            return pyro.sample("z", path)

    @property
    def model(self) -> LangevinModel:
        """The model that this guide is for."""
        return self._model[0]

    def initialise(self, observations: Observations, scores: Tensor) -> None:
        """Start from the data and from the model's map of centred values to latent scores."""
        self.encoder.initialise(observations)

    def share(self, other: AmortisedGuide) -> None:
        """Take over the encoder of another guide, whose training then goes on here."""
        self.encoder = other.encoder


class MessageGuide(AmortisedGuide):
    """Base of guides that turn what the observations say into one message a step.

    Args:
        model: The model.
        encoder: Observations to contexts, those to come included.
        hidden: Width of the message head.
        coupled: Whether a message speaks of coordinates together, which takes a matrix for each step. Without, an
            iteration in many dimensions is several times faster with :class:`~pyro_langevin.EulerMaruyama`.

    Attributes:
        noise: Standard deviation of one observation in latent units, as estimated at the start.
    """

    noise: Tensor

    def __init__(self, model: LangevinModel, encoder: Encoder, *, hidden: int = 96, coupled: bool = True) -> None:
        super().__init__(model, encoder)
        if not encoder.direction.looks_ahead:
            raise ValueError(
                f"{type(self).__name__}: its messages speak of the observation that a step leads to, so it cannot "
                "filter; give its encoder direction=TwoSided() or Smoothing(), or filter with a ControlledGuide"
            )
        self.register_buffer("noise", torch.ones(()))
        self.head = MessageHead(encoder.context_dim, model.dynamics.dim, encoder.obs_dim, hidden, coupled=coupled)

    def initialise(self, observations: Observations, scores: Tensor) -> None:
        super().initialise(observations, scores)
        noise = (scores * self.model.emission.noise.detach()).square().sum(-1).sqrt().mean()
        self.noise.copy_(noise)
        strength = self.frame.strength(observations.typical_gap, float(noise))
        self.head.initialise(scores * self.encoder.scale, strength)

    @property
    def frame(self) -> Frame:
        """How what the head says is read for the model's dynamics, with their present parameters."""
        return frame_of(self.model.dynamics, self.noise)

    def share(self, other: AmortisedGuide) -> None:
        """Take over encoder and, where it has one, message head of another guide, whose training then goes on here."""
        super().share(other)
        if isinstance(other, MessageGuide):
            self.head = other.head
            self.noise.copy_(other.noise)

    def outputs(self, observations: Observations, grid: TimeGrid) -> StepOutputs:
        """Encoder and head, read on a grid."""
        values = interpolated(observations, self.encoder.shift, self.encoder.scale)
        seen = observations.mask.to(values).mean(-1, keepdim=True)
        return self.head(values, seen, self.encoder(observations), grid)
