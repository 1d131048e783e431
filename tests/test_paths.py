"""Paths as distributions: densities, samples, gradients and divergences with known answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, exact_posterior, kalman_log_evidence
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroParam
from scipy.stats import chi2
from torch import Tensor
from torch.autograd import gradcheck
from torch.distributions import Distribution, Independent, constraints, kl_divergence

from pyro_langevin.dynamics import EulerMaruyama, LocalLinearization, Overdamped, Scheme
from pyro_langevin.paths import GaussMarkovPath, LangevinPath, Messages, SteeredPath
from pyro_langevin.potentials import NeuralPotential, Potential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.time_grid import TimeGrid

#: A known answer may be missed by this many standard errors (a false failure in 10^6 checks).
ALLOWED_ERRORS = 5.0
IRREGULAR = torch.tensor([0.3, 0.35, 1.0, 1.01, 2.6, 2.9], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    torch.set_default_dtype(before)


def ornstein_uhlenbeck(dim: int) -> OrnsteinUhlenbeck:
    axes, start = torch.linalg.qr(torch.randn(dim, dim)).Q, torch.randn(dim, dim)
    return OrnsteinUhlenbeck(
        stiffness=(axes * torch.linspace(1.2, 0.4, dim)) @ axes.mT,
        centre=torch.randn(dim),
        friction=0.7,
        temperature=1.3,
        initial_mean=torch.randn(dim),
        initial_covariance=start @ start.mT + 0.2 * torch.eye(dim),
    )


def dynamics_of(process: OrnsteinUhlenbeck) -> Overdamped:
    potential = QuadraticPotential(process.dim, process.centre, stiffness=process.stiffness)
    return Overdamped(potential, friction=process.friction, temperature=process.temperature)


def initial_of(process: OrnsteinUhlenbeck) -> dist.MultivariateNormal:
    return dist.MultivariateNormal(process.initial_mean, process.initial_covariance)


def normal(dim: int, *batch: int) -> dist.Independent:
    return dist.Normal(0.3 * torch.randn(*batch, dim), 0.4 + torch.rand(*batch, dim)).to_event(1)


@torch.no_grad()
def neural(dim: int, friction: Tensor | None = None) -> Overdamped:
    potential = NeuralPotential(dim, 8)
    potential.height.normal_()
    return Overdamped(potential, friction=friction)


def messages(dim: int, n_steps: int, *batch: int) -> Messages:
    centre = torch.randn(n_steps, *batch, dim, requires_grad=True)
    root = (0.8 * torch.randn(n_steps, *batch, dim, dim)).requires_grad_()
    return Messages(centre, root)


def kind_of_path(kind: str, dim: int, times: Tensor | TimeGrid, *batch: int) -> LangevinPath | GaussMarkovPath:
    """A path of some kind with drawn parameters, of batch shape ``batch``."""
    grid = times if isinstance(times, TimeGrid) else TimeGrid(times)
    n_steps = grid.n_points - 1
    if kind == "prior":
        return LangevinPath(neural(dim), normal(dim, *batch), grid)
    if kind == "steered":
        return SteeredPath(neural(dim), normal(dim, *batch), grid, messages(dim, n_steps, *batch))
    mean = torch.randn(n_steps + 1, *batch, dim)
    memory, deviation = torch.rand(n_steps, *batch, dim), 0.3 + torch.rand(n_steps + 1, *batch, dim)
    return GaussMarkovPath(mean, memory, deviation, grid)


every_kind = pytest.mark.parametrize("kind", ["prior", "steered", "Gauss-Markov"])


# --- densities


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_density_of_a_linear_process_is_one_dense_gaussian(dim: int) -> None:
    process = ornstein_uhlenbeck(dim)
    path = LangevinPath(dynamics_of(process), initial_of(process), IRREGULAR)
    z = 1.5 * torch.randn(7, len(IRREGULAR), dim)
    dense = process.path_law(IRREGULAR)
    torch.testing.assert_close(path.log_prob(z), dense.log_prob(z.flatten(1)), rtol=1e-10, atol=1e-10)
    moved = path.rsample(torch.Size([20_000])).flatten(1)
    error = (moved.mean(0) - dense.mean) / (dense.variance / len(moved)).sqrt()
    assert float(error.abs().max()) < ALLOWED_ERRORS
    whitened = torch.linalg.solve_triangular(dense.scale_tril, (moved - dense.mean).mT, upper=False)
    spread = whitened @ whitened.mT / len(moved) - torch.eye(len(whitened))
    assert float(spread.abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / len(moved))


@pytest.mark.parametrize("dim", [1, 2])
def test_steered_density_of_a_linear_process_is_one_dense_gaussian(dim: int) -> None:
    process = ornstein_uhlenbeck(dim)
    said = messages(dim, len(IRREGULAR) - 1)
    path = SteeredPath(dynamics_of(process), initial_of(process), IRREGULAR, said)
    mean, loads = process.initial_mean, [torch.linalg.cholesky(process.initial_covariance)]
    rows, means = [torch.cat(loads, 1)], [mean]
    # states as linear maps of all noises so far: z' = A z + b + C noise
    for k, gap in enumerate(IRREGULAR.diff().tolist()):
        flow, gained = process.flow(gap), process.gained(gap)
        precision = said.root[k] @ said.root[k].mT
        covariance = torch.linalg.inv(torch.linalg.inv(gained) + precision)
        keep = covariance @ torch.linalg.inv(gained)
        free = process.centre + flow @ (mean - process.centre)
        mean = keep @ free + covariance @ precision @ said.centre[k]
        rows.append(torch.cat([keep @ flow @ rows[-1], torch.linalg.cholesky(covariance)], 1))
        means.append(mean)
    size = len(IRREGULAR) * dim
    factor = torch.cat([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in rows])
    dense = torch.distributions.MultivariateNormal(torch.cat(means), factor @ factor.mT)
    z = 1.5 * torch.randn(7, len(IRREGULAR), dim)
    torch.testing.assert_close(path.log_prob(z), dense.log_prob(z.flatten(1)), rtol=1e-9, atol=1e-9)


def test_gauss_markov_density_is_one_dense_gaussian() -> None:
    dim, size = 2, len(IRREGULAR)
    path = kind_of_path("Gauss-Markov", dim, IRREGULAR)
    assert isinstance(path, GaussMarkovPath)
    z = 1.5 * torch.randn(5, size, dim)
    total = torch.zeros(5)
    for i in range(dim):  # y = L kicks with L_jk = a_(j-1) ... a_k
        memory = path.memory[:, i]
        lower = torch.stack(
            [torch.stack([memory[k:j].prod() if k <= j else torch.zeros(()) for k in range(size)]) for j in range(size)]
        )
        factor = lower * path.deviation[:, i]
        law = torch.distributions.MultivariateNormal(path.mean_path[:, i], factor @ factor.mT)
        total = total + law.log_prob(z[..., i])
    torch.testing.assert_close(path.log_prob(z), total, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("scheme", [EulerMaruyama(), LocalLinearization()], ids=["Euler", "linearised"])
def test_density_integrates_to_one_and_samples_follow_it(steered: bool, scheme: Scheme) -> None:
    dynamics = Overdamped(DoubleWell(0.5, 0.3), friction=1.0, scheme=scheme)
    first, times = dist.Normal(torch.tensor([-0.3]), 0.35).to_event(1), torch.tensor([0.0, 0.12, 0.3])
    path = LangevinPath(dynamics, first, times)
    if steered:
        said = Messages(torch.tensor([[0.4], [-0.6]]), torch.tensor([[[1.5]], [[0.7]]]))
        path = SteeredPath(dynamics, first, times, said)
    # cell centres over a cube that holds all but 1e-4 of the mass: the midpoint rule is spectrally exact
    bins, per_bin, half = 8, 9, 4.0
    size = bins * per_bin
    centres = (torch.arange(size) + 0.5) / size * 2 * half - half
    points = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), -1).unsqueeze(-1)
    mass = path.log_prob(points).exp() * (2 * half / size) ** 3
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-4)

    expected = mass.reshape(bins, per_bin, bins, per_bin, bins, per_bin).sum((1, 3, 5)).flatten()
    n_paths = 20_000
    z = path.rsample(torch.Size([n_paths])).squeeze(-1)
    cell = ((z + half) / (2 * half) * bins).long().clamp(0, bins - 1)
    counts = torch.bincount((cell * torch.tensor([bins**2, bins, 1])).sum(-1), minlength=bins**3)
    likely = expected * n_paths > 5
    found = torch.cat([counts[likely], counts[~likely].sum()[None]])
    wanted = torch.cat([expected[likely], expected[~likely].sum()[None]]) * n_paths
    statistic = ((found - wanted).square() / wanted).sum().item()
    assert chi2.sf(statistic, len(wanted) - 1) > 1e-6


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("diagonal", [False, True])
def test_each_steered_step_is_the_prior_times_its_message(dim: int, diagonal: bool) -> None:
    dynamics = neural(dim, 0.3 + torch.rand(dim) if diagonal else None)
    said = messages(dim, 1)
    path = SteeredPath(dynamics, normal(dim), torch.tensor([0.0, 0.2]), said)
    z = torch.randn(6, 2, dim)
    prior = dynamics.transition(z[:, 0], torch.tensor(0.2))
    spread = prior.scale @ prior.scale.mT
    precision = said.root[0] @ said.root[0].mT
    covariance = torch.linalg.inv(torch.linalg.inv(spread) + precision)
    pull = torch.linalg.solve(spread, prior.mean.unsqueeze(-1)).squeeze(-1) + precision @ said.centre[0]
    law = torch.distributions.MultivariateNormal((covariance @ pull.unsqueeze(-1)).squeeze(-1), covariance)
    expected = path.initial.log_prob(z[:, 0]) + law.log_prob(z[:, 1])
    torch.testing.assert_close(path.log_prob(z), expected, rtol=1e-9, atol=1e-9)
    divergence = kl_divergence(law, torch.distributions.MultivariateNormal(prior.mean, spread))
    torch.testing.assert_close(path.kl_along(z), divergence, rtol=1e-9, atol=1e-9)
    tilt = Messages(said.centre[0], said.root[0]).tilt(z[:, 0], prior, torch.tensor(0.2))
    noise = torch.randn(6, dim)
    kick = tilt.apply(noise)
    standard = -0.5 * (kick.square().sum(-1) + dim * math.log(2 * math.pi))
    torch.testing.assert_close(tilt.log_ratio(kick, noise), standard - tilt.log_prob(kick), rtol=1e-9, atol=1e-9)


@every_kind
def test_density_is_differentiable_by_the_path(kind: str) -> None:
    path = kind_of_path(kind, 2, IRREGULAR[:4])
    assert gradcheck(path.log_prob, (torch.randn(2, 4, 2, requires_grad=True),))


# --- shapes, batches, padding


@every_kind
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("sample", [(), (4,), (5, 1)])
def test_shapes(kind: str, dim: int, batch: tuple[int, ...], sample: tuple[int, ...]) -> None:
    path = kind_of_path(kind, dim, IRREGULAR, *batch)
    assert path.batch_shape == batch and path.event_shape == (len(IRREGULAR), dim)
    z = path.rsample(torch.Size(sample))
    assert z.shape == (*sample, *batch, len(IRREGULAR), dim)
    assert path.log_prob(z).shape == (*sample, *batch)
    for wider in ((7, *batch), (2, 1, *batch)):
        expanded = path.expand(torch.Size(wider))
        assert expanded.batch_shape == wider and expanded.event_shape == path.event_shape
        wide = expanded.rsample(torch.Size(sample))
        assert wide.shape == (*sample, *wider, len(IRREGULAR), dim)
        torch.testing.assert_close(expanded.log_prob(wide), path.log_prob(wide))
    if not batch and not sample:
        assert path.expand_by([6]).rsample().shape == (6, len(IRREGULAR), dim)


@every_kind
def test_batched_density_is_that_of_each_member(kind: str) -> None:
    grid = TimeGrid(torch.rand(3, 5).cumsum(-1) + 0.1)
    path = kind_of_path(kind, 2, grid, 3)
    z = torch.randn(4, 3, 5, 2)
    together = path.log_prob(z)
    for i in range(3):
        alone = member(path, grid.times[i], i, 5)
        torch.testing.assert_close(together[:, i], alone.log_prob(z[:, i]))


def member(path: LangevinPath | GaussMarkovPath, times: Tensor, i: int, n: int) -> LangevinPath | GaussMarkovPath:
    """Series ``i`` of a batch by itself, its first ``n`` points."""
    if isinstance(path, GaussMarkovPath):
        parts = path.mean_path[:n, i], path.memory[: n - 1, i], path.deviation[:n, i]
        return GaussMarkovPath(*parts, TimeGrid(times))
    assert isinstance(path.initial, Independent)
    base = path.initial.base_dist
    first = dist.Normal(base.loc[i], base.scale[i]).to_event(1)
    if isinstance(path, SteeredPath):
        said = Messages(path.messages.centre[: n - 1, i], path.messages.root[: n - 1, i])
        return SteeredPath(path.source, first, times, said)
    return LangevinPath(path.source, first, times)


@every_kind
@pytest.mark.parametrize("max_step", [None, 0.2])
def test_padded_equals_unpadded(kind: str, max_step: float | None) -> None:
    lengths = torch.tensor([6, 2, 4])
    times = torch.rand(3, 6).cumsum(-1) + 0.1
    grid = TimeGrid(times, lengths, max_step=max_step)
    path = kind_of_path(kind, 2, grid, 3)
    z = torch.randn(3, grid.n_points, 2)
    single = [TimeGrid(times[i, :n], max_step=max_step) for i, n in enumerate(lengths.tolist())]
    expected = torch.stack(
        [member(path, g.times, i, g.n_points).log_prob(z[i, : g.n_points]) for i, g in enumerate(single)]
    )
    torch.testing.assert_close(path.log_prob(z), expected)
    wild = z.clone().requires_grad_()
    with torch.no_grad():
        for i, g in enumerate(single):
            wild[i, g.n_points :] = 1e3
    (slope,) = torch.autograd.grad(path.log_prob(wild).sum(), wild)
    torch.testing.assert_close(path.log_prob(wild), expected)
    if isinstance(path, SteeredPath):
        along = torch.stack(
            [
                alone.kl_along(z[i, : g.n_points])
                for i, g in enumerate(single)
                if isinstance(alone := member(path, g.times, i, g.n_points), SteeredPath)
            ]
        )
        torch.testing.assert_close(path.kl_along(wild), along)
    drawn = path.rsample(torch.Size([2]))
    for i, g in enumerate(single):
        assert bool((slope[i, g.n_points :] == 0).all()) and bool(slope[i].isfinite().all())
        rest = drawn[:, i, g.n_points - 1 :]
        assert torch.equal(rest, rest[:, :1].expand_as(rest))
        moving = drawn[:, i, : g.n_points].diff(dim=-2).abs().sum(-1)
        assert bool((moving > 0).all())


@pytest.mark.parametrize("steered", [False, True])
def test_every_series_has_a_first_state_of_its_own(steered: bool) -> None:
    grid = TimeGrid(torch.rand(4, 5).cumsum(-1) + 0.1)
    path = LangevinPath(neural(2), normal(2), grid)  # one law of the first state, four series of other times
    if steered:
        path = SteeredPath(neural(2), normal(2), grid, messages(2, 4, 4))
    first = path.rsample(torch.Size([3]))[..., 0, :]
    assert first.shape == (3, 4, 2) and len(first.flatten(0, 1).unique(dim=0)) == 12


def test_inner_points_are_part_of_the_path() -> None:
    process = ornstein_uhlenbeck(1)
    grid = TimeGrid(IRREGULAR, max_step=0.1)
    path = LangevinPath(dynamics_of(process), initial_of(process), grid)
    z = torch.randn(3, grid.n_points, 1)
    expected = process.path_law(grid.times).log_prob(z.flatten(1))
    torch.testing.assert_close(path.log_prob(z), expected, rtol=1e-9, atol=1e-9)


def test_parameters_are_read_once() -> None:
    dynamics = Overdamped(QuadraticPotential(1, stiffness=torch.nn.Parameter(torch.tensor(1.0))))
    path = LangevinPath(dynamics, normal(1), IRREGULAR)
    z = torch.randn(len(IRREGULAR), 1)
    before = path.log_prob(z)
    with torch.no_grad():
        dynamics.potential.stiffness.fill_(5.0)
        dynamics.initialise(9.0)
    torch.testing.assert_close(path.log_prob(z), before, rtol=0, atol=0)


@pytest.mark.parametrize("first", [dist.Normal(0.0, 1.0), dist.Normal(torch.zeros(3), 1.0).to_event(1)])
def test_an_initial_law_of_another_shape_is_refused(first: Distribution) -> None:
    with pytest.raises(ValueError, match=r"initial distribution of event shape \(2,\), got .*to_event\(1\)"):
        LangevinPath(neural(2), first, IRREGULAR)


@every_kind
def test_a_value_of_another_shape_is_refused(kind: str) -> None:
    path = kind_of_path(kind, 2, IRREGULAR)
    with pytest.raises(ValueError, match="event_shape"):
        path.log_prob(torch.randn(len(IRREGULAR) + 1, 2))


def test_times_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ValueError, match="strictly increasing"):
        LangevinPath(neural(1), normal(1), torch.tensor([0.0, 1.0, 1.0]))


# --- the steered path against its prior


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_silent_messages_are_the_prior(dim: int) -> None:
    dynamics, first, n_steps = neural(dim), normal(dim, 3), len(IRREGULAR) - 1
    silent = Messages(100.0 * torch.randn(n_steps, 3, dim), torch.zeros(n_steps, 3, dim, dim))
    prior, path = LangevinPath(dynamics, first, IRREGULAR), SteeredPath(dynamics, first, IRREGULAR, silent)
    pyro.set_rng_seed(1)
    drawn = prior.rsample()
    pyro.set_rng_seed(1)
    steered = path.rsample()
    torch.testing.assert_close(steered, drawn)
    torch.testing.assert_close(path.log_prob(drawn), prior.log_prob(drawn))
    torch.testing.assert_close(path.kl_along(steered), torch.zeros(3), rtol=0, atol=1e-12)


def test_deafening_messages_are_obeyed() -> None:
    target = torch.randn(len(IRREGULAR) - 1, 2)
    said = Messages(target, 1e5 * torch.eye(2).expand(len(target), 2, 2))
    z = SteeredPath(neural(2), normal(2), IRREGULAR, said).rsample(torch.Size([3]))
    torch.testing.assert_close(z[:, 1:], target.expand(3, -1, -1), rtol=0, atol=1e-3)


def looped(path: SteeredPath, sample: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Sample and divergence of a steered path by plain autograd through a plain loop."""
    state = path.initial.rsample(torch.Size(sample))
    steps = path.clock.steps_for(state.dim() + 1)
    mask = path.clock.mask_for(state.dim())
    noise = torch.randn(len(steps), *state.shape)
    states, divergence = [state], torch.zeros(state.shape[:-1])
    for k, step in enumerate(steps):
        transition = path.dynamics.transition(state, step)
        tilt = Messages(path.messages.centre[k], path.messages.root[k]).tilt(state, transition, step)
        moved, extra = transition.apply(tilt.apply(noise[k])), tilt.kl()
        if mask is not None:
            moved = torch.where(mask[k].unsqueeze(-1), moved, state)
            extra = torch.where(mask[k], extra, 0.0)
        state, divergence = moved, divergence + extra
        states.append(state)
    return torch.stack(states, -2), divergence


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
@pytest.mark.parametrize("sample", [(), (4,)])
def test_gradient_of_sample_and_divergence_is_that_of_the_plain_loop(
    dim: int, lengths: list[int] | None, sample: tuple[int, ...]
) -> None:
    times = torch.rand(3, 5).cumsum(-1) + 0.1
    grid = TimeGrid(times, None if lengths is None else torch.tensor(lengths), max_step=0.3)
    dynamics = neural(dim)
    loc, scale = torch.randn(3, dim, requires_grad=True), torch.rand(3, dim).add(0.3).requires_grad_()
    said = messages(dim, grid.n_points - 1, 3)
    leaves = [loc, scale, said.centre, said.root, *dynamics.parameters()]
    weights = torch.randn(*sample, 3, grid.n_points, dim)
    results = []
    for own in (True, False):
        path = SteeredPath(dynamics, dist.Normal(loc, scale).to_event(1), grid, said)
        pyro.set_rng_seed(3)
        if own:
            z = path.rsample(torch.Size(sample))
            divergence = path.kl_along(z)
        else:
            z, divergence = looped(path, sample)
        loss = (weights * z.sin()).sum() + (1.0 + z[..., -1, 0]).mul(divergence).sum()
        slopes = torch.autograd.grad(loss, leaves, materialize_grads=True)
        results.append((z, divergence, *slopes))
    assert all(bool((slope != 0).any()) for slope in results[1][:6])  # sample, divergence, first state, messages
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dim", [1, 2])
def test_divergence_agrees_with_the_mean_log_density_ratio(dim: int) -> None:
    dynamics, first = neural(dim), normal(dim)
    drawn = messages(dim, len(IRREGULAR) - 1)
    said = Messages(drawn.centre, 0.4 * drawn.root)
    path, prior = SteeredPath(dynamics, first, IRREGULAR, said), LangevinPath(dynamics, first, IRREGULAR)
    z = path.rsample(torch.Size([4000]))
    along = path.kl_along(z).detach()
    with torch.no_grad():
        ratio = path.log_prob(z) - prior.log_prob(z)
        difference = along - ratio
        assert float(difference.mean().abs()) < ALLOWED_ERRORS * float(difference.std()) / math.sqrt(len(z))
        assert float(along.mean()) > ALLOWED_ERRORS * float(along.std()) / math.sqrt(len(z))
        # while only the ratio is one whose exponential averages to one
        weight = (-ratio).exp()
        assert float((weight.mean() - 1.0).abs()) < ALLOWED_ERRORS * float(weight.std()) / math.sqrt(len(z))


