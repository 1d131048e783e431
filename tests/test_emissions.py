"""Every emission under one suite of properties, and each against its known law."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.emissions.refusal import refuse_where
from pyro_langevin.emissions.smoothing import smoothed

LATENT, SERIES, TIME = 2, 3, 40


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def numbers(obs_dim: int) -> Tensor:
    return torch.randn(SERIES, TIME, obs_dim).cumsum(1)


def counts(obs_dim: int) -> Tensor:
    return torch.poisson(torch.rand(SERIES, TIME, obs_dim) * 3.0)


def outcomes(obs_dim: int) -> Tensor:
    return torch.bernoulli(torch.full((SERIES, TIME, obs_dim), 0.4))


@dataclass(frozen=True)
class Case:
    """An emission, values of its kind, and torch's law of the channels from what the emission says of its parameters.

    ``outputs`` is the number of decoder outputs; ``wrong`` a value that must be refused.
    """

    build: Callable[..., pl.Emission]
    values: Callable[[], Tensor]
    law: Callable[[Any, Tensor], torch.distributions.Distribution]
    outputs: int
    wrong: tuple[float, str] | None = None


def categorical_law(emission: pl.CategoricalEmission, z: Tensor) -> torch.distributions.Distribution:
    return torch.distributions.Categorical(logits=(emission.shift + emission.decoder(z)).unsqueeze(-2))


CASES: dict[str, Case] = {
    "gaussian": Case(
        lambda latent_dim=LATENT, **own: pl.GaussianEmission(latent_dim, 3, **own),
        lambda: numbers(3),
        lambda e, z: torch.distributions.Normal(e.shift + e.scale * e.decoder(z), e.scale * e.relative_noise),
        3,
    ),
    "student_t": Case(
        lambda latent_dim=LATENT, **own: pl.StudentTEmission(latent_dim, 3, **own),
        lambda: numbers(3),
        lambda e, z: torch.distributions.StudentT(
            e.degrees_of_freedom, e.shift + e.scale * e.decoder(z), e.scale * e.relative_noise
        ),
        3,
    ),
    "poisson": Case(
        lambda latent_dim=LATENT, **own: pl.PoissonEmission(latent_dim, 3, exposure=0.25, **own),
        lambda: counts(3),
        lambda e, z: torch.distributions.Poisson(0.25 * (e.shift + e.decoder(z)).exp()),
        3,
        (-1.0, r"expected counts 0, 1, 2, ..., got -1 at time 1.5 of channel 'y1' in series '2'.*; give"),
    ),
    "bernoulli": Case(
        lambda latent_dim=LATENT, **own: pl.BernoulliEmission(latent_dim, 3, **own),
        lambda: outcomes(3),
        lambda e, z: torch.distributions.Bernoulli(logits=e.shift + e.decoder(z)),
        3,
        (2.0, r"expected 0 or 1, got 2 at time 1.5 of channel 'y1' in series '2' \(1 such values\); code"),
    ),
    "categorical": Case(
        lambda latent_dim=LATENT, **own: pl.CategoricalEmission(latent_dim, 4, **own),
        lambda: torch.randint(4, (SERIES, TIME, 1)).double(),
        categorical_law,
        4,
        (4.0, r"expected codes 0, 1, ..., 3, got 4 at time 1.5 of channel 'y0' in series '2'.*; number"),
    ),
}
every_kind = pytest.mark.parametrize("kind", CASES)


def joint(latent_dim: int = LATENT) -> pl.JointEmission:
    return pl.JointEmission([
        pl.GaussianEmission(latent_dim, 2),
        pl.PoissonEmission(latent_dim, 3),
        pl.GaussianEmission(latent_dim, 1),
        pl.CategoricalEmission(latent_dim, 3),
    ])


def joint_values() -> Tensor:
    return torch.cat([numbers(2), counts(3), numbers(1), torch.randint(3, (SERIES, TIME, 1)).double()], -1)


EMISSIONS: dict[str, tuple[Callable[..., pl.Emission], Callable[[], Tensor]]] = {
    **{kind: (case.build, case.values) for kind, case in CASES.items()},
    "joint": (joint, joint_values),
}
every_emission = pytest.mark.parametrize("name", EMISSIONS)


def gappy(values: Tensor) -> pl.Observations:
    """The values with a third missing, no row without any in one series and some in the others."""
    mask = torch.rand(values.shape) < 0.67
    mask[0, ::2] = True
    return pl.Observations(values, 0.5 * torch.arange(values.shape[1]), mask=mask)


def started(name: str) -> tuple[pl.Emission, pl.Observations]:
    build, values = EMISSIONS[name]
    emission, data = build(), gappy(values())
    emission.initialise(data)
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return emission, data


def trace_of(emission: pl.Emission, z: Tensor, data: pl.Observations) -> Any:
    trace = poutine.trace(emission.observe).get_trace(z, data)
    trace.compute_log_prob()
    return trace.nodes["y"]


# --- the law of each kind


@every_kind
def test_log_likelihood_and_mean_are_those_of_torch(kind: str) -> None:
    emission, data = started(kind)
    z = torch.randn(SERIES, TIME, LATENT)
    law = CASES[kind].law(emission, z)
    expected = (law.log_prob(data.values) * data.mask).sum(-1)
    torch.testing.assert_close(emission.log_likelihood(z, data.values, data.mask), expected)
    mean = law.mean
    if kind == "categorical":
        mean = sum(k * law.log_prob(torch.tensor(float(k))).exp() for k in range(4))
    torch.testing.assert_close(emission.mean(z), mean)


@pytest.mark.parametrize("exposure", [0.1, torch.tensor([0.1, 5.0, 1.0])])
def test_poisson_rates_are_counted_in_time_units(exposure: float | Tensor) -> None:
    data = pl.Observations(counts(3))
    emission = pl.PoissonEmission(LATENT, 3, exposure=exposure)
    per_bin = pl.PoissonEmission(LATENT, 3)
    for one in (emission, per_bin):
        pyro.set_rng_seed(1)
        one.initialise(data)
    z = torch.randn(7, LATENT)
    torch.testing.assert_close(emission.mean(z), per_bin.mean(z))
    torch.testing.assert_close(emission.rate(z) * torch.as_tensor(exposure), per_bin.rate(z))
    reported = {name: value for name, (_, value) in emission.parameters_in_data_units().items()}
    torch.testing.assert_close((z @ reported["weight"].mT + reported["bias"]).exp(), emission.rate(z))


def test_poisson_stays_finite_however_far_out_the_state() -> None:
    emission, data = started("poisson")
    z = torch.tensor([1e6, -1e6]).expand(SERIES, TIME, 2).clone().requires_grad_()
    emission.log_likelihood(z, data.values, data.mask).sum().backward()
    assert z.grad is not None and bool(z.grad.isfinite().all())


def test_student_t_tends_to_the_gaussian() -> None:
    data = gappy(numbers(3))
    student, gaussian = pl.StudentTEmission(LATENT, 3), pl.GaussianEmission(LATENT, 3)
    decoder = nn.Linear(LATENT, 3)
    student.decoder = gaussian.decoder = decoder
    z = torch.randn(SERIES, TIME, LATENT)
    student.degrees_of_freedom = torch.full((3,), 1e7)
    near = student.log_likelihood(z, data.values, data.mask)
    torch.testing.assert_close(near, gaussian.log_likelihood(z, data.values, data.mask), rtol=1e-4, atol=1e-4)
    student.degrees_of_freedom = torch.full((3,), 3.0)
    far = student.log_likelihood(z, data.values, data.mask)
    assert not torch.allclose(far, near, rtol=1e-2)


def test_student_t_holds_its_degrees_of_freedom_above_one() -> None:
    emission = pl.StudentTEmission(1, 1)
    with torch.no_grad():
        dict(emission.named_parameters())["degrees_of_freedom_unconstrained"].fill_(-30.0)
    assert emission.degrees_of_freedom.item() >= 1.0


def test_student_t_starts_unmoved_by_outliers() -> None:
    clean = torch.randn(4, 500, 1)
    dirty = torch.where(torch.rand(clean.shape) < 0.05, 1e4 * torch.randn(clean.shape), clean)
    emission = pl.StudentTEmission(1, 1)
    emission.initialise(pl.Observations(dirty))
    # the median of 2000 values, 5 % of them outliers, has a standard error of .03; MAD and half-steps gain 8 % and 20 %
    assert abs(emission.shift.item()) < 0.15
    assert emission.scale.item() == pytest.approx(1.0, abs=0.25)
    assert emission.noise.item() == pytest.approx(0.7, abs=0.2)
    assert emission.latent_points(pl.Observations(dirty)).abs().max() < 5.0


def test_student_t_starts_on_channels_that_mostly_stand_still() -> None:
    values = torch.zeros(2, 100, 1)
    values[:, ::5] = torch.randn(2, 20, 1)
    emission = pl.StudentTEmission(1, 1)
    scores = emission.initialise(pl.Observations(values))
    assert bool(scores.isfinite().all()) and emission.scale.item() > 0.1 and emission.noise.item() > 0.0


def test_joint_emission_is_the_sum_of_its_parts() -> None:
    emission, data = started("joint")
    assert isinstance(emission, pl.JointEmission)
    z = torch.randn(SERIES, TIME, LATENT)
    whole = emission.log_likelihood(z, data.values, data.mask)
    parts = torch.zeros(SERIES, TIME)
    for part, channels in zip(emission.parts, ([0, 1], [2, 3, 4], [5], [6]), strict=True):
        own = data.select_channels(channels)
        part.check(own)
        parts = parts + part.log_likelihood(z, own.values, own.mask)
    torch.testing.assert_close(whole, parts)
    assert emission.obs_dim == 7 and emission.mean(z).shape == (SERIES, TIME, 7) and emission.noise.shape == (7,)


def test_joint_emission_reports_its_parts_apart() -> None:
    emission, _ = started("joint")
    reported = emission.parameters_in_data_units()
    assert set(reported) == {
        *(f"{name}_{i}" for i in range(4) for name in ("weight", "bias")), "noise_0", "noise_2"
    }
    dims, weight = reported["weight_3"]
    assert dims == ("category_3", "latent_dim") and weight.shape == (3, LATENT)


def test_joint_emission_refuses_values_where_they_are() -> None:
    values = joint_values()
    values[1, 4, 3] = 0.5
    with pytest.raises(pl.ObservationError, match="got 0.5 at time 4 of channel 'y3' in series '1'"):
        joint().check(pl.Observations(values))


# --- what every emission does


@every_emission
def test_likelihood_broadcasts_and_the_table_holds_it(name: str) -> None:
    emission, data = started(name)
    points = torch.randn(11, LATENT)
    direct = emission.log_likelihood(points[:, None, None], data.values, data.mask)
    assert direct.shape == (11, SERIES, TIME) and direct.dtype == torch.float64
    table = emission.log_likelihood_table(points, data.values, data.mask)
    torch.testing.assert_close(table, direct)
    torch.testing.assert_close(pl.Emission.log_likelihood_table(emission, points, data.values, data.mask), direct)
    torch.testing.assert_close(
        emission.log_likelihood_table(points, data.values[1, 2], data.mask[1, 2]), direct[:, 1, 2]
    )
    assert emission.mean(points).shape == (11, emission.obs_dim)


@every_emission
@pytest.mark.parametrize("particles", [(), (5,), (5, 1)])
def test_observe_is_the_log_likelihood(name: str, particles: tuple[int, ...]) -> None:
    emission, data = started(name)
    z = torch.randn(*particles, SERIES, TIME, LATENT)
    site = trace_of(emission, z, data)
    expected = emission.log_likelihood(z, data.values, data.mask).sum(-1)
    torch.testing.assert_close(site["log_prob"], expected)
    torch.testing.assert_close(site["log_prob_sum"], expected.sum())
    assert site["is_observed"] and site["fn"].batch_shape == (*particles, SERIES)


@every_emission
def test_a_masked_value_is_no_value(name: str) -> None:
    emission, data = started(name)
    z = torch.randn(SERIES, TIME, LATENT)
    other = torch.where(data.mask, data.values, 1.0)  # a value that every kind can have
    torch.testing.assert_close(
        emission.log_likelihood(z, data.values, data.mask), emission.log_likelihood(z, other, data.mask)
    )
    nothing = torch.zeros_like(data.mask)
    assert bool((emission.log_likelihood(z, data.values, nothing) == 0).all())
    assert bool((emission.log_likelihood_table(z[0], data.values, nothing) == 0).all())


@every_emission
def test_a_masked_row_is_a_deleted_row(name: str) -> None:
    build, values = EMISSIONS[name]
    full = values()
    mask = torch.ones(full.shape, dtype=torch.bool)
    mask[:, 3::7] = False
    kept = mask.all(-1)[0]
    times = 0.5 * torch.arange(TIME)
    masked = pl.Observations(full, times, mask=mask)
    deleted = pl.Observations(full[:, kept], times[kept])
    emission = build()
    emission.initialise(deleted)
    z = torch.randn(SERIES, TIME, LATENT)
    torch.testing.assert_close(
        trace_of(emission, z, masked)["log_prob"], trace_of(emission, z[:, kept], deleted)["log_prob"]
    )


@every_emission
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    emission, data = started(name)
    values, mask = data.values[:, :3], data.mask[:, :3]
    z = torch.randn(SERIES, 3, LATENT, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: emission.log_likelihood(z, values, mask), z)
    emission.log_likelihood(z, values, mask).sum().backward()
    for parameter_name, parameter in emission.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), parameter_name
        step = 1e-6 * torch.randn_like(parameter)
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.add_(sign * step)
                sides.append(emission.log_likelihood(z, values, mask).sum())
                parameter.sub_(sign * step)
        found = (sides[0] - sides[1]) / 2.0
        torch.testing.assert_close((parameter.grad * step).sum(), found, rtol=1e-4, atol=1e-12)


@every_emission
def test_state_survives_saving(name: str) -> None:
    emission, data = started(name)
    fresh = EMISSIONS[name][0]()
    z = torch.randn(SERIES, TIME, LATENT)
    assert not torch.allclose(fresh.mean(z), emission.mean(z))
    fresh.load_state_dict(emission.state_dict())
    for one in (fresh, copy.deepcopy(emission)):
        torch.testing.assert_close(one.mean(z), emission.mean(z))
        torch.testing.assert_close(one.noise, emission.noise)
        torch.testing.assert_close(
            one.log_likelihood(z, data.values, data.mask), emission.log_likelihood(z, data.values, data.mask)
        )


@every_emission
def test_single_precision_stays_single(name: str) -> None:
    emission, data = started(name)
    double = emission.log_likelihood(torch.zeros(LATENT), data.values, data.mask)
    emission.float()
    data = data.to(dtype=torch.float32)
    z = torch.zeros(LATENT, dtype=torch.float32)
    single = emission.log_likelihood(z, data.values, data.mask)
    assert single.dtype == torch.float32 and emission.mean(z).dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    assert emission.initialise(data).dtype == torch.float32


@every_emission
def test_draws_have_the_mean_that_is_told(name: str) -> None:
    emission, _ = started(name)
    z = torch.randn(LATENT)
    drawn = emission.distribution(z.expand(40_000, LATENT)).sample().double()
    assert drawn.shape == (40_000, emission.obs_dim)
    error = drawn.std(0) / 200.0
    if name == "student_t":  # few degrees of freedom: no variance to bound the mean with, so the median
        drawn, error = drawn.median(0, keepdim=True).values, 3.0 * emission.noise / 200.0
    assert bool(((drawn.mean(0) - emission.mean(z)).abs() < 5.0 * error + 1e-12).all())


@every_emission
def test_expanded_laws_broadcast(name: str) -> None:
    emission, _ = started(name)
    z = torch.randn(1, 4, LATENT)
    law = emission.distribution(z)
    wide = law.expand((5, 4, emission.obs_dim))
    value = wide.sample()
    assert value.shape == (5, 4, emission.obs_dim)
    torch.testing.assert_close(wide.log_prob(value), law.log_prob(value))


@every_emission
def test_parameters_are_registered_once_and_reported(name: str) -> None:
    emission, data = started(name)
    z = torch.randn(SERIES, TIME, LATENT)

    class Program(pyro.nn.PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.emission = emission

        def forward(self) -> None:
            self.emission.observe(z, data)

    nodes = poutine.trace(Program()).get_trace().nodes
    registered = [id(node["value"].unconstrained()) for node in nodes.values() if node["type"] == "param"]
    assert len(set(registered)) == len(registered)
    assert set(registered) == {id(parameter) for parameter in emission.parameters()}
    constrained = [name for name, _ in emission.named_parameters() if name.endswith("_unconstrained")]
    assert {f"emission.{name.removesuffix('_unconstrained')}" for name in constrained} <= set(nodes)
    for dims, value in emission.parameters_in_data_units().values():
        assert len(dims) == value.ndim and bool(value.isfinite().all())


@every_emission
def test_another_number_of_channels_is_refused(name: str) -> None:
    emission = EMISSIONS[name][0]()
    with pytest.raises(ValueError, match=rf"expected \(series, time, {emission.obs_dim}\).*got \(3, 40, 9\); "):
        emission.check(pl.Observations(numbers(9)))


@every_kind
def test_values_of_another_kind_are_refused_where_they_are(kind: str) -> None:
    case = CASES[kind]
    if case.wrong is None:
        pytest.skip("every real number will do")
    wrong, message = case.wrong
    values = case.values()
    emission = case.build()
    emission.check(pl.Observations(values))
    values[2, 3, values.shape[-1] // 2] = wrong
    times = 0.5 * torch.arange(TIME)
    with pytest.raises(pl.ObservationError, match=message):
        emission.check(pl.Observations(values, times))
    with pytest.raises(pl.ObservationError, match=message):
        emission.observe(torch.zeros(SERIES, TIME, LATENT), pl.Observations(values, times))
    mask = torch.ones(values.shape, dtype=torch.bool)
    mask[2, 3] = False
    emission.check(pl.Observations(values, times, mask=mask))  # a missing value may be anything
    with pytest.raises(pl.ObservationError, match="got 0.5 at"):
        emission.check(pl.Observations(torch.where(mask, case.values(), 0.5), times))


def test_what_is_refused_must_have_been_observed() -> None:
    data = gappy(numbers(2))
    refuse_where(data.values == 0, data, "anything but 0", "shift the values")  # missing values are stored as 0
    with pytest.raises(pl.ObservationError, match="expected anything but 1e6"):
        refuse_where(data.values < 1e6, data, "anything but 1e6", "shift the values")


@every_kind
def test_decoders_of_ones_own_are_used_kept_and_checked(kind: str) -> None:
    case = CASES[kind]
    decoder = nn.Sequential(nn.Linear(LATENT, 5), nn.Tanh(), nn.Linear(5, case.outputs))
    emission, data = case.build(decoder=decoder), gappy(case.values())
    before = copy.deepcopy(decoder.state_dict())
    emission.initialise(data)
    for name, value in decoder.state_dict().items():
        torch.testing.assert_close(value, before[name])
    z = torch.randn(SERIES, TIME, LATENT)
    law = case.law(emission, z)
    torch.testing.assert_close(
        emission.log_likelihood(z, data.values, data.mask), (law.log_prob(data.values) * data.mask).sum(-1)
    )
    assert not {"weight", "bias"} & set(emission.parameters_in_data_units())
    with pytest.raises(ValueError, match=rf"expected a decoder with {case.outputs} outputs, got 1; end it with"):
        case.build(decoder=nn.Linear(LATENT, 1)).mean(z)
    case.build(decoder=nn.Linear(LATENT, case.outputs, bias=False)).initialise(data)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pl.PoissonEmission(0, 3), "PoissonEmission: latent_dim and obs_dim must be at least 1, got 0 and 3"),
        (lambda: pl.BernoulliEmission(1, 0), "BernoulliEmission: latent_dim and obs_dim must be at least 1"),
        (lambda: pl.CategoricalEmission(1, 1), "n_categories must be at least 2, got 1"),
        (lambda: pl.PoissonEmission(1, 3, exposure=0.0), r"positive bin width, or \(3,\) of them, got 0.0"),
        (lambda: pl.PoissonEmission(1, 3, exposure=torch.ones(2)), r"positive bin width, or \(3,\) of them"),
        (lambda: pl.JointEmission([]), "expected emissions of one latent_dim, got no emissions"),
        (
            lambda: pl.JointEmission([pl.GaussianEmission(1, 1), pl.PoissonEmission(2, 1)]),
            r"expected emissions of one latent_dim, got \[1, 2\]",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# --- the start from data


def hops(n_series: int, n_times: int, dwell: int) -> Tensor:
    """A hidden path -1, +1 that stays for ``dwell`` rows, ``(series, time, 1)``."""
    offset = torch.randint(dwell, (n_series, 1))
    return (2.0 * (((torch.arange(n_times) + offset) // dwell) % 2) - 1.0).unsqueeze(-1)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.detach().flatten(), b.flatten().to(a)]))[0, 1].abs())


SLOPE = torch.tensor([1.0, -1.0, 0.7, 1.2])
HIDDEN = {
    "gaussian": (lambda x: x * SLOPE + 0.8 * torch.randn(*x.shape[:2], 4), lambda: pl.GaussianEmission(1, 4)),
    "student_t": (
        lambda x: x * SLOPE + 0.3 * torch.distributions.StudentT(1.5).sample((*x.shape[:2], 4)),
        lambda: pl.StudentTEmission(1, 4),
    ),
    "poisson": (lambda x: torch.poisson(2.0 * (x * SLOPE).exp()), lambda: pl.PoissonEmission(1, 4)),
    "sparse poisson": (lambda x: torch.poisson(0.08 * (x * SLOPE).exp()), lambda: pl.PoissonEmission(1, 4)),
    "bernoulli": (lambda x: torch.bernoulli((2.0 * x * SLOPE).sigmoid()), lambda: pl.BernoulliEmission(1, 4)),
    "categorical": (
        lambda x: torch.distributions.Categorical(logits=x * torch.tensor([1.5, 0.0, -1.5])).sample().unsqueeze(-1),
        lambda: pl.CategoricalEmission(1, 3),
    ),
    "joint": (
        lambda x: torch.cat([x * SLOPE + 0.8 * torch.randn(*x.shape[:2], 4), torch.poisson((x * SLOPE).exp())], -1),
        lambda: pl.JointEmission([pl.GaussianEmission(1, 4), pl.PoissonEmission(1, 4)]),
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_the_start_finds_what_is_hidden(name: str) -> None:
    simulate, build = HIDDEN[name]
    x = hops(20, 300, 60)
    data = pl.Observations(simulate(x).double())
    emission = build()
    scores = emission.initialise(data)
    points = emission.latent_points(data).reshape(x.shape)
    assert scores.shape == (1, data.obs_dim) and bool(scores.isfinite().all())
    assert correlation(points, x) > 0.7
    assert float(points.square().mean()) == pytest.approx(1.0 + emission.blur**2, abs=0.05)
    single = (data.values - data.values.mean((0, 1))) @ scores.mT
    assert correlation(single, x) > (0.25 if name == "sparse poisson" else 0.6)
    # the two states, told apart by the rough latent, have about the mean emission that the data have in each
    sign = torch.sign((points * x).mean())
    for state in (-1.0, 1.0):
        seen = data.values[(x == state).squeeze(-1)].median(0).values if name == "student_t" else data.values[
            (x == state).squeeze(-1)
        ].mean(0)
        told = emission.mean(sign * state * torch.ones(1))
        other = data.values[(x == -state).squeeze(-1)]
        apart = (seen - (other.median(0).values if name == "student_t" else other.mean(0))).abs()
        assert bool(((told - seen).abs() < 0.45 * apart).all()), (told, seen)
    assert bool((emission.noise > 0).all())


def test_smoothing_is_a_kernel_mean_with_prior_rows() -> None:
    """An impulse among rows that tell nothing of one another: the narrowest kernel, with the missing row left out."""
    values = torch.tensor([0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0])[None, :, None]
    mask = torch.ones(1, 7, 1, dtype=torch.bool)
    mask[0, 4] = False
    found = smoothed(values, mask, torch.tensor([1.0]), torch.tensor([0.5]))[0, :, 0]
    rows = torch.arange(7.0)
    weight = (-0.5 * (rows[:, None] - rows).square()).exp() * ((rows[:, None] - rows).abs() <= 3) * mask[0, :, 0]
    torch.testing.assert_close(found, (weight @ values[0, :, 0] + 0.5) / (weight.sum(-1) + 0.5))


def test_smoothing_is_as_wide_as_the_data_are_smooth() -> None:
    mean, prior = torch.tensor([1.0]), torch.tensor([0.5])
    slow = torch.poisson(1.0 + 0.9 * hops(20, 400, 200))
    fast = torch.poisson(20.0 * (1.0 + 0.9 * hops(20, 400, 2)))
    mask = torch.ones(20, 400, 1, dtype=torch.bool)
    steps = [
        smoothed(counted / size, mask, mean, prior).diff(dim=1).std() / (counted / size).diff(dim=1).std()
        for counted, size in ((slow, 1.0), (fast, 20.0))
    ]
    assert steps[0] < 0.1 and steps[1] > 0.2


def test_the_regression_to_scores_is_the_inverse_of_a_gaussian_start() -> None:
    data = pl.Observations(torch.randn(20, 30, 2) @ torch.randn(2, 5) + 0.1 * torch.randn(20, 30, 5))
    emission = pl.GaussianEmission(2, 5)
    scores = emission.initialise(data)
    centred = data.values - data.values.mean((0, 1))
    torch.testing.assert_close((centred @ scores.mT).flatten(0, 1), emission.latent_points(data))


@pytest.mark.parametrize("build", [pl.PoissonEmission, pl.BernoulliEmission])
def test_a_channel_without_events_is_refused_in_all_data_and_harmless_in_a_part(
    build: Callable[[int, int], pl.Emission],
) -> None:
    values = outcomes(2)
    values[..., 1] = 0.0
    with pytest.raises(pl.ObservationError, match="got the constant 0 in channel 'y1'; drop it"):
        pl.Observations(values)
    values[2, 5, 1] = 1.0
    part = pl.Observations(values).select([0, 1])
    emission = build(1, 2)
    scores = emission.initialise(part)
    for tensor in (scores, emission.noise, emission.mean(torch.randn(5, 1)), *emission.parameters()):
        assert bool(tensor.isfinite().all())
    assert bool((emission.noise > 0).all())


def test_codes_never_seen_and_lone_rows_start_finite() -> None:
    values = torch.randint(2, (3, 2, 1)).double()
    values[0, 0], values[0, 1] = 0.0, 1.0
    emission = pl.CategoricalEmission(3, 6)
    scores = emission.initialise(pl.Observations(values))
    for tensor in (scores, emission.noise, emission.mean(torch.randn(5, 3)), *emission.parameters()):
        assert bool(tensor.isfinite().all())


def test_groups_never_observed_together_start_on_one_axis() -> None:
    x = hops(20, 300, 60)
    even, odd = torch.arange(0, 300, 2), torch.arange(1, 300, 2)
    numbers_seen = pl.Observations((x * SLOPE + 0.3 * torch.randn(20, 300, 4))[:, even], even, channels=list("abcd"))
    counts_seen = pl.Observations(torch.poisson(2.0 * (x * SLOPE).exp())[:, odd], odd, channels=list("efgh"))
    data = pl.join_channels([numbers_seen, counts_seen])
    emission = pl.JointEmission([pl.GaussianEmission(1, 4), pl.PoissonEmission(1, 4)])
    emission.initialise(data)
    gaussian, poisson = emission.parts
    for part in (gaussian, poisson):
        assert isinstance(part, pl.DecodedEmission) and isinstance(part.decoder, nn.Linear)
        weight = part.decoder.weight[:, 0]
        assert correlation(weight, SLOPE) > 0.9 and bool((weight.abs() > 0.2).all())
    assert correlation(emission.latent_points(data), x) > 0.8
    signs = [torch.sign(part.decoder.weight[0, 0]) for part in (gaussian, poisson)]  # type: ignore[union-attr]
    assert signs[0] == signs[1]


# --- in a model


@every_emission
@pytest.mark.parametrize("guide_class", [pl.SteeredGuide, pl.GaussMarkovGuide])
def test_a_model_trains_with_it(name: str, guide_class: type[Any]) -> None:
    build, values = EMISSIONS[name]
    data = gappy(values()[:, :6])
    model = pl.LangevinModel(pl.Overdamped(pl.MixturePotential(LATENT, 2)), build())
    guide = guide_class(model, pl.RecurrentEncoder(data.obs_dim, 5), hidden=8)
    guide.initialise(data, model.initialise(data))
    many = Trace_ELBO(num_particles=60, vectorize_particles=True, max_plate_nesting=1)
    one = Trace_ELBO(max_plate_nesting=1)
    with torch.no_grad():
        single = torch.tensor([one.loss(model, guide, data) for _ in range(30)])
        together = torch.tensor([many.loss(model, guide, data) for _ in range(3)])
    error = single.std() * (1.0 / 30.0 + 1.0 / 180.0) ** 0.5
    assert abs(together.mean() - single.mean()) < 5.0 * error
    trained = nn.ModuleList([model, guide])
    optimiser = torch.optim.Adam(trained.parameters(), lr=0.03)
    for _ in range(15):
        optimiser.zero_grad()
        many.differentiable_loss(model, guide, data).backward()
        optimiser.step()
    with torch.no_grad():
        assert many.loss(model, guide, data) < together.mean() - 5.0 * single.std() / 60.0**0.5
    assert Predictive(model, guide=guide, num_samples=3)(data)["z"].shape == (3, SERIES, 6, LATENT)


@every_emission
def test_a_fit_ends_in_draws_with_its_parameters(name: str) -> None:
    build, values = EMISSIONS[name]
    torch.set_default_dtype(torch.float32)
    data = gappy(values()[:, :12].float())
    emission = build()
    model = pl.LangevinModel(pl.Overdamped(pl.MixturePotential(LATENT, 3)), emission, max_step=0.5)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(data.obs_dim, 5), hidden=8)
    result = pl.fit(model, guide, data, steps=4, progress=False)
    drawn = pl.posterior(result, data, draws=3)
    reported = emission.parameters_in_data_units()
    assert reported and set(reported) <= set(drawn.posterior.data_vars)
    for parameter, (dims, value) in reported.items():
        found = drawn.posterior[parameter]
        assert found.dims == ("chain", "draw", *dims)
        torch.testing.assert_close(torch.from_numpy(found.values[0, 2]).float(), value.detach())
    assert drawn.states.location.shape[-1] == data.obs_dim


@every_emission
def test_the_exact_evidence_takes_it_in_one_dimension(name: str) -> None:
    """Rows so far apart that their states are independent: the evidence is a product of integrals."""
    data = pl.Observations(EMISSIONS[name][1]()[:, :8], 20.0 * torch.arange(8.0))
    emission = EMISSIONS[name][0](latent_dim=1)
    model = pl.LangevinModel(pl.Overdamped(pl.QuadraticPotential(1), friction=1.0), emission)
    model.initialise(data)
    grid = pl.StateGrid.around(-5.0, 5.0, size=400, margin=0.2)
    evidence = pl.grid_log_evidence(model, data, grid)
    evidence.sum().backward()
    assert all(bool(p.grad is not None and p.grad.isfinite().all()) for p in emission.parameters())
    with torch.no_grad():
        points = grid.points
        stationary = (-model.dynamics.potential.energy(points) / torch.as_tensor(model.dynamics.temperature)).softmax(0)
        law = stationary[:, None].repeat(1, 8)
        law[:, 0] = model.initial().log_prob(points).softmax(0)
        table = emission.log_likelihood_table(points, data.values, data.mask)
        expected = (table + law.log()[:, None]).logsumexp(0).sum(-1)
    torch.testing.assert_close(evidence, expected, rtol=1e-5, atol=1e-5)
