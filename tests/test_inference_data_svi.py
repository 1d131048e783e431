"""Any Pyro model and guide as ArviZ holds draws, against models that are solved by hand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, config_enumerate
from pyro.infer.autoguide import (
    AutoDelta,
    AutoGuideList,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.nn import PyroModule, PyroParam
from standard_errors import ALLOWED_ERRORS
from torch import Tensor
from torch.distributions import MultivariateNormal

import pyro_langevin as pl
from pyro_langevin.inference_data import from_pyro_svi, load_draws, save_draws

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # arviz 0.23 announces its successor
    import arviz as az

#: Level ~ N(0, 2), observations ~ N(level, 0.5).
PRIOR_SCALE, NOISE = 2.0, 0.5
Y = torch.tensor([1.1, 0.4, 0.7, 1.6, 0.9], dtype=torch.float64)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def level_model(y: Tensor) -> None:
    level = pyro.sample("level", dist.Normal(0.0, PRIOR_SCALE))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(level, NOISE), obs=y)


def exact_law(y: Tensor) -> tuple[float, float]:
    """Mean and deviation of the level given the data."""
    precision = PRIOR_SCALE**-2 + len(y) * NOISE**-2
    return float(y.sum()) * NOISE**-2 / precision, precision**-0.5


def level_guide(y: Tensor) -> None:
    pyro.sample("level", dist.Normal(*(torch.tensor(figure) for figure in exact_law(y))))


def log_evidence(y: Tensor) -> float:
    covariance = PRIOR_SCALE**2 * torch.ones(len(y), len(y)) + NOISE**2 * torch.eye(len(y))
    return float(MultivariateNormal(torch.zeros(len(y)), covariance).log_prob(y))


def mixing_model(y: Tensor) -> None:
    """The same model, written so that draws that run side by side are mixed."""
    level = pyro.sample("level", dist.Normal(0.0, PRIOR_SCALE))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(level.mean(), NOISE), obs=y)


def choosing_model(y: Tensor) -> None:
    """The same model, written so that it fails when draws run side by side."""
    level = pyro.sample("level", dist.Normal(0.0, PRIOR_SCALE))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(float(level), NOISE), obs=y)


def looping_model(y: Tensor) -> None:
    """The same model with a plate that is a loop."""
    level = pyro.sample("level", dist.Normal(0.0, PRIOR_SCALE))
    for i in pyro.plate("time", len(y)):
        pyro.sample(f"y{i}", dist.Normal(level, NOISE), obs=y[i])


def factor_model(y: Tensor) -> None:
    """The same model, its likelihood a factor."""
    level = pyro.sample("level", dist.Normal(0.0, PRIOR_SCALE))
    pyro.deterministic("twice", 2.0 * level)
    pyro.factor("y", dist.Normal(level.unsqueeze(-1), NOISE).log_prob(y).sum(-1))


def scaled_model(y: Tensor) -> None:
    with poutine.scale(scale=0.01):
        level_model(y)


WRITTEN: dict[str, tuple[Callable[[Tensor], None], str]] = {
    "plate": (level_model, "side by side"),
    "mixing": (mixing_model, "one by one"),
    "choosing": (choosing_model, "one by one"),
    "loop": (looping_model, "side by side"),
    "factor": (factor_model, "side by side"),
    "scaled": (scaled_model, "side by side"),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_exact_guide_weighs_every_draw_by_the_evidence(written: str) -> None:
    model, drawn = WRITTEN[written]
    idata = from_pyro_svi(model, level_guide, model_args=(Y,), draws=40)
    weight = idata["sample_stats"]["log_p"] - idata["sample_stats"]["log_q"]
    assert weight.dims == ("chain", "draw") and weight.shape == (1, 40)
    np.testing.assert_allclose(weight, log_evidence(Y), rtol=1e-9)
    assert idata.attrs["drawn"] == drawn


@pytest.mark.parametrize("written", ["plate", "mixing"])
def test_groups_hold_what_the_model_says_of_each_draw(written: str) -> None:
    idata = from_pyro_svi(WRITTEN[written][0], level_guide, model_args=(Y,), draws=500)
    mean, deviation = exact_law(Y)
    level = idata["posterior"]["level"]
    assert abs(float(level.mean()) - mean) < ALLOWED_ERRORS * deviation / math.sqrt(500)
    expected = dist.Normal(torch.from_numpy(level.values)[..., None], NOISE).log_prob(Y)
    likelihood = idata["log_likelihood"]["y"]
    assert likelihood.dims == ("chain", "draw", "time")
    np.testing.assert_allclose(likelihood, expected)
    np.testing.assert_array_equal(idata["observed_data"]["y"], Y)
    # the noise of new observations is its own, and the level's that of the same draw
    error = (idata["posterior_predictive"]["y"] - level).values
    assert abs(error.std() - NOISE) < ALLOWED_ERRORS * NOISE / math.sqrt(2 * error.size)
    for group, spread in (("prior", PRIOR_SCALE), ("prior_predictive", math.hypot(PRIOR_SCALE, NOISE))):
        found = idata[group]["level" if group == "prior" else "y"]
        assert abs(float(found.std()) - spread) < ALLOWED_ERRORS * spread / math.sqrt(2 * 500), group


def test_deterministic_sites_are_with_the_posterior() -> None:
    idata = from_pyro_svi(factor_model, level_guide, model_args=(Y,), draws=5)
    np.testing.assert_allclose(idata["posterior"]["twice"], 2.0 * idata["posterior"]["level"])
    assert "log_likelihood" not in idata and "posterior_predictive" not in idata  # a factor is no observation


def test_arviz_leaves_one_out_as_the_formula_does() -> None:
    idata = from_pyro_svi(level_model, level_guide, model_args=(Y,), draws=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ marks the small number of observations
        found = az.loo(idata, var_name="y", pointwise=True)
    pointwise = found.loo_i if hasattr(found, "loo_i") else found.elpd_i
    exact = np.array([log_evidence(Y) - log_evidence(torch.cat([Y[:i], Y[i + 1 :]])) for i in range(len(Y))])
    # relative variance of the weights 1 / p(y | level), whose moments are Gaussian integrals
    mean, deviation = exact_law(Y)
    apart, share = (Y.numpy() - mean) ** 2, deviation**2
    first = (1 - share / NOISE**2) ** -0.5 * np.exp(apart / (2 * (NOISE**2 - share)))
    second = (1 - 2 * share / NOISE**2) ** -0.5 * np.exp(apart / (NOISE**2 - 2 * share))
    error = np.sqrt((second / first**2 - 1) / 20_000)
    assert (abs(pointwise.values - exact) < ALLOWED_ERRORS * error).all()


def groups_model(x: Tensor, y: Tensor | None = None) -> None:
    """Slopes of groups under a common law, two plates and vectors."""
    common = pyro.sample("common", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.3))
    with pyro.plate("group", 3, dim=-2):
        slope = pyro.sample("slope", dist.Normal(common, spread[..., None]).to_event(1))
        size = pyro.deterministic("size", slope.square().sum(-1), event_dim=0)
        assert size.shape[-2:] == (3, 1)
        with pyro.plate("time", len(x), dim=-1):
            pyro.sample("y", dist.Normal((slope * x).sum(-1), 0.4), obs=y)


X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.1], [0.5, 0.9]], dtype=torch.float64)
GROUP_Y = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def listed(model: Callable[..., None]) -> AutoGuideList:
    guide = AutoGuideList(model)
    guide.append(AutoNormal(poutine.block(model, hide=["spread"])))
    guide.append(AutoDelta(poutine.block(model, expose=["spread"])))
    return guide


@pytest.mark.parametrize(
    "kind", [AutoNormal, AutoDelta, AutoMultivariateNormal, AutoLowRankMultivariateNormal, listed]
)
def test_automatic_guides_of_a_model_with_plates(kind: Callable[..., Any]) -> None:
    guide = kind(groups_model)
    svi = SVI(groups_model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    for _ in range(2):
        svi.step(X, GROUP_Y)
    idata = from_pyro_svi(groups_model, guide, model_args=(X,), model_kwargs={"y": GROUP_Y}, draws=7, prior=False)
    assert idata.attrs["drawn"] == "side by side"
    posterior = idata["posterior"]
    assert posterior["slope"].dims == ("chain", "draw", "group", "slope_dim_1")
    assert posterior["size"].dims == ("chain", "draw", "group")
    assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "group", "time")
    assert "prior" not in idata
    common, spread, slope = (torch.from_numpy(posterior[name].values[0]) for name in ("common", "spread", "slope"))
    np.testing.assert_allclose(posterior["size"][0], slope.square().sum(-1))
    log_p = (
        dist.Normal(0.0, 1.0).log_prob(common).sum(-1)
        + dist.LogNormal(0.0, 0.3).log_prob(spread)
        + dist.Normal(common[:, None], spread[:, None, None]).log_prob(slope).sum((-1, -2))
        + dist.Normal(slope @ X.mT, 0.4).log_prob(GROUP_Y).sum((-1, -2))
    )
    np.testing.assert_allclose(idata["sample_stats"]["log_p"][0], log_p)


def test_names_and_coordinates_are_the_users() -> None:
    guide = AutoNormal(groups_model)
    idata = from_pyro_svi(
        groups_model, guide, model_args=(X,), model_kwargs={"y": GROUP_Y}, draws=3,
        dims={"slope": ["channel"], "common": ["channel"], "x": ["time", "channel"]},
        coords={"group": ["a", "b", "c"], "channel": ["left", "right"]}, constant_data={"x": X},
    )  # fmt: skip
    assert idata["posterior"]["slope"].dims == ("chain", "draw", "group", "channel")
    assert idata["posterior"]["slope"].sel(group="b", channel="right").shape == (1, 3)
    assert list(idata["log_likelihood"]["group"].values) == ["a", "b", "c"]
    np.testing.assert_array_equal(idata["constant_data"]["x"].sel(channel="left"), X[:, 0])
    assert idata["prior_predictive"]["y"].shape == (1, 3, 3, 4)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"dims": {"slope": ["a", "b", "c"]}}, "expected 1 names for 'slope'"),
        ({"dims": {"slop": ["a"]}}, "slop"),
        ({"coords": {"groups": [1, 2, 3]}}, "groups"),
    ],
)
def test_names_that_fit_nothing_are_refused(names: dict[str, Any], message: str) -> None:
    guide = AutoNormal(groups_model)
    with pytest.raises(ValueError, match=message):
        from_pyro_svi(groups_model, guide, model_args=(X,), model_kwargs={"y": GROUP_Y}, draws=2, **names)


def test_subsampled_data_are_refused() -> None:
    def model(y: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("time", len(y), subsample_size=2) as chosen:
            pyro.sample("y", dist.Normal(level, 1.0), obs=y[chosen])

    with pytest.raises(ValueError, match="'time' takes 2 of 5 data"):
        from_pyro_svi(model, level_guide, model_args=(Y,))


def test_sites_that_are_summed_out_are_refused() -> None:
    @config_enumerate
    def model(y: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("time", len(y)):
            kind = pyro.sample("kind", dist.Bernoulli(0.5))
            pyro.sample("y", dist.Normal(level + kind, 1.0), obs=y)

    with pytest.raises(ValueError, match="'kind', which the model sums out"):
        from_pyro_svi(model, level_guide, model_args=(Y,))


def test_a_latent_site_that_the_guide_lacks_follows_the_prior() -> None:
    def model(y: Tensor) -> None:
        level_model(y)
        pyro.sample("aside", dist.Normal(3.0, 0.1))

    idata = from_pyro_svi(model, level_guide, model_args=(Y,), draws=200)
    assert abs(float(idata["posterior"]["aside"].mean()) - 3.0) < ALLOWED_ERRORS * 0.1 / math.sqrt(200)
    weight = idata["sample_stats"]["log_p"] - idata["sample_stats"]["log_q"]
    np.testing.assert_allclose(weight, log_evidence(Y), rtol=1e-9)


def test_a_structure_that_is_random_is_refused() -> None:
    def model(y: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        size = 2 if float(level.flatten()[0]) > 0.85 else 3
        pyro.sample("extra", dist.Normal(torch.zeros(size), 1.0).to_event(1))

    with pytest.raises(ValueError, match="in every run"):
        from_pyro_svi(model, level_guide, model_args=(Y,), draws=30)


class Known(PyroModule):
    """A guide with parameters of its own."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = PyroParam(torch.tensor(mean))

    def forward(self, y: Tensor) -> None:
        pyro.sample("level", dist.Normal(self.mean, 1e-3))