def test_divergence_along_another_path_than_the_last_sample() -> None:
    path = kind_of_path("steered", 2, IRREGULAR)
    assert isinstance(path, SteeredPath)
    fresh = SteeredPath(path.source, path.initial, IRREGULAR, path.messages)
    z = torch.randn(len(IRREGULAR), 2)
    expected = fresh.kl_along(z)
    path.rsample()
    torch.testing.assert_close(path.kl_along(z), expected)


def test_no_graph_is_built_where_none_is_wanted() -> None:
    path = kind_of_path("steered", 2, IRREGULAR)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            z = path.rsample(torch.Size([2]))
            assert not z.requires_grad
            assert path.log_prob(z).isfinite().all()
            with pytest.raises(RuntimeError, match="not a log density ratio.*take posterior.log_prob"):
                path.kl_along(z)


# --- the exact posterior


class Problem:
    """Ornstein-Uhlenbeck paths seen through noisy channels, some values missing, with the exact answers."""

    def __init__(self, dim: int, channels: int, max_step: float | None = None) -> None:
        self.process = ornstein_uhlenbeck(dim)
        self.emission = LinearEmission(torch.randn(channels, dim), torch.randn(channels), 0.3 + torch.rand(channels))
        self.grid = TimeGrid(IRREGULAR, max_step=max_step)
        seen = torch.rand(len(IRREGULAR), channels) < 0.7
        seen[2] = False
        values = torch.randn(len(IRREGULAR), channels)
        self.mask = torch.zeros(self.grid.n_points, channels, dtype=torch.bool)
        self.values = torch.zeros(self.grid.n_points, channels)
        self.mask[self.grid.observed_index], self.values[self.grid.observed_index] = seen, values
        times = self.grid.times
        self.evidence = kalman_log_evidence(self.process, self.emission, times, self.values, self.mask)
        self.answer = exact_posterior(self.process, self.emission, times, self.values, self.mask)
        self.dynamics = dynamics_of(self.process)
        self.centre, self.root = self.answer.centre, self.answer.root
        self.first_loc = self.answer.first_mean
        self.first_factor = torch.linalg.cholesky(self.answer.first_covariance)

    def parameters(self) -> list[Tensor]:
        return [self.centre, self.root, self.first_loc, self.first_factor]

    def model(self) -> None:
        z = pyro.sample("z", LangevinPath(self.dynamics, initial_of(self.process), self.grid))
        law = dist.Normal(z @ self.emission.weight.mT + self.emission.bias, self.emission.noise)
        pyro.sample("y", law.mask(self.mask).to_event(2), obs=self.values)

    def guide(self) -> None:
        first = dist.MultivariateNormal(self.first_loc, scale_tril=self.first_factor)
        pyro.sample("z", SteeredPath(self.dynamics, first, self.grid, Messages(self.centre, self.root)))


