"""Controlled paths: densities, gradients and divergences with known answers, and the exact control where known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, exact_posterior, kalman_log_evidence
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy.stats import chi2
from standard_errors import ALLOWED_ERRORS
from torch import Tensor, nn

from pyro_langevin.dynamics import (
    ControlPort,
    EulerMaruyama,
    LocalLinearization,
    Overdamped,
    OverdampedDynamics,
    Scheme,
    Transition,
)
from pyro_langevin.paths import Absolute, Additive, Control, ControlledPath, Controls, LangevinPath, Messages
from pyro_langevin.paths.control import ControlLaw
from pyro_langevin.paths.parametrisation import Parametrisation
from pyro_langevin.potentials import NeuralPotential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.time_grid import TimeGrid

IRREGULAR = torch.tensor([0.3, 0.35, 1.0, 1.01, 2.6, 2.9], dtype=torch.float64)
SCHEMES = pytest.mark.parametrize("scheme", [EulerMaruyama(), LocalLinearization()], ids=["Euler", "linearised"])


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


class Network(nn.Module):
    """A small control network that says something from the start."""

    def __init__(self, dim: int, told: int, width: int | None = None, noise: int | None = None) -> None:
        super().__init__()
        self.sizes = [dim if width is None else width, dim if noise is None else noise]
        self.inner, self.outer = nn.Linear(dim + told, 7), nn.Linear(7, sum(self.sizes))

    def forward(self, z: Tensor, position: Tensor, context: Tensor) -> Control:
        shape = torch.broadcast_shapes(*(part.shape[:-1] for part in (z, position, context)))
        parts = torch.cat([part.expand(*shape, part.shape[-1]) for part in (z, position, context)], -1)
        push, damping = self.outer(self.inner(parts).tanh()).split(self.sizes, -1)
        return Control(push, (-0.5 * damping.square()).exp())


@torch.no_grad()
def neural(dim: int, scheme: Scheme | None = None) -> Overdamped:
    potential = NeuralPotential(dim, 8)
    potential.height.normal_()
    return Overdamped(potential, scheme=scheme)


def normal(dim: int, *batch: int) -> dist.Independent:
    return dist.Normal(0.3 * torch.randn(*batch, dim), 0.4 + torch.rand(*batch, dim)).to_event(1)


def messages(dim: int, n_steps: int, *batch: int) -> Messages:
    centre = torch.randn(n_steps, *batch, dim, requires_grad=True)
    return Messages(centre, (0.8 * torch.randn(n_steps, *batch, dim, dim)).requires_grad_())


def drawn_controls(dim: int, n_steps: int, *batch: int, parametrisation: Parametrisation = Additive()) -> Controls:
    position, context = torch.randn(n_steps, *batch, 2), torch.randn(n_steps, *batch, 3)
    return Controls(Network(dim, 5), position.requires_grad_(), context.requires_grad_(), parametrisation)


KINDS = pytest.mark.parametrize("kind", ["additive", "absolute", "residual"])


def kind_of_path(kind: str, dim: int, grid: TimeGrid, *batch: int) -> ControlledPath:
    n_steps = grid.n_points - 1
    controls = drawn_controls(
        dim, n_steps, *batch, parametrisation=Absolute() if kind == "absolute" else Additive()
    )
    after = messages(dim, n_steps, *batch) if kind == "residual" else None
    return ControlledPath(neural(dim), normal(dim, *batch), grid, controls, after=after)


# --- densities


@SCHEMES
@pytest.mark.parametrize("after_messages", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_linear_control_of_a_linear_process_is_one_dense_gaussian(
    dim: int, after_messages: bool, scheme: Scheme
) -> None:
    axes = torch.linalg.qr(torch.randn(dim, dim)).Q
    process = OrnsteinUhlenbeck(
        (axes * torch.linspace(1.2, 0.4, dim)) @ axes.mT, torch.randn(dim), 0.7, 1.3, torch.randn(dim), torch.eye(dim)
    )
    potential = QuadraticPotential(dim, process.centre, stiffness=process.stiffness)
    dynamics = Overdamped(potential, friction=0.7, temperature=1.3, scheme=scheme)
    gaps = IRREGULAR.diff()
    slope, damped = torch.randn(dim, dim), 0.3 + torch.rand(dim)
    height = torch.randn(len(gaps), dim)

    def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
        return Control(z @ slope.mT + context, damped)

    controls = Controls(law, torch.zeros(len(gaps), 1), height)
    said = messages(dim, len(gaps)) if after_messages else None
    first = dist.MultivariateNormal(process.initial_mean, process.initial_covariance)
    path = ControlledPath(dynamics, first, IRREGULAR, controls, after=said)

    mean, rows = process.initial_mean, [torch.eye(dim)]
    means = [mean]
    for k, gap in enumerate(gaps.tolist()):  # states as linear maps of all noises so far
        if isinstance(scheme, EulerMaruyama):
            flow, gained = torch.eye(dim) - process.stiffness * gap / 0.7, 2.0 * 1.3 / 0.7 * gap * torch.eye(dim)
        else:
            flow, gained = process.flow(gap), process.gained(gap)
        values, vectors = torch.linalg.eigh(gained)
        scale = (vectors * values.sqrt()) @ vectors.mT  # the schemes' factor is the symmetric root
        constant = process.centre - flow @ process.centre
        matrix = flow
        if said is not None:  # the prior's step times the message, in the coordinates that the guide writes noise in
            precision = said.root[k] @ said.root[k].mT
            inner = torch.linalg.inv(torch.eye(dim) + scale @ precision @ scale)
            keep = torch.eye(dim) - scale @ inner @ scale @ precision
            constant = keep @ constant + scale @ inner @ scale @ precision @ said.centre[k]
            matrix = keep @ matrix
            # inner = R R^T with R upper triangular: the flipped Cholesky factor of the inverse's inverse
            scale = scale @ torch.linalg.inv(torch.linalg.cholesky(torch.linalg.inv(inner))).mT
        root = math.sqrt(gap)
        matrix = matrix + scale @ slope * root
        constant = constant + scale @ height[k] * root
        mean = matrix @ mean + constant
        rows.append(torch.cat([matrix @ rows[-1], scale * damped], 1))
        means.append(mean)
    size = len(IRREGULAR) * dim
    factor = torch.cat([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in rows])
    dense = torch.distributions.MultivariateNormal(torch.cat(means), factor @ factor.mT)
    z = 1.5 * torch.randn(7, len(IRREGULAR), dim)
    torch.testing.assert_close(path.log_prob(z), dense.log_prob(z.flatten(1)), rtol=1e-9, atol=1e-9)


@SCHEMES
def test_density_integrates_to_one_and_samples_follow_it(scheme: Scheme) -> None:
    dynamics = Overdamped(DoubleWell(0.5, 0.3), friction=1.0, scheme=scheme)
    first, times = dist.Normal(torch.tensor([-0.3]), 0.35).to_event(1), torch.tensor([0.0, 0.12, 0.3])

    def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
        return Control(2.0 * torch.tanh(context - z), 0.6 + 0.5 * torch.sigmoid(z + position))

    controls = Controls(law, torch.tensor([[0.2], [-0.8]]), torch.tensor([[0.7], [-0.4]]))
    path = ControlledPath(dynamics, first, times, controls)
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
def test_absolute_is_additive_with_the_drifts_difference(dim: int) -> None:
    dynamics = neural(dim, EulerMaruyama())
    read = dynamics.read()
    network = Network(dim, 5)

    def difference(z: Tensor, position: Tensor, context: Tensor) -> Control:
        wanted = network(z, position, context)
        drift = -read.energy.expansion(z).gradient / read.friction
        return Control((wanted.push - drift) / (2.0 * read.diffusion).sqrt(), wanted.multiplier)

    position, context = torch.randn(5, 2), torch.randn(5, 3)
    first = normal(dim)
    absolute = ControlledPath(dynamics, first, IRREGULAR, Controls(network, position, context, Absolute()))
    additive = ControlledPath(dynamics, first, IRREGULAR, Controls(difference, position, context))
    z = torch.randn(6, 6, dim)
    torch.testing.assert_close(absolute.log_prob(z), additive.log_prob(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(absolute.kl_along(z), additive.kl_along(z), rtol=1e-9, atol=1e-9)
    pyro.set_rng_seed(1)
    drawn = absolute.rsample(torch.Size([4]))
    pyro.set_rng_seed(1)
    torch.testing.assert_close(drawn, additive.rsample(torch.Size([4])), rtol=1e-9, atol=1e-9)


@SCHEMES
def test_an_absolute_drift_leads_where_it_says(scheme: Scheme) -> None:
    def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
        return Control(context - 3.0 * z, torch.full_like(z, 1e-9))

    target = torch.randn(5, 2)
    controls = Controls(law, torch.zeros(5, 1), target, Absolute())
    for after in (None, messages(2, 5)):
        path = ControlledPath(neural(2, scheme), normal(2), IRREGULAR, controls, after=after)
        z = path.rsample(torch.Size([3]))
        expected = z[:, :-1] + (target - 3.0 * z[:, :-1]) * IRREGULAR.diff().unsqueeze(-1)
        torch.testing.assert_close(z[:, 1:], expected, rtol=0, atol=1e-6)


# --- control on some coordinates only


class OnlySecond(Overdamped):
    """Dynamics that a control reaches through their second coordinate alone."""

    @property
    def control_port(self) -> ControlPort:
        return ControlPort((1,), (1,))


@pytest.mark.parametrize("parametrisation", [Additive(), Absolute()], ids=["additive", "absolute"])
def test_a_control_through_one_coordinate_leaves_the_others_to_the_prior(parametrisation: Parametrisation) -> None:
    potential = QuadraticPotential(2, stiffness=torch.tensor([1.0, 2.0]))
    dynamics = OnlySecond(potential, friction=1.0, scheme=EulerMaruyama())
    network = Network(2, 2, width=1, noise=1)
    position, context = torch.randn(5, 1), torch.randn(5, 1)
    first = normal(2)
    controls = Controls(network, position, context, parametrisation, dynamics.control_port)
    path = ControlledPath(dynamics, first, IRREGULAR, controls)
    z = torch.randn(4, 6, 2)
    h = IRREGULAR.diff()
    control = network(z[:, :-1], position, context)
    push, r = control.push.squeeze(-1), control.multiplier.squeeze(-1)
    drift = -2.0 * z[:, :-1, 1]
    u = push if isinstance(parametrisation, Additive) else (push - drift) / math.sqrt(2.0)
    own = dist.Normal(z[:, :-1, 1] + (drift + math.sqrt(2.0) * u) * h, r * (2.0 * h).sqrt())
    other = dist.Normal(z[:, :-1, 0] * (1.0 - h), (2.0 * h).sqrt())
    expected = first.log_prob(z[:, 0]) + own.log_prob(z[:, 1:, 1]).sum(-1) + other.log_prob(z[:, 1:, 0]).sum(-1)
    torch.testing.assert_close(path.log_prob(z), expected)
    divergence = (0.5 * u.square() * h + 0.5 * (r.square() - 1.0) - r.log()).sum(-1)
    torch.testing.assert_close(path.kl_along(z), divergence)


# --- shapes, padding, gradients


@KINDS
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize(("sample", "batch"), [((), ()), ((4,), (3,)), ((5, 1), (2, 3))])
def test_shapes(kind: str, dim: int, sample: tuple[int, ...], batch: tuple[int, ...]) -> None:
    path = kind_of_path(kind, dim, TimeGrid(IRREGULAR), *batch)
    assert path.batch_shape == batch and path.event_shape == (6, dim)
    z = path.rsample(torch.Size(sample))
    assert z.shape == (*sample, *batch, 6, dim)
    assert path.log_prob(z).shape == path.kl_along(z).shape == (*sample, *batch)
    for wider in ((7, *batch), (2, 1, *batch)):
        expanded = path.expand(torch.Size(wider))
        assert isinstance(expanded, ControlledPath) and expanded.batch_shape == wider
        wide = expanded.rsample(torch.Size(sample))
        assert wide.shape == (*sample, *wider, 6, dim)
        torch.testing.assert_close(expanded.log_prob(wide), path.log_prob(wide))


def member(path: ControlledPath, times: Tensor, i: int, n: int) -> ControlledPath:
    """Series ``i`` of a batch by itself, its first ``n`` points."""
    base = path.initial.base_dist
    first = dist.Normal(base.loc[i], base.scale[i]).to_event(1)
    tilting, after = path.tilting, None
    if not isinstance(tilting, Controls):
        said = tilting.first
        after = Messages(said.centre[: n - 1, i], said.root[: n - 1, i])
        tilting = tilting.controls
    told = tilting.position[: n - 1, i], tilting.context[: n - 1, i]
    return ControlledPath(path.source, first, times, Controls(tilting.law, *told, tilting.parametrisation), after=after)


@KINDS
@pytest.mark.parametrize("max_step", [None, 0.2])
def test_padded_equals_unpadded_and_series_have_their_own_times(kind: str, max_step: float | None) -> None:
    lengths = torch.tensor([6, 2, 4])
    times = torch.rand(3, 6).cumsum(-1) + 0.1
    grid = TimeGrid(times, lengths, max_step=max_step)
    path = kind_of_path(kind, 2, grid, 3)
    z = torch.randn(3, grid.n_points, 2)
    single = [TimeGrid(times[i, :n], max_step=max_step) for i, n in enumerate(lengths.tolist())]
    alone = [member(path, g.times, i, g.n_points) for i, g in enumerate(single)]
    wild = z.clone()
    for i, g in enumerate(single):
        wild[i, g.n_points :] = 1e3
    for quantity in ("log_prob", "kl_along"):
        expected = torch.stack([getattr(one, quantity)(z[i, : one.event_shape[0]]) for i, one in enumerate(alone)])
        torch.testing.assert_close(getattr(path, quantity)(z), expected)
        torch.testing.assert_close(getattr(path, quantity)(wild), expected)
    drawn = path.rsample(torch.Size([2]))
    for i, g in enumerate(single):
        rest = drawn[:, i, g.n_points - 1 :]
        assert torch.equal(rest, rest[:, :1].expand_as(rest))
        assert bool((drawn[:, i, : g.n_points].diff(dim=-2).abs().sum(-1) > 0).all())


def looped(path: ControlledPath, sample: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Sample and divergence of a controlled path by plain autograd through a plain loop."""
    state = path.initial.rsample(torch.Size(sample))
    steps, mask = path.clock.steps_for(state.dim() + 1), path.clock.mask_for(state.dim())
    noise = torch.randn(len(steps), *state.shape)
    states, divergence = [state], torch.zeros(state.shape[:-1])
    for k, own in enumerate(path.tilting.padded(state.dim() + 1).each()):
        transition = path.dynamics.transition(state, steps[k])
        tilt = own.tilt(state, transition, steps[k])
        moved, extra = transition.apply(tilt.apply(noise[k])), tilt.kl()
        if mask is not None:
            moved = torch.where(mask[k].unsqueeze(-1), moved, state)
            extra = torch.where(mask[k], extra, 0.0)
        state, divergence = moved, divergence + extra
        states.append(state)
    return torch.stack(states, -2), divergence


