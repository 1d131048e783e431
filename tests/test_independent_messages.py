"""Messages on every coordinate by itself: those with a diagonal root, without matrices where the prior has none."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch

import pyro_langevin as pl
from pyro_langevin.dynamics.transition import DiagonalTransition, Transition
from pyro_langevin.paths import IndependentMessages, LangevinPath, Messages, SteeredPath
from pyro_langevin.paths.tilt import DiagonalTilt, Tilt

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")

DIM, STEPS, SERIES = 3, 6, 4
DYNAMICS = {
    "euler": lambda: pl.Overdamped(pl.QuadraticPotential(DIM, 1.5), friction=0.7, scheme=pl.EulerMaruyama()),
    "linearization": lambda: pl.Overdamped(pl.MixturePotential(DIM, 4), friction=0.7),
}


def path_pair(kind: str) -> list[SteeredPath]:
    dynamics = DYNAMICS[kind]()
    centre, strength = torch.randn(STEPS, SERIES, DIM), torch.rand(STEPS, SERIES, DIM) * 3.0
    first = dist.Normal(torch.zeros(SERIES, DIM), 1.0).to_event(1)
    times = 0.1 * torch.arange(STEPS + 1.0)
    said = IndependentMessages(centre, strength), Messages(centre, torch.diag_embed(strength))
    return [SteeredPath(dynamics, first, times, messages) for messages in said]


@pytest.mark.parametrize("kind", DYNAMICS)
def test_they_are_messages_with_a_diagonal_root(kind: str) -> None:
    own, matrices = path_pair(kind)
    drawn = []
    for path in (own, matrices):
        torch.manual_seed(1)
        drawn.append(path.rsample(torch.Size([5])))
    torch.testing.assert_close(*drawn)
    torch.testing.assert_close(own.log_prob(drawn[0]), matrices.log_prob(drawn[0]))
    torch.testing.assert_close(own.kl_along(drawn[0]), matrices.kl_along(drawn[1]))
    prior = LangevinPath(own.source, own.initial, 0.1 * torch.arange(STEPS + 1.0))
    assert bool((own.log_prob(drawn[0]) - prior.log_prob(drawn[0])).std() > 0.1)


def test_no_matrix_is_made_where_the_prior_has_none() -> None:
    transition = DiagonalTransition(torch.randn(SERIES, DIM), 0.3 * torch.rand(SERIES, DIM) + 0.1)
    said = IndependentMessages(torch.randn(SERIES, DIM), torch.rand(SERIES, DIM))
    tilt = said.tilt(torch.zeros(SERIES, DIM), transition, torch.tensor(0.1))
    assert isinstance(tilt, DiagonalTilt)
    whole = Transition(transition.mean, transition.scale)
    expected = Messages(said.centre, said.root).tilt(torch.zeros(SERIES, DIM), whole, torch.tensor(0.1))
    noise = torch.randn(SERIES, DIM)
    torch.testing.assert_close(tilt.shift, expected.shift)
    torch.testing.assert_close(tilt.spread @ tilt.spread.mT, expected.spread @ expected.spread.mT)
    for one, other in ((tilt.kl(), expected.kl()), (tilt.log_prob(noise), expected.log_prob(noise))):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(tilt.whiten(tilt.apply(noise)), noise)


def test_tilts_follow_one_another_whichever_has_matrices() -> None:
    diagonal = [DiagonalTilt(torch.randn(DIM), torch.rand(DIM) + 0.5) for _ in range(2)]
    whole = [Tilt(tilt.shift, tilt.spread, tilt.log_precision) for tilt in diagonal]
    expected = whole[0].then(whole[1])
    for first in (diagonal[0], whole[0]):
        for inner in (diagonal[1], whole[1]):
            found = first.then(inner)
            for part in ("shift", "spread", "log_precision"):
                torch.testing.assert_close(getattr(found, part), getattr(expected, part))


def test_a_guide_without_coupling_has_no_outputs_for_it() -> None:
    data = pl.Observations(torch.randn(5, 20, 4))
    model = pl.LangevinModel(DYNAMICS["euler"](), pl.GaussianEmission(DIM, 4))
    guides = [pl.SteeredGuide(model, pl.ConvolutionalEncoder(4), coupled=coupled) for coupled in (True, False)]
    for guide in guides:
        guide.initialise(data, model.initialise(data))
    coupled, alone = (guide.path(data) for guide in guides)
    assert isinstance(coupled.messages, Messages) and isinstance(alone.messages, IndependentMessages)
    assert coupled.messages.root.shape == alone.messages.root.shape
    assert bool((alone.messages.root.tril(-1) == 0).all()) and not bool((coupled.messages.root.tril(-1) == 0).all())
    loss = pl.PathELBO()(model, guides[1])(data)
    loss.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in guides[1].parameters() if p.grad is not None)


def test_guides_with_momenta_may_do_without_coupling() -> None:
    data = pl.Observations(torch.randn(3, 12, 2))
    model = pl.LangevinModel(pl.Underdamped(pl.QuadraticPotential(2)), pl.GaussianEmission(2, 2))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(2, 8), coupled=False)
    guide.initialise(data, model.initialise(data))
    assert bool(torch.isfinite(pl.PathELBO()(model, guide)(data)))