exact_problems = pytest.mark.parametrize(
    ("dim", "channels", "max_step"), [(1, 1, None), (1, 2, 0.15), (2, 1, None), (2, 3, 0.15), (3, 2, 0.5)]
)


@exact_problems
def test_bound_of_the_exact_guide_is_the_evidence(dim: int, channels: int, max_step: float | None) -> None:
    problem = Problem(dim, channels, max_step)
    losses = torch.tensor([Trace_ELBO().loss(problem.model, problem.guide) for _ in range(5)])
    torch.testing.assert_close(losses, -problem.evidence.expand(5), rtol=0, atol=1e-8)


@exact_problems
def test_sticking_the_landing_has_no_gradient_at_the_exact_guide(
    dim: int, channels: int, max_step: float | None
) -> None:
    problem = Problem(dim, channels, max_step)
    for parameter in problem.parameters():
        parameter.requires_grad_()
    Trace_ELBO().differentiable_loss(problem.model, problem.guide).backward()
    for parameter in problem.parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), rtol=0, atol=1e-7)


def test_elsewhere_its_gradient_is_right_on_average() -> None:
    problem = Problem(1, 1)
    problem.centre = (problem.centre + 0.3).requires_grad_()
    slopes: dict[str, Tensor] = {}
    for name, elbo in (("landing", Trace_ELBO()), ("divergence", TraceMeanField_ELBO())):
        drawn = []
        for _ in range(200):
            loss = elbo.differentiable_loss(problem.model, problem.guide)
            drawn.append(torch.autograd.grad(loss, problem.centre)[0].flatten())
        slopes[name] = torch.stack(drawn)
    means = {name: drawn.mean(0) for name, drawn in slopes.items()}
    error = sum(drawn.var(0) / len(drawn) for drawn in slopes.values())
    assert isinstance(error, Tensor)
    gap = (means["landing"] - means["divergence"]).abs()
    assert bool((gap < ALLOWED_ERRORS * error.sqrt() + 1e-9).all())
    assert float(means["landing"].abs().max()) > 10 * float(error.sqrt().max())


