"""Underdamped dynamics: transitions, their densities, paths and steered paths, with known answers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import ExactPosterior
from phase_space import Harmonic, LinearStep
from pyro.nn import PyroParam, PyroSample
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics import OBABO, PhaseSpaceLinearization, PhaseSpaceScheme, Underdamped
from pyro_langevin.paths import LangevinPath, Messages, SteeredPath
from pyro_langevin.potentials import NeuralPotential, Potential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.time_grid import TimeGrid

#: A known answer may be missed by this many standard errors (a false failure in 10^6 checks).
ALLOWED_ERRORS = 5.0
IRREGULAR = torch.tensor([0.3, 0.35, 0.9, 0.91, 1.7, 2.0], dtype=torch.float64)
every_scheme = pytest.mark.parametrize("scheme", [OBABO(), PhaseSpaceLinearization()], ids=["OBABO", "linearised"])


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    torch.set_default_dtype(before)


def harmonic(dim: int) -> Harmonic:
    axes, start = torch.linalg.qr(torch.randn(dim, dim)).Q, torch.randn(2 * dim, 2 * dim)
    return Harmonic(
        stiffness=(axes * torch.linspace(2.2, 0.4, dim)) @ axes.mT,
        centre=torch.randn(dim),
        friction=0.3 + 2.0 * torch.rand(dim),
        mass=0.5 + torch.rand(dim),
        temperature=1.3,
        initial_mean=torch.randn(2 * dim),
        initial_covariance=start @ start.mT + 0.2 * torch.eye(2 * dim),
    )


def dynamics_of(process: Harmonic, scheme: PhaseSpaceScheme | None = None) -> Underdamped:
    potential = QuadraticPotential(len(process.centre), process.centre, stiffness=process.stiffness)
    return Underdamped(
        potential, friction=process.friction, mass=process.mass, temperature=process.temperature, scheme=scheme
    )


def initial_of(process: Harmonic) -> dist.MultivariateNormal:
    return dist.MultivariateNormal(process.initial_mean, process.initial_covariance)


def steps_of(process: Harmonic, scheme: PhaseSpaceScheme, times: Tensor) -> list[LinearStep]:
    own = process.obabo if isinstance(scheme, OBABO) else process.exact
    return [own(gap) for gap in times.diff().tolist()]


@torch.no_grad()
def neural(dim: int, scheme: PhaseSpaceScheme | None = None) -> Underdamped:
    potential = NeuralPotential(dim, 8)
    potential.height.normal_()
    constants = (PyroParam(0.5 + torch.rand(dim), constraint=constraints.positive) for _ in range(2))
    return Underdamped(potential, friction=next(constants), mass=next(constants), scheme=scheme)


def normal(dim: int, *batch: int) -> dist.Independent:
    return dist.Normal(0.3 * torch.randn(*batch, dim), 0.4 + torch.rand(*batch, dim)).to_event(1)


def messages(size: int, columns: int, n_steps: int, *batch: int) -> Messages:
    centre = torch.randn(n_steps, *batch, size, requires_grad=True)
    root = (0.8 * torch.randn(n_steps, *batch, size, columns)).requires_grad_()
    return Messages(centre, root)


# --- transitions


@every_scheme
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_noise_and_density_of_a_transition(scheme: PhaseSpaceScheme, dim: int) -> None:
    dynamics = neural(dim, scheme).read()
    z, step, noise = torch.randn(4, 2 * dim), 0.05 + 0.3 * torch.rand(4, 1), torch.randn(4, 2 * dim)
    transition = dynamics.transition(z, step)
    reached = transition.apply(noise)
    torch.testing.assert_close(transition.whiten(reached), noise, rtol=1e-9, atol=1e-9)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(
            dynamics.transition(z[i], step[i]).apply, noise[i]
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet
        assert transition.log_abs_det().expand(4)[i].item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize("step", [0.05, 0.2])
def test_the_density_of_one_step_integrates_to_one_and_samples_follow_it(step: float) -> None:
    transition = Underdamped(DoubleWell(1.5), friction=2.0).transition(torch.tensor([0.4, -0.7]), torch.tensor(step))
    corner = transition.apply(torch.randn(4000, 2))
    low, high = corner.min(0).values, corner.max(0).values
    low, high = low - 0.6 * (high - low), high + 0.6 * (high - low)
    size, bins = 600, 6
    axes = [low[i] + (torch.arange(size) + 0.5) / size * (high[i] - low[i]) for i in range(2)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    noise = transition.whiten(points)
    density = (-0.5 * noise.square().sum(-1) - math.log(2 * math.pi) - transition.log_abs_det()).exp()
    mass = density * ((high - low) / size).prod()
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-6)
    expected = mass.reshape(bins, size // bins, bins, size // bins).sum((1, 3)).flatten()
    drawn = transition.apply(torch.randn(40_000, 2))
    cell = ((drawn - low) / (high - low) * bins).long().clamp(0, bins - 1)
    found = torch.bincount(cell[:, 0] * bins + cell[:, 1], minlength=bins**2)
    error = (found - 40_000 * expected) / (40_000 * expected).clamp_min(1.0).sqrt()
    assert float(error.abs().max()) < ALLOWED_ERRORS


def test_the_linearization_is_exact_from_tiny_to_stiff_steps() -> None:
    process = harmonic(2)
    dynamics = dynamics_of(process, PhaseSpaceLinearization())
    z = torch.randn(4)
    for step in (1e-4, 1e-2, 1.0, 6.0):
        exact, transition = process.exact(step), dynamics.transition(z, torch.tensor(step))
        torch.testing.assert_close(transition.mean, exact.flow @ z + exact.push, rtol=1e-10, atol=1e-12)
        deviation = (exact.load @ exact.load.mT).diagonal().sqrt()  # compare each entry in its own size
        found = transition.scale @ transition.scale.mT / torch.outer(deviation, deviation)
        wanted = exact.load @ exact.load.mT / torch.outer(deviation, deviation)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_over_a_barrier_the_linearization_does_not_run_away() -> None:
    dynamics = Underdamped(DoubleWell(50.0), friction=1.0, scheme=PhaseSpaceLinearization())
    reached = dynamics.transition(torch.tensor([[0.01, 0.0]]), torch.tensor(1.0)).mean
    assert float(reached.abs().max()) < 3.0  # with the true curvature of -200 it would be at e^14


# --- the chain's long-run law, and its order


@pytest.mark.parametrize("friction", [0.1, 1.0, 10.0])
def test_stationary_moments_in_a_harmonic_well(friction: float) -> None:
    stiffness, mass, temperature, step = 3.0, 0.8, 1.3, 0.25
    dynamics = Underdamped(
        QuadraticPotential(1, stiffness=stiffness), friction=friction, mass=mass, temperature=temperature
    ).read()
    n, z = 4000, torch.zeros(4000, 2)
    with torch.no_grad():
        for _ in range(int(10 * max(2.0 / friction, 2.0 * friction * mass / stiffness, 2.0) / step)):
            z = dynamics.transition(z, torch.tensor(step)).apply(torch.randn(n, 2))
    # momenta are exact; positions too wide by a known factor (a conserved quadratic form of the leapfrog)
    wide = 1.0 / (1.0 - step**2 * stiffness / (4.0 * mass))
    expected = torch.tensor([temperature / stiffness * wide, mass * temperature])
    error = (z.square().mean(0) / expected - 1.0) / math.sqrt(2.0 / n)
    assert float(error.abs().max()) < ALLOWED_ERRORS
    assert abs(float((z[:, 0] * z[:, 1]).mean())) < ALLOWED_ERRORS * float(expected.prod().sqrt()) / math.sqrt(n)


@pytest.mark.parametrize("friction", [0.1, 1.0, 10.0])
def test_stationary_moments_in_a_double_well(friction: float) -> None:
    q = np.linspace(-3, 3, 6001)
    weight = np.exp(-4 * (q * q - 1) ** 2)
    second, fourth = (float((weight * q**k).sum() / weight.sum()) for k in (2, 4))
    n, step = 8000, 0.05
    z = torch.stack([torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0), torch.randn(n)], -1)
    dynamics = Underdamped(DoubleWell(4.0), friction=friction).read()
    with torch.no_grad():
        for _ in range(int(max(5.0 / friction, 10.0) / step)):
            z = dynamics.transition(z, torch.tensor(step)).apply(torch.randn(n, 2))
    bias = (step**2 * 32.0 / 4.0) / 32.0  # of the variance in a well of curvature 32
    assert abs(float(z[:, 0].square().mean()) - second) < ALLOWED_ERRORS * math.sqrt((fourth - second**2) / n) + bias
    assert abs(float(z[:, 1].square().mean()) - 1.0) < ALLOWED_ERRORS * math.sqrt(2.0 / n)


def test_obabo_is_of_weak_order_two_and_the_linearization_exact() -> None:
    process = harmonic(2)

    def second_moment(scheme: PhaseSpaceScheme, count: int) -> Tensor:
        dynamics, step = dynamics_of(process, scheme).read(), torch.tensor(1.0 / count)
        mean, covariance = process.initial_mean, process.initial_covariance
        origin = dynamics.transition(torch.zeros(4), step)
        push = origin.apply(torch.zeros(4))
        load = (origin.apply(torch.eye(4)) - push).mT
        flow = (dynamics.transition(torch.eye(4), step).apply(torch.zeros(4, 4)) - push).mT
        for _ in range(count):
            mean, covariance = flow @ mean + push, flow @ covariance @ flow.mT + load @ load.mT
        return covariance + torch.outer(mean, mean)

    exact = process.exact(1.0)
    mean = exact.flow @ process.initial_mean + exact.push
    wanted = exact.flow @ process.initial_covariance @ exact.flow.mT + exact.load @ exact.load.mT
    wanted = wanted + torch.outer(mean, mean)
    counts = [4, 8, 16, 32]
    errors = [float((second_moment(OBABO(), c) - wanted).abs().max()) for c in counts]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert -2.15 < slope < -1.9
    torch.testing.assert_close(second_moment(PhaseSpaceLinearization(), 8), wanted, rtol=1e-9, atol=1e-9)


# --- paths


@every_scheme
@pytest.mark.parametrize("dim", [1, 2])
def test_density_of_a_linear_chain_is_one_dense_gaussian(scheme: PhaseSpaceScheme, dim: int) -> None:
    process = harmonic(dim)
    path = LangevinPath(dynamics_of(process, scheme), initial_of(process), IRREGULAR)
    dense = process.path_law(steps_of(process, scheme, IRREGULAR))
    drawn = path.rsample(torch.Size([5_000]))
    assert drawn.shape == (5_000, len(IRREGULAR), 2 * dim)
    torch.testing.assert_close(path.log_prob(drawn[:50]), dense.log_prob(drawn[:50].flatten(1)), rtol=1e-10, atol=1e-10)
    whitened = torch.linalg.solve_triangular(dense.scale_tril, (drawn.flatten(1) - dense.mean).mT, upper=False)
    error = whitened.mean(1) * math.sqrt(len(drawn))
    spread = whitened @ whitened.mT / len(drawn) - torch.eye(len(whitened))
    assert float(error.abs().max()) < ALLOWED_ERRORS
    assert float(spread.abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / len(drawn))


@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("dim", [1, 2])
def test_series_of_their_own_times_and_lengths(steered: bool, dim: int) -> None:
    times, lengths = torch.rand(3, 6).cumsum(-1) + 0.1, torch.tensor([6, 2, 4])
    grid = TimeGrid(times, lengths, max_step=0.2)
    dynamics = neural(dim)
    loc, scale = torch.randn(3, 2 * dim), 0.3 + torch.rand(3, 2 * dim)
    said = messages(dim, dim, grid.n_points - 1, 3)

    def path_of(rows: slice | int, clock: TimeGrid) -> LangevinPath:
        first = dist.Normal(loc[rows], scale[rows]).to_event(1)
        if not steered:
            return LangevinPath(dynamics, first, clock)
        n_steps = clock.n_points - 1
        return SteeredPath(dynamics, first, clock, Messages(said.centre[:n_steps, rows], said.root[:n_steps, rows]))

    path = path_of(slice(None), grid)
    z = torch.randn(5, 3, grid.n_points, 2 * dim)
    together = path.log_prob(z)
    for i, n in enumerate(lengths.tolist()):
        alone = path_of(i, TimeGrid(times[i, :n], max_step=0.2))
        torch.testing.assert_close(together[:, i], alone.log_prob(z[:, i, : alone.clock.n_points]))
    drawn = path.rsample(torch.Size([2]))
    for i, n in enumerate(lengths.tolist()):
        rest = drawn[:, i, int(grid.observed_index[i, n - 1]) :]
        assert torch.equal(rest, rest[:, :1].expand_as(rest))
    wide = path.expand(torch.Size([4, 3]))
    assert wide.rsample().shape == (4, 3, grid.n_points, 2 * dim)
    torch.testing.assert_close(wide.log_prob(z[:4]), together[:4])


# --- steered paths


@every_scheme
@pytest.mark.parametrize("dim", [1, 2])
def test_a_message_on_the_position_is_one_without_a_word_on_the_momentum(scheme: PhaseSpaceScheme, dim: int) -> None:
    dynamics, first, n_steps = neural(dim, scheme), normal(2 * dim), len(IRREGULAR) - 1
    short = messages(dim, dim, n_steps)
    centre = torch.cat([short.centre, torch.randn(n_steps, dim)], -1)
    root = torch.cat([short.root, torch.zeros(n_steps, dim, dim)], -2)
    z = torch.randn(4, len(IRREGULAR), 2 * dim)
    paths = [SteeredPath(dynamics, first, IRREGULAR, said) for said in (short, Messages(centre, root))]
    torch.testing.assert_close(paths[0].log_prob(z), paths[1].log_prob(z), rtol=1e-9, atol=1e-9)
    # and the step is the prior's density times the message, up to its normaliser
    prior = LangevinPath(dynamics, first, IRREGULAR[:2])
    path = SteeredPath(dynamics, first, IRREGULAR[:2], Messages(short.centre[:1], short.root[:1]))
    pair = torch.cat([z[:1, :1].expand(4, 1, -1), z[:, 1:2]], 1)
    offset = pair[:, 1, :dim] - short.centre[0]
    message = -0.5 * (offset @ short.root[0]).square().sum(-1)
    difference = path.log_prob(pair) - prior.log_prob(pair) - message
    torch.testing.assert_close(difference, difference[:1].expand(4), rtol=1e-9, atol=1e-9)


@every_scheme
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("whole", [False, True], ids=["position", "state"])
def test_gradient_of_sample_and_divergence_is_that_of_the_plain_loop(
    scheme: PhaseSpaceScheme, dim: int, whole: bool
) -> None:
    grid = TimeGrid(torch.rand(3, 5).cumsum(-1) + 0.1, torch.tensor([5, 2, 3]), max_step=0.3)
    dynamics = neural(dim, scheme)
    loc, scale = torch.randn(3, 2 * dim, requires_grad=True), torch.rand(3, 2 * dim).add(0.3).requires_grad_()
    said = messages(2 * dim if whole else dim, dim, grid.n_points - 1, 3)
    leaves = [loc, scale, said.centre, said.root, *dynamics.parameters()]
    weights = torch.randn(4, 3, grid.n_points, 2 * dim)
    results = []
    for own in (True, False):
        path = SteeredPath(dynamics, dist.Normal(loc, scale).to_event(1), grid, said)
        pyro.set_rng_seed(3)
        if own:
            z = path.rsample(torch.Size([4]))
            divergence = path.kl_along(z)
        else:
            z, divergence = looped(path)
        loss = (weights * z.sin()).sum() + (1.0 + z[..., -1, 0]).mul(divergence).sum()
        results.append((z, divergence, *torch.autograd.grad(loss, leaves, materialize_grads=True)))
    assert all(bool((slope != 0).any()) for slope in results[1][:6])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def looped(path: SteeredPath) -> tuple[Tensor, Tensor]:
    """Four samples and their divergence by plain autograd through a plain loop."""
    state = path.initial.rsample(torch.Size([4]))
    steps, mask = path.clock.steps_for(state.dim() + 1), path.clock.mask_for(state.dim())
    noise = torch.randn(len(steps), *state.shape)
    states, divergence = [state], torch.zeros(state.shape[:-1])
    assert mask is not None
    for k, step in enumerate(steps):
        transition = path.dynamics.transition(state, step)
        tilt = Messages(path.messages.centre[k], path.messages.root[k]).tilt(state, transition, step)
        state = torch.where(mask[k].unsqueeze(-1), transition.apply(tilt.apply(noise[k])), state)
        divergence = divergence + torch.where(mask[k], tilt.kl(), 0.0)
        states.append(state)
    return torch.stack(states, -2), divergence


@every_scheme
@pytest.mark.parametrize("dim", [1, 2])
def test_exact_messages_reach_the_evidence_of_the_chain(scheme: PhaseSpaceScheme, dim: int) -> None:
    process, noise = harmonic(dim), 0.4
    grid = TimeGrid(IRREGULAR, max_step=0.1)
    steps = steps_of(process, scheme, grid.times)
    observed = set(grid.observed_index.tolist())
    seen = [torch.randn(dim) if k in observed else None for k in range(grid.n_points)]
    precision, information = process.backward(steps, seen, noise)
    prior = torch.linalg.inv(process.initial_covariance)
    covariance = torch.linalg.inv(prior + precision[0])
    mean = covariance @ (prior @ process.initial_mean + information[0])
    exact = ExactPosterior(torch.stack(precision), torch.stack(information), mean, covariance)
    # messages speak of the state before the closing kick, here a linear map
    closing = torch.stack([step.closing for step in steps]) if isinstance(scheme, OBABO) else torch.eye(2 * dim)
    offset = torch.stack([step.close_push for step in steps])
    centre = torch.linalg.solve(closing, (exact.centre - offset).unsqueeze(-1)).squeeze(-1)
    said = Messages(centre, closing.mT @ exact.root)
    dynamics = dynamics_of(process, scheme)
    first = dist.MultivariateNormal(exact.first_mean, exact.first_covariance)
    path = SteeredPath(dynamics, first, grid, said)
    with torch.no_grad():
        z = path.rsample(torch.Size([30]))
        likelihood = sum(
            dist.Normal(z[:, k, :dim], noise).log_prob(y).sum(-1) for k, y in enumerate(seen) if y is not None
        )
        bound = likelihood + LangevinPath(dynamics, initial_of(process), grid).log_prob(z) - path.log_prob(z)
    evidence = process.evidence(steps, seen, noise)
    torch.testing.assert_close(bound, evidence.expand(30), rtol=0, atol=1e-8)


# --- what is accepted, and what is refused


def test_constants_may_be_learned_or_drawn_and_are_read_once() -> None:
    potential = QuadraticPotential(2)
    assert Underdamped(potential).learns_friction
    assert {name for name, _ in Underdamped(potential).named_parameters()} == {"friction_unconstrained"}
    drawn = Underdamped(potential, friction=PyroSample(dist.LogNormal(0.0, 1.0)), mass=PyroSample(dist.Gamma(2.0, 2.0)))
    with pytest.raises(RuntimeError, match=r"friction, mass are sampled \(PyroSample\)"):
        LangevinPath(drawn, normal(4), IRREGULAR)
    with drawn._pyro_context:  # as in a call of the module that holds it
        path = LangevinPath(drawn, normal(4), IRREGULAR)
    z = torch.randn(len(IRREGULAR), 4)
    assert path.log_prob(z).item() == path.log_prob(z).item()
    with drawn._pyro_context:
        other = LangevinPath(drawn, path.initial, IRREGULAR)
    assert other.log_prob(z).item() != path.log_prob(z).item()


def test_diffusion_sets_the_start_of_a_learned_friction_only() -> None:
    learned, given = Underdamped(DoubleWell(), mass=2.0), Underdamped(DoubleWell(), mass=2.0, friction=3.0)
    for dynamics, friction in ((learned, 1.0 / (2.0 * 0.7)), (given, 3.0)):
        dynamics.initialise(0.7)
        assert float(torch.as_tensor(dynamics.friction).detach()) == pytest.approx(friction)
        expected = 1.0 / (2.0 * friction)
        assert float(dynamics.diffusion.detach()) == pytest.approx(expected)
        assert float(dynamics.momentum_deviation()) == pytest.approx(math.sqrt(2.0))
    assert (learned.dim, learned.position_dim) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"friction": -1.0}, "friction must be positive, got -1.0"),
        ({"mass": torch.tensor([1.0, 0.0])}, "mass must be positive"),
        ({"mass": torch.ones(3)}, r"expected mass of shape \(\) or \(\*batch, 1\) or \(\*batch, 2\), got \(3,\)"),
        ({"temperature": torch.ones(2)}, r"expected temperature of shape \(\) or \(\*batch, 1\), got \(2,\)"),
    ],
)
def test_impossible_constants_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Underdamped(QuadraticPotential(2), **arguments)  # type: ignore[arg-type]


def test_what_is_not_a_potential_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a Potential, got function"):
        Underdamped(lambda z: z)  # type: ignore[arg-type]


def test_a_potential_of_ones_own_goes_through_automatic_differentiation() -> None:
    class Quartic(Potential):
        def energy(self, z: Tensor) -> Tensor:
            return 4.0 * (z.square() - 1.0).square().sum(-1)

    z, noise = torch.randn(6, 2), torch.randn(6, 2)
    for scheme in (OBABO(), PhaseSpaceLinearization()):
        own, shipped = (Underdamped(p, friction=0.7, scheme=scheme) for p in (Quartic(1), DoubleWell(4.0)))
        found, expected = (d.transition(z, torch.tensor(0.1)).apply(noise) for d in (own, shipped))
        torch.testing.assert_close(found, expected)