@KINDS
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
@pytest.mark.parametrize("sample", [(), (4,)])
def test_gradient_is_that_of_the_plain_loop_for_the_network_too(
    kind: str, dim: int, lengths: list[int] | None, sample: tuple[int, ...]
) -> None:
    times = torch.rand(3, 5).cumsum(-1) + 0.1
    grid = TimeGrid(times, None if lengths is None else torch.tensor(lengths), max_step=0.3)
    path = kind_of_path(kind, dim, grid, 3)
    dynamics = path.source
    assert isinstance(dynamics, Overdamped)
    controls, after, leaves = path.tilting, None, []
    if not isinstance(controls, Controls):
        after, controls = controls.first, controls.controls
        leaves = [after.centre, after.root]
    assert isinstance(controls.law, Network)
    leaves += [controls.position, controls.context, *controls.law.parameters()]
    needed = len(leaves)
    leaves += list(dynamics.parameters())
    weights = torch.randn(*sample, 3, grid.n_points, dim)
    results = []
    for own in (True, False):
        path = ControlledPath(dynamics, path.initial, grid, controls, after=after)  # reads the dynamics anew
        pyro.set_rng_seed(3)
        if own:
            z = path.rsample(torch.Size(sample))
            divergence = path.kl_along(z)
        else:
            z, divergence = looped(path, sample)
        loss = (weights * z.sin()).sum() + (1.0 + z[..., -1, 0]).mul(divergence).sum()
        results.append((z, divergence, *torch.autograd.grad(loss, leaves, materialize_grads=True)))
    assert all(bool((slope != 0).any()) for slope in results[1][: 2 + needed])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


