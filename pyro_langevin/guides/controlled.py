"""The guide with a control: the prior's own dynamics, pushed by a network."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.dynamics import control_port
from pyro_langevin.encoders import POSITION_DIM, Encoder
from pyro_langevin.guides.amortised import AmortisedGuide
from pyro_langevin.guides.captured import parameters_behind
from pyro_langevin.guides.control_network import ControlNetwork
from pyro_langevin.guides.first_state import FirstState
from pyro_langevin.guides.standard_values import standardised
from pyro_langevin.guides.steered import SteeredGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.paths import Additive, Control, ControlledPath, Controls, Parametrisation
from pyro_langevin.paths.control import ControlLaw


class ControlledGuide(AmortisedGuide):
    """Posterior whose steps are the prior's own, pushed by ``u(z, t, context)`` and with noise damped by ``r``.

    The control sees the state that a path is in. So this guide can hold a posterior with several branches, where a
    :class:`GaussMarkovGuide` or the messages of a :class:`SteeredGuide` have to choose one; the price is a network in
    the loop over time, and a longer training, which starts at the prior and not at the data. Given a steered guide as
    ``base`` it adds a residual control to that guide's messages, and starts as that guide.

    With an encoder that looks back alone (``direction=Filtering()``) no step knows of an observation later than the
    beginning of its own observation interval.

    Args:
        model: The model.
        encoder: Observations to contexts; its direction decides between filtering and smoothing.
        parametrisation: :class:`Additive` (control added to the prior's drift) or :class:`Absolute` (a drift in its
            place).
        control: A law of one's own, ``control(z, position, context)`` to a :class:`Control`; an ``nn.Module`` if it
            learns anything. Position and context are as the encoder's direction gives them. By default a
            :class:`ControlNetwork`.
        base: Steered guide of the same model whose messages come first.
        hidden: Width of the default network.
        bound: Largest push of the default network, in units of a typical gap.

    Raises:
        ValueError: If the control depends on learned parameters that neither guide nor model hold (nobody would
            train them), has the wrong shape, or the base does not fit.
    """

    def __init__(
        self,
        model: LangevinModel,
        encoder: Encoder,
        *,
        parametrisation: Parametrisation = Additive(),
        control: ControlLaw | None = None,
        base: SteeredGuide | None = None,
        hidden: int = 96,
        bound: float = 20.0,
    ) -> None:
        super().__init__(model, encoder)
        self.parametrisation, self.port = parametrisation, control_port(model.dynamics)
        dim, direction = model.dynamics.dim, encoder.direction
        push_dim, noise_dim = parametrisation.width(self.port), len(self.port.noise)
        context_dim = direction.sides * (encoder.context_dim + encoder.obs_dim)
        if control is None:
            control = ControlNetwork(
                dim,
                POSITION_DIM + context_dim,
                push_dim=push_dim,
                noise_dim=noise_dim,
                hidden=hidden,
                bound=bound,
                parametrisation=parametrisation,
            )
        self.control = control
        self.base = base
        if base is None:
            self.first = FirstState(encoder.context_dim, dim, encoder.obs_dim)
        else:
            self._check_base(base)
        self._check_control(dim, context_dim, push_dim)

    def initialise(self, observations: Observations, scores: Tensor) -> None:
        super().initialise(observations, scores)
        if isinstance(self.control, ControlNetwork):
            self.control.initialise(observations.typical_gap)
        if self.base is None:
            self.first.initialise(scores * self.encoder.scale)
        else:
            self.base.initialise(observations, scores)

    def path(self, observations: Observations) -> ControlledPath:
        """Posterior paths of a batch of series, on the model's grid."""
        grid = self.model.grid(observations)
        values = standardised(observations, self.encoder.shift, self.encoder.scale)
        context = self.encoder(observations)
        direction = self.encoder.direction
        told = direction.at_steps(torch.cat([context, values], -1), grid).movedim(1, 0)
        position = direction.position(grid, self.encoder.gap).movedim(1, 0)
        controls = Controls(self.control, position, told, self.parametrisation, self.port)
        if self.base is None:
            return ControlledPath(self.model.dynamics, self.first(values[:, 0], context[:, 0]), grid, controls)
        start = self.base.path(observations)
        return ControlledPath(self.model.dynamics, start.initial, grid, controls, after=start.messages)

    def _check_base(self, base: SteeredGuide) -> None:
        if base.model is not self.model:
            raise ValueError("ControlledGuide: the base is a guide for another model; build both with the same model")
        if not self.encoder.direction.looks_ahead:
            raise ValueError(
                "ControlledGuide: the base's messages look ahead, the encoder must not; leave the base away to filter, "
                "or take an encoder with direction=TwoSided() or Smoothing()"
            )

    def _check_control(self, dim: int, context_dim: int, push_dim: int) -> None:
        """Try the control once: its answer's shape, and who trains what it has learned."""
        like = self.encoder.scale
        z, position, told = (like.new_zeros(1, width) for width in (dim, POSITION_DIM, context_dim))
        with torch.enable_grad():
            answer = self.control(z, position, told)
        n_noise = len(self.port.noise)
        if not isinstance(answer, Control):
            raise ValueError(f"ControlledGuide: expected the control to return a Control, got {type(answer).__name__}")
        if answer.push.shape != (1, push_dim) or not _fits(answer.multiplier, (1, n_noise)):
            found = f"{tuple(answer.push.shape)} and {tuple(answer.multiplier.shape)}"
            raise ValueError(
                f"ControlledGuide: expected a push (1, {push_dim}) and a multiplier (1, {n_noise}) for one state "
                f"(1, {dim}), got {found}; return one figure per coordinate"
            )
        held = {id(parameter) for module in (self, self.model) for parameter in module.parameters()}
        lost = [p for p in parameters_behind((answer.push, answer.multiplier)) if id(p) not in held]
        if lost:
            shapes = ", ".join(str(tuple(p.shape)) for p in lost[:4])
            raise ValueError(
                f"ControlledGuide: the control depends on {len(lost)} learned tensors (shapes {shapes}) that are not "
                "registered with the guide, so nobody would train them; make the control an nn.Module that has its "
                "networks as attributes"
            )


def _fits(value: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor broadcasts to a shape."""
    sizes = zip(reversed(value.shape), reversed(shape), strict=False)
    return value.dim() <= len(shape) and all(own in (1, wanted) for own, wanted in sizes)