def test_mean_field_elbo_uses_the_registered_divergence() -> None:
    problem = Problem(2, 2, 0.2)
    problem.centre = problem.centre + 0.5
    pyro.set_rng_seed(5)
    loss = TraceMeanField_ELBO().loss(problem.model, problem.guide)
    pyro.set_rng_seed(5)
    first = dist.MultivariateNormal(problem.first_loc, scale_tril=problem.first_factor)
    path = SteeredPath(problem.dynamics, first, problem.grid, Messages(problem.centre, problem.root))
    z = path.rsample()
    law = dist.Normal(z @ problem.emission.weight.mT + problem.emission.bias, problem.emission.noise)
    seen = (law.log_prob(problem.values) * problem.mask).sum()
    start = first.log_prob(z[0]) - initial_of(problem.process).log_prob(z[0])
    by_hand = path.kl_along(z) + start - seen
    assert loss == pytest.approx(by_hand.item(), abs=1e-9)
    by_ratio = path.log_prob(z) - LangevinPath(problem.dynamics, initial_of(problem.process), problem.grid).log_prob(z)
    assert abs(loss - (by_ratio - seen).item()) > 1e-3  # the two estimators differ along one path


def test_divergence_between_paths_of_other_dynamics_is_not_claimed() -> None:
    path = kind_of_path("steered", 1, IRREGULAR)
    assert isinstance(path, SteeredPath)
    own = LangevinPath(path.source, normal(1), IRREGULAR)
    other = LangevinPath(neural(1), normal(1), IRREGULAR)
    with pytest.raises(NotImplementedError):
        kl_divergence(path, own)  # nothing was sampled yet
    path.rsample()
    assert bool(kl_divergence(path, own).isfinite())
    for wrong in (other, path):
        with pytest.raises(NotImplementedError):
            kl_divergence(path, wrong)