# --- divergence


def test_divergence_of_a_control_is_half_its_square() -> None:
    grid = TimeGrid(IRREGULAR, max_step=0.1)
    n_steps = grid.n_points - 1
    network, told = Network(2, 5), (torch.randn(n_steps, 2), torch.randn(n_steps, 3))

    def undamped(z: Tensor, position: Tensor, context: Tensor) -> Control:
        control = network(z, position.expand(*z.shape[:-1], 2), context.expand(*z.shape[:-1], 3))
        return Control(3.0 * control.push, torch.ones(()))

    path = ControlledPath(neural(2, EulerMaruyama()), normal(2), grid, Controls(undamped, *told))
    with torch.no_grad():
        z = path.rsample(torch.Size([50]))
        u = undamped(z[:, :-1], *told).push
        girsanov = 0.5 * (u.square().sum(-1) * grid.steps).sum(-1)
        assert float(girsanov.min()) > 0.1
    torch.testing.assert_close(path.kl_along(z).detach(), girsanov, rtol=1e-14, atol=1e-14)
    along = path.kl_along(path.rsample(torch.Size([50])))  # and so along the sample that was just drawn
    assert bool((along > 0.1).all())


@KINDS
@pytest.mark.parametrize("dim", [1, 2])
def test_divergence_is_the_mean_log_density_ratio(kind: str, dim: int) -> None:
    path = kind_of_path(kind, dim, TimeGrid(IRREGULAR))
    prior = LangevinPath(path.source, path.initial, IRREGULAR)
    with torch.no_grad():
        z = path.rsample(torch.Size([4000]))
        ratio = path.log_prob(z) - prior.log_prob(z)
    along = path.kl_along(z).detach()
    difference = along - ratio
    assert float(difference.mean().abs()) < ALLOWED_ERRORS * float(difference.std()) / math.sqrt(len(z))
    assert float(along.mean()) > ALLOWED_ERRORS * float(along.std()) / math.sqrt(len(z))


