"""Evidence and its bounds: exact guides, exact weights, gradients that agree, bounds that tighten."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, exact_posterior, kalman_log_evidence
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from standard_errors import ALLOWED_ERRORS
from torch import Tensor
from torch.distributions import Distribution

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.paths.tilted import TiltedPath
from pyro_langevin.potentials.analytic import DoubleWell

IRREGULAR = torch.tensor([0.3, 0.35, 1.0, 1.01, 2.6, 2.9], dtype=torch.float64)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


class Linear:
    """One series of an Ornstein-Uhlenbeck process on an irregular grid, seen with noise, and all its exact answers."""

    def __init__(self, mask: Tensor | None = None, times: Tensor = IRREGULAR) -> None:
        self.process = OrnsteinUhlenbeck(
            torch.tensor([[1.3]]), torch.tensor([0.4]), 0.7, 1.2, torch.tensor([-0.2]), torch.tensor([[0.5]])
        )
        self.emission = LinearEmission(torch.tensor([[0.8]]), torch.tensor([0.1]), torch.tensor([0.4]))
        self.times = times
        self.mask = torch.ones(len(times), 1, dtype=torch.bool) if mask is None else mask
        self.values = torch.randn(len(times), 1)
        self.dynamics = pl.Overdamped(pl.QuadraticPotential(1, 0.4, stiffness=1.3), friction=0.7, temperature=1.2)
        self.initial = dist.Normal(torch.tensor([-0.2]), math.sqrt(0.5)).to_event(1)

    @property
    def evidence(self) -> float:
        return float(kalman_log_evidence(self.process, self.emission, self.times, self.values, self.mask))

    def model(self) -> None:
        with pyro.plate("series", 1):
            z = pyro.sample("z", pl.LangevinPath(self.dynamics, self.initial, self.times))
            law = dist.Normal(0.8 * z + 0.1, 0.4).mask(self.mask).to_event(2)
            pyro.sample("y", law, obs=self.values[None])

    def parameters(self, kind: str) -> list[Tensor]:
        """Parameters of the exact posterior as a path of this kind."""
        answer = exact_posterior(self.process, self.emission, self.times, self.values, self.mask)
        first = [answer.first_mean, answer.first_covariance.diagonal().sqrt()]
        if kind == "steered":
            return [*first, answer.centre, answer.root]
        # the same chain read as a mean path with a linear residual
        precision = answer.root.square()[..., 0]
        gaps = self.times.diff().tolist()
        flow = torch.tensor([float(self.process.flow(gap)) for gap in gaps])[:, None]
        gained = torch.tensor([float(self.process.gained(gap)) for gap in gaps])[:, None]
        kept = 1.0 / (1.0 + precision * gained)
        means = [answer.first_mean]
        for k in range(len(gaps)):
            free = 0.4 + flow[k] * (means[-1] - 0.4)
            means.append(kept[k] * free + (1.0 - kept[k]) * answer.centre[k])
        return [*first, torch.stack(means[1:]), kept * flow, (kept * gained).sqrt()]

    def posterior(self, kind: str, parameters: list[Tensor]) -> Distribution:
        loc, scale, *rest = parameters
        if kind == "steered":
            first = dist.Normal(loc, scale).to_event(1)
            return pl.SteeredPath(self.dynamics, first, self.times, pl.Messages(*rest))
        mean, memory, deviation = rest
        grid = pl.TimeGrid(self.times)
        return pl.GaussMarkovPath(torch.cat([loc[None], mean]), memory, torch.cat([scale[None], deviation]), grid)

    def guide(self, kind: str, parameters: list[Tensor]) -> Callable[[], Tensor]:
        def sample() -> Tensor:
            with pyro.plate("series", 1):
                return pyro.sample("z", self.posterior(kind, parameters))

        return sample

    def spoilt(self, kind: str) -> list[Tensor]:
        """Parameters of a posterior that is off by a nat or so."""
        return [(0.9 * part + 0.1).requires_grad_() for part in self.parameters(kind)]


every_kind = pytest.mark.parametrize("kind", ["steered", "Gauss-Markov"])


# --- at the exact posterior


@every_kind
def test_bound_of_the_exact_guide_is_the_evidence_without_variance(kind: str) -> None:
    problem = Linear()
    guide = problem.guide(kind, problem.parameters(kind))
    losses = torch.tensor([Trace_ELBO().loss(problem.model, guide) for _ in range(20)])
    assert float((losses + problem.evidence).abs().max()) < 1e-8
    assert float(losses.std()) < 1e-8


@every_kind
def test_sticking_the_landing_has_no_gradient_at_the_exact_guide(kind: str) -> None:
    problem = Linear()
    parameters = [part.requires_grad_() for part in problem.parameters(kind)]
    guide = problem.guide(kind, parameters)
    for _ in range(3):
        loss = Trace_ELBO(num_particles=4, vectorize_particles=True).differentiable_loss(problem.model, guide)
        for slope in torch.autograd.grad(loss, parameters):
            torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-8)


@every_kind
@pytest.mark.parametrize("lost", [[0], [2], [5], [1, 3]])
def test_masked_observations_are_deleted_observations(kind: str, lost: list[int]) -> None:
    masked = Linear()
    seen = torch.tensor([k not in lost for k in range(len(IRREGULAR))])
    masked.mask = seen[:, None].clone()
    # the first and last time stay, or the path itself would be another
    keep = seen.clone()
    keep[[0, -1]] = True
    deleted = Linear(masked.mask[keep], IRREGULAR[keep])
    deleted.values = masked.values[keep]
    assert masked.evidence == pytest.approx(deleted.evidence, abs=1e-10)
    found = [Trace_ELBO().loss(p.model, p.guide(kind, p.parameters(kind))) for p in (masked, deleted)]
    assert found == pytest.approx([-deleted.evidence] * 2, abs=1e-8)


# --- elsewhere: gradients


def plain(monkeypatch: pytest.MonkeyPatch) -> Trace_ELBO:
    """The reparametrised bound as it was before sticking the landing."""
    for kind in (TiltedPath, pl.GaussMarkovPath):
        monkeypatch.setattr(kind, "score_parts", dist.TorchDistribution.score_parts)
    return Trace_ELBO(num_particles=300, vectorize_particles=True, max_plate_nesting=1)


@every_kind
@pytest.mark.parametrize("linear", [True, False])
def test_all_estimators_have_the_same_mean_gradient(kind: str, linear: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Linear()
    friction = torch.tensor(0.7, requires_grad=True)
    potential = pl.QuadraticPotential(1, 0.4, stiffness=1.3) if linear else DoubleWell(1.0)
    problem.dynamics = pl.Overdamped(potential, friction=friction, temperature=1.2)
    parameters = problem.spoilt(kind)
    guide = problem.guide(kind, parameters)

    def slopes(estimator: Trace_ELBO) -> Tensor:
        drawn = []
        for _ in range(12):
            loss = estimator.differentiable_loss(problem.model, guide)
            drawn.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*parameters, friction])]))
        return torch.stack(drawn)

    size = {"num_particles": 300, "vectorize_particles": True, "max_plate_nesting": 1}
    found = [slopes(Trace_ELBO(**size)), slopes(TraceMeanField_ELBO(**size)), slopes(plain(monkeypatch))]
    spread = [drawn.var(0) / len(drawn) for drawn in found]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        gap = (found[one].mean(0) - found[two].mean(0)).abs()
        # twelve repeats: the error itself is uncertain by a fifth, hence Student's t
        assert float((gap / (spread[one] + spread[two]).sqrt().clamp_min(1e-12)).max()) < 1.6 * ALLOWED_ERRORS
    assert float((found[0].mean(0).abs() / spread[0].sqrt()).max()) > 20.0  # there is a gradient to agree on


# --- weights


@every_kind
def test_mean_of_the_weights_is_the_evidence(kind: str) -> None:
    problem = Linear()
    with torch.no_grad():
        path = problem.posterior(kind, problem.spoilt(kind))
        z = path.rsample(torch.Size([40_000]))
        prior = pl.LangevinPath(problem.dynamics, problem.initial, problem.times)
        seen = dist.Normal(0.8 * z + 0.1, 0.4).log_prob(problem.values).sum((-1, -2))
        weight = (prior.log_prob(z) + seen - path.log_prob(z) - problem.evidence).exp()
    assert float(weight.std()) > 0.1
    assert abs(float(weight.mean()) - 1.0) < ALLOWED_ERRORS * float(weight.std()) / math.sqrt(len(weight))


@every_kind
def test_weighted_bounds_tighten_and_stay_below_the_evidence(kind: str) -> None:
    problem = Linear()
    guide = problem.guide(kind, problem.spoilt(kind))
    last = -math.inf
    for particles in (1, 4, 16, 64):
        if particles == 1:
            estimator: Trace_ELBO | RenyiELBO = Trace_ELBO(max_plate_nesting=1)
        else:
            estimator = RenyiELBO(0, num_particles=particles, vectorize_particles=True, max_plate_nesting=1)
        bounds = -torch.tensor([estimator.loss(problem.model, guide) for _ in range(150)])
        error = float(bounds.std()) / math.sqrt(len(bounds))
        assert float(bounds.mean()) < problem.evidence + ALLOWED_ERRORS * error
        assert float(bounds.mean()) > last
        last = float(bounds.mean())
    assert problem.evidence - last < 0.05


def test_weights_of_the_path_divergence_would_overshoot_and_are_refused() -> None:
    problem = Linear()
    path = problem.posterior("steered", problem.spoilt("steered"))
    assert isinstance(path, pl.SteeredPath)
    z = path.rsample(torch.Size([20_000]))
    with torch.no_grad(), pytest.raises(RuntimeError, match="not a log density ratio.*overshoot the evidence"):
        path.kl_along(z)
    along = path.kl_along(z).detach()
    with torch.no_grad():
        first = problem.initial.log_prob(z[:, 0]) - path.initial.log_prob(z[:, 0])
        seen = dist.Normal(0.8 * z + 0.1, 0.4).log_prob(problem.values).sum((-1, -2))
        weight = (seen + first - along - problem.evidence).exp()
    error = float(weight.std()) / math.sqrt(len(weight))
    assert abs(float(weight.mean()) - 1.0) > ALLOWED_ERRORS * error  # why they are refused


@every_kind
def test_no_estimator_of_weights_touches_the_path_divergence(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> Tensor:
        raise AssertionError("a weight was made of the path divergence")

    monkeypatch.setattr(TiltedPath, "kl_along", forbidden)
    monkeypatch.setattr("pyro.infer.trace_mean_field_elbo.kl_divergence", forbidden)
    problem = Linear()
    guide = problem.guide(kind, problem.spoilt(kind))
    for vectorised in (False, True):
        RenyiELBO(0, num_particles=3, vectorize_particles=vectorised, max_plate_nesting=1).loss_and_grads(
            problem.model, guide
        )
    pyro.infer.Importance(problem.model, guide, num_samples=2).run()
    pyro.infer.importance.psis_diagnostic(problem.model, guide, num_particles=60, max_plate_nesting=1)
    with pytest.raises(AssertionError, match="made of the path divergence"):
        TraceMeanField_ELBO(max_plate_nesting=1).loss(problem.model, guide)


# --- a double well: bounds against a particle filter


class Jumps:
    """A path of a double well seen with noise, with inner steps, and a guide that is steered by hand."""

    def __init__(self) -> None:
        self.dynamics = pl.Overdamped(DoubleWell(2.0), friction=1.0)
        self.initial = dist.Normal(torch.zeros(1), 1.0).to_event(1)
        self.grid = pl.TimeGrid(torch.tensor([0.0, 0.3, 0.5, 1.0, 1.2, 1.6]), max_step=0.15)
        self.noise = 0.5
        self.y = torch.tensor([-0.9, -1.3, -0.2, 0.4, 1.2, 0.8])

    def model(self) -> None:
        with pyro.plate("series", 1):
            z = pyro.sample("z", pl.LangevinPath(self.dynamics, self.initial, self.grid))
            seen = z[..., self.grid.observed_index, 0]
            pyro.sample("y", dist.Normal(seen, self.noise).to_event(1), obs=self.y[None])

    def guide(self) -> None:
        centre, root = self.y[self.grid.interval + 1], torch.zeros(self.grid.n_points - 1)
        root[self.grid.observed_index[1:] - 1] = 1.0 / self.noise
        said = pl.Messages(centre[:, None, None], root[:, None, None, None])
        first = dist.Normal(0.6 * self.y[:1], 0.5).to_event(1)
        with pyro.plate("series", 1):
            pyro.sample("z", pl.SteeredPath(self.dynamics, first, self.grid, said))

    @torch.no_grad()
    def particle_filter(self, particles: int) -> float:
        """Log of an unbiased estimate of the evidence (Gordon, Salmond & Smith 1993)."""
        transition = self.dynamics.read().transition
        z, total, seen = self.initial.sample(torch.Size([particles])), 0.0, self.grid.observed_index.tolist()
        for k in range(self.grid.n_points):
            if k > 0:
                z = transition(z, self.grid.steps[k - 1, None]).apply(torch.randn_like(z))
            if k in seen:
                weight = dist.Normal(z[:, 0], self.noise).log_prob(self.y[seen.index(k)])
                total += float(torch.logsumexp(weight, 0)) - math.log(particles)
                z = z[torch.multinomial(weight.exp(), particles, replacement=True)]
        return total


def test_a_particle_filter_on_the_double_well_brackets_the_bounds() -> None:
    problem = Jumps()
    filtered = torch.tensor([problem.particle_filter(1500) for _ in range(25)])
    # the mean of the estimates is unbiased; by the delta method so is its logarithm, up to half the squared error
    evidence = float(torch.logsumexp(filtered, 0)) - math.log(len(filtered))
    error = float((filtered - evidence).exp().std()) / math.sqrt(len(filtered))
    plain = Trace_ELBO(num_particles=400, vectorize_particles=True, max_plate_nesting=1)
    bounds = -torch.tensor([plain.loss(problem.model, problem.guide) for _ in range(12)])
    own = float(bounds.std()) / math.sqrt(len(bounds))
    assert float(bounds.mean()) < evidence + ALLOWED_ERRORS * math.hypot(error, own)
    assert evidence - float(bounds.mean()) > ALLOWED_ERRORS * math.hypot(error, own)  # the guide is not exact
    weighted = RenyiELBO(0, num_particles=400, vectorize_particles=True, max_plate_nesting=1)
    tighter = -torch.tensor([weighted.loss(problem.model, problem.guide) for _ in range(12)])
    own = float(tighter.std()) / math.sqrt(len(tighter))
    assert float(tighter.mean()) > float(bounds.mean())
    assert float(tighter.mean()) < evidence + ALLOWED_ERRORS * math.hypot(error, own)
    assert evidence - float(tighter.mean()) < 0.05 + ALLOWED_ERRORS * math.hypot(error, own)


# --- fitted guides


@pytest.mark.slow
@pytest.mark.parametrize("guide_class", [pl.SteeredGuide, pl.GaussMarkovGuide])
def test_fitted_guides_reach_the_evidence(guide_class: type[AmortisedGuide]) -> None:
    n_series = 4
    problems = [Linear() for _ in range(n_series)]
    data = pl.Observations(torch.stack([p.values for p in problems]), IRREGULAR.expand(n_series, -1))
    emission = pl.GaussianEmission(1, 1)
    with torch.no_grad():
        emission.decoder.weight.fill_(0.8)
        emission.decoder.bias.fill_(0.1)
    emission.noise = torch.tensor([0.4])
    model = pl.LangevinModel(problems[0].dynamics, emission, initial=lambda: problems[0].initial)  # type: ignore[arg-type]
    guide = guide_class(model, pl.RecurrentEncoder(1, 12), hidden=24)
    guide.encoder.initialise(data)
    loss = Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=1)(model, guide)
    optimiser = torch.optim.Adam(guide.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.997)
    for _ in range(1500):
        optimiser.zero_grad()
        loss(data).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        bounds = -torch.tensor([loss(data) for _ in range(100)])
    gap = sum(p.evidence for p in problems) - float(bounds.mean())
    error = float(bounds.std()) / math.sqrt(len(bounds))
    assert -ALLOWED_ERRORS * error < gap < 0.01 * n_series