def test_mean_field_elbo_of_another_prior_falls_back_on_the_density_ratio() -> None:
    problem, stranger = Problem(1, 1), Problem(1, 1)
    problem_guide = problem.guide
    stranger.emission = problem.emission
    pyro.set_rng_seed(5)
    mean_field = TraceMeanField_ELBO().loss(stranger.model, problem_guide)
    pyro.set_rng_seed(5)
    assert mean_field == pytest.approx(Trace_ELBO().loss(stranger.model, problem_guide), abs=1e-9)


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_vectorised_particles(elbo: Callable[..., Trace_ELBO]) -> None:
    problem = Problem(2, 2)

    def model() -> None:
        with pyro.plate("series", 1):
            problem.model()

    def guide() -> None:
        with pyro.plate("series", 1):
            problem.guide()

    if elbo is Trace_ELBO:
        loss = elbo(num_particles=7, vectorize_particles=True).loss(model, guide)
        assert loss == pytest.approx(-problem.evidence.item(), abs=1e-8)
    else:
        drawn = [elbo(num_particles=50, vectorize_particles=True).loss(model, guide) for _ in range(20)]
        values = torch.tensor(drawn)
        error = float(values.std()) / math.sqrt(len(values))
        assert abs(float(values.mean()) + problem.evidence.item()) < ALLOWED_ERRORS * error


def test_gauss_markov_path_samples_follow_its_density() -> None:
    path = kind_of_path("Gauss-Markov", 1, IRREGULAR)
    assert isinstance(path, GaussMarkovPath)
    z = path.rsample(torch.Size([20_000]))
    residual = (z - path.mean_path).squeeze(-1)
    kick = torch.cat([residual[:, :1], residual[:, 1:] - path.memory[:, 0] * residual[:, :-1]], 1)
    white = kick / path.deviation[:, 0]
    spread = white.mT @ white / len(white) - torch.eye(white.shape[1])
    assert float(white.mean(0).abs().max()) < ALLOWED_ERRORS / math.sqrt(len(white))
    assert float(spread.abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / len(white))


def test_a_learned_friction_gets_a_gradient_through_a_path() -> None:
    friction = PyroParam(torch.tensor(0.8), constraint=constraints.positive)
    potential: Potential = QuadraticPotential(1)
    dynamics = Overdamped(potential, friction=friction)
    z = LangevinPath(dynamics, normal(1), IRREGULAR).rsample(torch.Size([3]))
    z.square().sum().backward()
    slope = dynamics.friction_unconstrained.grad
    assert slope is not None and float(slope.abs()) > 0