# --- exact controls


@dataclass(frozen=True)
class Brownian:
    """Brownian motion: dynamics without a force."""

    dim: int = 1

    def read(self) -> Brownian:
        return self

    def transition(self, z: Tensor, step: Tensor) -> Transition:
        return Transition(z, step.sqrt().expand_as(z).unsqueeze(-1))


#: Tzen & Raginsky (2019): Brownian motion from 0 with its value at time 1 seen with this noise.
SEEN, BLUR = 1.4, 0.5


def follmer(z: Tensor, position: Tensor, context: Tensor) -> Control:
    """The optimal control in continuous time, with the optimal noise of a step left out."""
    return Control((context - z) / (1.0 - position + BLUR**2), torch.ones(()))


def tzen_raginsky_gap(n_steps: int) -> float:
    """Evidence minus bound of the chain with the continuous control, from its Gaussian moments."""
    h = 1.0 / n_steps
    mean, variance, divergence = 0.0, 0.0, 0.0
    for k in range(n_steps):
        gain = 1.0 / (1.0 - k * h + BLUR**2)
        divergence += 0.5 * h * gain**2 * ((SEEN - mean) ** 2 + variance)
        mean, variance = mean + h * gain * (SEEN - mean), (1.0 - h * gain) ** 2 * variance + h
    misfit = ((SEEN - mean) ** 2 + variance) / (2.0 * BLUR**2)
    bound = -misfit - 0.5 * math.log(2.0 * math.pi * BLUR**2) - divergence
    return float(dist.Normal(0.0, math.sqrt(1.0 + BLUR**2)).log_prob(torch.tensor(SEEN))) - bound


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_gap_of_the_mean_shift_closes_with_the_step(elbo: Callable[..., Trace_ELBO]) -> None:
    evidence = dist.Normal(0.0, math.sqrt(1.0 + BLUR**2)).log_prob(torch.tensor(SEEN))
    brownian, start = Brownian(), dist.Delta(torch.zeros(1)).to_event(1)
    gaps = {}
    for n_steps in (8, 32, 128):
        grid = torch.linspace(0.0, 1.0, n_steps + 1)
        controls = Controls(follmer, grid[:-1, None], torch.full((n_steps, 1), SEEN))

        def model(grid: Tensor = grid) -> None:
            with pyro.plate("series", 400):
                z = pyro.sample("z", LangevinPath(brownian, start, grid))
                pyro.sample("y", dist.Normal(z[..., -1, 0], BLUR), obs=torch.tensor(SEEN))

        def guide(grid: Tensor = grid, controls: Controls = controls) -> None:
            with pyro.plate("series", 400):
                pyro.sample("z", ControlledPath(brownian, start, grid, controls))

        with torch.no_grad():
            bounds = torch.tensor([-elbo().loss(model, guide) / 400 for _ in range(30)])
        error = float(bounds.std()) / math.sqrt(len(bounds))
        gaps[n_steps] = tzen_raginsky_gap(n_steps)
        assert abs(float(evidence - bounds.mean()) - gaps[n_steps]) < ALLOWED_ERRORS * error
    assert gaps[8] / gaps[32] == pytest.approx(4.0, rel=0.2)  # first order
    assert gaps[32] / gaps[128] == pytest.approx(4.0, rel=0.05)
    assert gaps[128] < 0.02