def test_modules_of_a_list_are_chains() -> None:
    guides = [Known(1.0), Known(2.0), Known(-3.0)]
    guides[0](Y)  # its parameters are in the store now, and must not become the others'
    idata = from_pyro_svi(level_model, guides, model_args=(Y,), draws=4)
    np.testing.assert_allclose(idata["posterior"]["level"].mean("draw"), [1.0, 2.0, -3.0], atol=0.01)
    assert [guide.mean.item() for guide in (guides[1], guides[2])] == [2.0, -3.0]


def learned_guide(y: Tensor) -> None:
    pyro.sample("level", dist.Normal(pyro.param("mean", torch.tensor(0.0)), 1e-3))


def test_states_of_the_parameter_store_are_chains() -> None:
    store, fits = pyro.get_param_store(), []
    for mean in (0.5, -0.5):
        pyro.clear_param_store()
        pyro.param("mean", torch.tensor(mean))
        fits.append((learned_guide, store.get_state()))
    before = pyro.param("mean").item()
    idata = from_pyro_svi(level_model, fits, model_args=(Y,), draws=4)
    np.testing.assert_allclose(idata["posterior"]["level"].mean("draw"), [0.5, -0.5], atol=0.01)
    assert pyro.param("mean").item() == before


def test_a_state_does_not_stay_in_the_module_that_it_was_for() -> None:
    Known(5.0)(Y)
    state = pyro.get_param_store().get_state()
    pyro.clear_param_store()
    guide = Known(1.0)
    own = guide.mean_unconstrained
    idata = from_pyro_svi(level_model, [(guide, state), guide], model_args=(Y,), draws=4)
    np.testing.assert_allclose(idata["posterior"]["level"].mean("draw"), [5.0, 1.0], atol=0.01)
    assert guide.mean_unconstrained is own and own.item() == 1.0


