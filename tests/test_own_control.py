"""A control of one's own: who trains it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from controlled_guides import model_for
from pyro.infer import TraceMeanField_ELBO
from ragged_series import CHANNELS, ragged
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


class Own(nn.Module):
    """A control with a network; kept where it is registered, or hidden in a list where it is not."""

    def __init__(self, *, hidden_away: bool) -> None:
        super().__init__()
        network = nn.Linear(1, 1)
        self.kept = [network] if hidden_away else network

    def forward(self, z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        network = self.kept[0] if isinstance(self.kept, list) else self.kept
        return pl.Control(network(z), torch.ones(()))


def build(control: Callable[[Tensor, Tensor, Tensor], pl.Control]) -> pl.ControlledGuide:
    return pl.ControlledGuide(model_for(ragged()), pl.RecurrentEncoder(CHANNELS, 6), control=control)


def test_a_registered_control_of_ones_own_is_trained() -> None:
    data, control = ragged(), Own(hidden_away=False)
    guide = build(control)
    assert {id(p) for p in control.parameters()} <= {id(p) for p in guide.parameters()}
    guide.initialise(data, guide.model.initialise(data))
    TraceMeanField_ELBO().differentiable_loss(guide.model, guide, data).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in control.parameters())


def test_a_control_that_nobody_would_train_is_refused() -> None:
    network = nn.Linear(1, 1)

    def closure(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        return pl.Control(network(z).tanh(), torch.ones(()))

    for control in (closure, Own(hidden_away=True)):
        with pytest.raises(ValueError, match=r"2 learned tensors \(shapes .*\) that are not registered") as problem:
            build(control)
        assert "nobody would train them; make the control an nn.Module" in str(problem.value)
    scale = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="1 learned tensors"):
        build(lambda z, position, context: pl.Control(torch.zeros_like(z), scale))


def test_a_control_without_learned_parts_or_with_the_models_own_is_welcome() -> None:
    data = ragged()
    guide = build(lambda z, position, context: pl.Control(-z, torch.full((), 0.5)))
    guide.initialise(data, guide.model.initialise(data))
    assert bool(guide.path(data).rsample().isfinite().all())
    model = model_for(data)

    def by_force(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        return pl.Control(model.dynamics.potential.force(z), torch.ones(()))

    pl.ControlledGuide(model, pl.RecurrentEncoder(CHANNELS, 6), control=by_force)


def other_base() -> AmortisedGuide:
    data = ragged()
    base = pl.SteeredGuide(model_for(data), pl.RecurrentEncoder(CHANNELS, 6))
    return pl.ControlledGuide(model_for(data), base.encoder, base=base)


def filtering_base() -> AmortisedGuide:
    base = pl.SteeredGuide(model_for(ragged()), pl.RecurrentEncoder(CHANNELS, 6))
    return pl.ControlledGuide(base.model, pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Filtering()), base=base)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (other_base, "the base is a guide for another model; build both with the same model"),
        (filtering_base, "the base's messages look ahead, the encoder must not; leave the base away to filter"),
        (
            lambda: pl.SteeredGuide(
                model_for(ragged()), pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Filtering())
            ),
            r"SteeredGuide: its messages speak of the observation .* cannot filter; give its encoder direction=",
        ),
        (lambda: build(lambda z, p, c: z), "expected the control to return a Control, got Tensor"),
        (
            lambda: build(lambda z, p, c: pl.Control(torch.zeros(1, 3), torch.ones(()))),
            r"expected a push \(1, 1\) and a multiplier \(1, 1\) for one state \(1, 1\), got \(1, 3\) and \(\)",
        ),
        (lambda: build(lambda z, p, c: pl.Control(z, torch.ones(1, 2))), r"got \(1, 1\) and \(1, 2\)"),
        (lambda: pl.ControlledGuide(model_for(ragged()), pl.RecurrentEncoder(4)), "the encoder reads 4 channels"),
        (
            lambda: pl.ControlledGuide(model_for(ragged()), pl.RecurrentEncoder(CHANNELS), bound=0.0),
            "expected a positive bound, got 0.0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(action: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as problem:
        action()
    assert "\n" not in str(problem.value)
