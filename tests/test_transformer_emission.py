"""The emission behind a transformer: what it starts as, resting paths, padding, and what it refuses."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@torch.no_grad()
def emission(*, busy: bool) -> pl.TransformerEmission:
    made = pl.TransformerEmission(2, pl.PoissonEmission(8, 3), heads=2)
    if busy:
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def counts(lengths: tuple[int, ...] = (9, 6)) -> pl.Observations:
    return pl.Observations(
        [torch.poisson(torch.rand(n, 3) * 3.0) for n in lengths], [torch.rand(n).cumsum(0) for n in lengths]
    )


def test_it_starts_as_its_emission_alone() -> None:
    data = counts()
    behind, plain = emission(busy=False), pl.PoissonEmission(2, 3)
    scores = behind.initialise(data)
    torch.testing.assert_close(scores, plain.initialise(data))
    with torch.no_grad():  # the other features are read too, a little
        behind.emission.decoder.weight[:, 2:] = 0.0
    z = torch.randn(2, 9, 2)
    torch.testing.assert_close(behind.distribution_along(z, data).mean, plain.mean(z))
    torch.testing.assert_close(behind.mean(z), plain.mean(z))


def test_a_path_that_rests_is_what_single_states_mean() -> None:
    data, made = counts(), emission(busy=True)
    z = torch.randn(4, 2, 1, 2)
    along = made.distribution_along(z.expand(4, 2, 9, 2), data).mean
    torch.testing.assert_close(along, made.mean(z).expand_as(along))
    torch.testing.assert_close(made.decoded(z), made.distribution(z).mean.log())


def test_a_row_depends_on_the_whole_path_but_not_on_padding() -> None:
    data, made = counts(), emission(busy=True)
    z = torch.randn(2, 9, 2)
    moved = z.clone()
    moved[0, 3] += 1.0  # in the middle of the first series
    moved[1, 7] += 1.0  # in the padding of the second
    change = (made.features(moved, data) - made.features(z, data)).abs().amax(-1) > 1e-9
    assert bool(change[0].all()) and not bool(change[1, :6].any())
    alone = made.features(z[1:, :6], pl.Observations(data.values[1, :6], data.times[1, :6]))
    torch.testing.assert_close(made.features(z, data)[1:, :6], alone)


def test_the_site_and_the_likelihood_along_a_path_agree() -> None:
    data, made = counts(), emission(busy=True)
    z = torch.randn(2, 9, 2)
    with poutine.trace() as tape, pyro.plate("series", 2, dim=-1):
        made.observe(z, data)
    site = tape.trace.nodes["y"]
    total = site["fn"].log_prob(site["value"])
    torch.testing.assert_close(total, made.log_likelihood_along(z, data).sum(-1))
    features = made.features(z, data)
    torch.testing.assert_close(total, made.emission.log_likelihood(features, data.values, data.mask).sum(-1))


def test_single_rows_are_refused() -> None:
    data, made = counts(), emission(busy=False)
    with pytest.raises(TypeError, match="expected a whole path, got states of single rows"):
        made.log_likelihood(torch.randn(2, 9, 2), data.values, data.mask)
    with pytest.raises(TypeError, match="expected a whole path"):
        made.log_likelihood_table(torch.randn(5, 2), data.values, data.mask)
    with pytest.raises(ValueError, match="an emission of at least 9 features, got 8.*latent_dim, such as 16"):
        pl.TransformerEmission(9, pl.PoissonEmission(8, 3))
    with pytest.raises(ValueError, match="got one that reads whole paths itself; give this one more layers"):
        pl.TransformerEmission(2, pl.TransformerEmission(8, pl.PoissonEmission(8, 3)))
    with pytest.raises(ValueError, match="put the transformer in front of all"):
        pl.JointEmission([made, pl.PoissonEmission(2, 1)])


def test_channels_of_two_kinds_behind_one_transformer() -> None:
    joint = pl.TransformerEmission(2, pl.JointEmission([pl.PoissonEmission(8, 1), pl.GaussianEmission(8, 1)]))
    data = pl.Observations(torch.stack([torch.poisson(torch.ones(2, 9)), torch.randn(2, 9)], -1))
    joint.initialise(data)
    assert joint.log_likelihood_along(torch.randn(2, 9, 2), data).shape == (2, 9)


def test_a_fit_is_on_the_bound_and_its_report_tells_of_one_well() -> None:
    pyro.clear_param_store()
    data = pl.Observations(torch.poisson(torch.rand(6, 20, 3) * 2.0))
    model = pl.LangevinModel(pl.Overdamped(pl.CoupledOscillatorPotential(2)), emission(busy=False))
    guide = pl.SteeredGuide(model, pl.TransformerEncoder(3, 8, heads=2))
    result = pl.fit(model, guide, data, steps=10, progress=False)
    assert set(result.members[0].phase) == {"bound", "posterior"}
    idata = pl.posterior(result, data, draws=5)
    assert idata["states"].sizes["state"] == 1
    assert any("no second well whatever the data are" in sentence for sentence in pl.audit(idata))
    assert "occupancy[A]" in pl.summary(idata).index
    scored = pl.add_log_likelihood(idata, result, data)
    found = scored["log_likelihood"]["y"].values.reshape(5, 6, 20).sum(-1)
    prior_and_data = idata["sample_stats"]["log_p"].values[0]
    assert found.shape == prior_and_data.shape and bool((found < 0).all())
    pl.add_posterior_predictive(scored, result, data, draws=2)


def test_what_was_trained_by_hand_is_drawn_from_like_a_fit() -> None:
    data = pl.Observations(torch.poisson(torch.rand(3, 12, 3) * 2.0))
    model, other = (
        pl.LangevinModel(pl.Overdamped(pl.CoupledOscillatorPotential(2)), emission(busy=False)) for _ in range(2)
    )
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(3, 4))
    guide.initialise(data, model.initialise(data))
    result = pl.FitResult.by_hand(model, guide, loss=[3.0, 2.0], seed=7)
    assert [member.seed for member in result.members] == [7] and result.members[0].loss == [3.0, 2.0]
    idata = pl.posterior(result, data, draws=3)
    assert idata["posterior"].sizes["draw"] == 3 and idata["states"].sizes["state"] == 1
    with pytest.raises(ValueError, match="expected the guide of this model"):
        pl.FitResult.by_hand(other, guide)