def test_fits_that_would_share_their_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="share their parameters.*learned_guide"):
        from_pyro_svi(level_model, [learned_guide, learned_guide], model_args=(Y,))

    def model(y: Tensor) -> None:
        pyro.sample("level", dist.Normal(pyro.param("offset", torch.tensor(0.0)), 1.0))

    with pytest.raises(ValueError, match="'offset'"):
        from_pyro_svi(model, [Known(1.0), Known(2.0)], model_args=(Y,), draws=2)


def test_langevin_paths_of_uneven_series(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = pl.Observations([rng.normal(size=(n, 2)) for n in (6, 4)])
    model = pl.LangevinModel(pl.Overdamped(pl.MixturePotential(1, 2)), pl.GaussianEmission(1, 2), max_step=0.5)
    scores = model.initialise(data)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(obs_dim=2, hidden=4))
    guide.initialise(data, scores)
    idata = from_pyro_svi(
        model, guide, model_args=(data,), draws=3, dims={"z": ["point", "latent_dim"], "y": ["time", "channel"]}
    )
    assert idata["posterior"]["z"].dims == ("chain", "draw", "series", "point", "latent_dim")
    assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "series")
    z = torch.from_numpy(idata["posterior"]["z"].values[0])
    with torch.no_grad():
        grid = model.grid(data)
        prior = pl.LangevinPath(model.dynamics, model.initial(), grid).log_prob(z)
        own = guide.path(data).log_prob(z)
        states = z.gather(-2, grid.observed_index[..., None].expand(3, 2, 6, 1))
        seen = model.emission.log_likelihood(states, data.values, data.mask).sum(-1)
    np.testing.assert_allclose(idata["sample_stats"]["log_p"][0], (prior + seen).sum(-1))
    np.testing.assert_allclose(idata["sample_stats"]["log_q"][0], own.sum(-1))
    np.testing.assert_allclose(idata["log_likelihood"]["y"][0], seen)
    save_draws(idata, tmp_path / "draws.nc")
    again = load_draws(tmp_path / "draws.nc")
    np.testing.assert_array_equal(again["posterior"]["z"], idata["posterior"]["z"])
    np.testing.assert_array_equal(again["prior_predictive"]["y"], idata["prior_predictive"]["y"])