class OrnsteinUhlenbeckProblem:
    """An Ornstein-Uhlenbeck prior seen eight times, every .25, with noise .25; relaxation time .5."""

    def __init__(self, step: float, scheme: Scheme) -> None:
        self.process = OrnsteinUhlenbeck(
            torch.tensor([[2.0]]), torch.zeros(1), 1.0, 1.0, torch.zeros(1), torch.tensor([[0.5]])
        )
        self.emission = LinearEmission(torch.ones(1, 1), torch.zeros(1), torch.tensor([0.25]))
        self.grid = TimeGrid(0.25 * torch.arange(9.0), max_step=step)
        self.mask = torch.zeros(self.grid.n_points, 1, dtype=torch.bool)
        self.mask[self.grid.observed_index[1:]] = True
        self.values = torch.randn(self.grid.n_points, 1)
        problem = self.process, self.emission, self.grid.times, self.values, self.mask
        self.evidence, self.answer = kalman_log_evidence(*problem), exact_posterior(*problem)
        self.dynamics = Overdamped(QuadraticPotential(1, stiffness=2.0), friction=1.0, scheme=scheme)

    def controls(self, *, damped: bool) -> Controls:
        """The exact posterior as a control: it pulls every step towards what the future says."""
        h = self.grid.steps.unsqueeze(-1)
        flow, variance = (-2.0 * h).exp(), 0.5 * -torch.expm1(-4.0 * h)
        precision, information = self.answer.precision[1:, 0], self.answer.information[1:]

        def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
            flow, variance, precision, information, h = position.unbind(-1)
            denominator = 1.0 + precision * variance
            kick = variance.sqrt() * (information - precision * flow * z[..., 0]) / denominator
            r = denominator.rsqrt() if damped else torch.ones_like(denominator)
            return Control((kick / h.sqrt()).unsqueeze(-1), r.unsqueeze(-1))

        told = torch.cat([flow, variance, precision, information, h], -1)
        return Controls(law, told, torch.zeros(len(h), 0))

    def price_of_no_damping(self) -> float:
        """``sum (P s^2 - ln(1 + P s^2))/2``: what the best control loses when it may not damp the noise."""
        strength = self.answer.precision[1:, 0, 0] * 0.5 * -torch.expm1(-4.0 * self.grid.steps)
        return float(0.5 * (strength - strength.log1p()).sum())

    def bounds(self, *, damped: bool, draws: int) -> Tensor:
        first = dist.MultivariateNormal(self.answer.first_mean, self.answer.first_covariance)
        path = ControlledPath(self.dynamics, first, self.grid, self.controls(damped=damped))
        start = dist.MultivariateNormal(torch.zeros(1), torch.tensor([[0.5]]))
        prior = LangevinPath(self.dynamics, start, self.grid)
        with torch.no_grad():
            z = path.rsample(torch.Size([draws]))
            seen = (dist.Normal(z, 0.25).log_prob(self.values) * self.mask).sum((-2, -1))
            return prior.log_prob(z) + seen - path.log_prob(z)


@pytest.mark.parametrize("step", [0.05, 0.125, 0.25])
def test_the_exact_control_has_no_gap_and_no_variance(step: float) -> None:
    problem = OrnsteinUhlenbeckProblem(step, LocalLinearization())
    bounds = problem.bounds(damped=True, draws=20)
    torch.testing.assert_close(bounds, problem.evidence.expand(20), rtol=0, atol=1e-8)
    assert float(bounds.std()) < 1e-8


@pytest.mark.parametrize(("step", "price"), [(0.05, 2.98), (0.125, 7.75)])
def test_forbidding_the_noise_multiplier_costs_nats(step: float, price: float) -> None:
    problem = OrnsteinUhlenbeckProblem(step, LocalLinearization())
    assert problem.price_of_no_damping() == pytest.approx(price, abs=0.005)
    bounds = problem.bounds(damped=False, draws=4000)
    error = float(bounds.std()) / math.sqrt(len(bounds))
    assert abs(float(problem.evidence - bounds.mean()) - price) < ALLOWED_ERRORS * error


def test_one_control_holds_both_branches_of_a_posterior() -> None:
    """Brownian motion whose end is seen at +1.5 or -1.5, no one knows which: the control chooses on the way."""
    far, n_steps = 1.5, 200
    blur = 0.3

    def law(z: Tensor, position: Tensor, context: Tensor) -> Control:
        left = 1.0 - position + blur**2
        ends = torch.tensor([far, -far])
        chosen = torch.softmax(-0.5 * (ends - z).square() / left, -1)
        r = (1.0 + (1.0 / n_steps) / (left - 1.0 / n_steps)).rsqrt()  # exact within a branch
        return Control((chosen * (ends - z)).sum(-1, keepdim=True) / left, r)

    times = torch.linspace(0.0, 1.0, n_steps + 1)
    start, brownian = dist.Delta(torch.zeros(1)).to_event(1), Brownian()
    path = ControlledPath(brownian, start, times, Controls(law, times[:-1, None], torch.zeros(n_steps, 0)))
    prior = LangevinPath(brownian, start, times)
    with torch.no_grad():
        z = path.rsample(torch.Size([4000]))
        end = z[..., -1, 0]
        seen = torch.logaddexp(dist.Normal(far, blur).log_prob(end), dist.Normal(-far, blur).log_prob(end))
        bounds = prior.log_prob(z) + seen - path.log_prob(z)
    evidence = math.log(2.0) + float(dist.Normal(0.0, math.sqrt(1.0 + blur**2)).log_prob(torch.tensor(far)))
    error = float(bounds.std()) / math.sqrt(len(bounds))
    gap = evidence - float(bounds.mean())
    assert -ALLOWED_ERRORS * error < gap < 0.05 + ALLOWED_ERRORS * error  # one branch alone owes ln 2
    upper = float((end > 0).double().mean())
    assert abs(upper - 0.5) < ALLOWED_ERRORS * 0.5 / math.sqrt(len(z))
    assert float(end.abs().mean()) > 1.2 and float((end.abs() < 0.5).double().mean()) < 0.02


# --- errors


def test_controls_for_another_number_of_steps_are_refused() -> None:
    law: ControlLaw = Network(1, 5)
    for position, context in ((4, 5), (5, 6)):
        controls = Controls(law, torch.zeros(position, 2), torch.zeros(context, 3))
        with pytest.raises(ValueError, match=r"expected controls with a \w+ \(5, \*batch, n\), one a step"):
            ControlledPath(neural(1), normal(1), IRREGULAR, controls)


def test_dynamics_without_a_port_are_controlled_everywhere() -> None:
    assert isinstance(neural(2).read(), OverdampedDynamics)
    path = kind_of_path("additive", 2, TimeGrid(IRREGULAR))
    controls = path.tilting
    assert isinstance(controls, Controls) and controls.port is None
    z = torch.randn(6, 2)
    tilt = controls.padded(2).tilt(z[:-1], path.transitions(z), path.clock.steps)
    assert bool((tilt.shift != 0).all()) and bool((tilt.spread.diagonal(dim1=-2, dim2=-1) < 1).all())
