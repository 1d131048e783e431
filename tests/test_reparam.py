"""Noise coordinates: the same density, and chains that mix."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import OrnsteinUhlenbeck
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size
from standard_errors import ALLOWED_ERRORS
from torch import Tensor
from torch.distributions import MultivariateNormal

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


class Smoothing:
    """An Ornstein-Uhlenbeck process seen with noise at every fourth point of a fine grid, and the exact smoother."""

    def __init__(self, n_points: int) -> None:
        self.process = OrnsteinUhlenbeck(
            torch.tensor([[1.5]]), torch.tensor([0.3]), 1.2, 1.0, torch.tensor([-0.5]), torch.tensor([[0.4]])
        )
        self.times = 0.03 * torch.arange(n_points)
        self.seen, self.noise = torch.arange(n_points) % 4 == 0, 0.4
        self.y = torch.randn(int(self.seen.sum())).cumsum(0)
        self.dynamics = pl.Overdamped(pl.QuadraticPotential(1, 0.3, stiffness=1.5), friction=1.2)
        self.initial = dist.Normal(torch.tensor([-0.5]), math.sqrt(0.4)).to_event(1)
        prior = self.process.path_law(self.times)
        # Gaussian conditioning on y = A z + noise, in one block
        select = torch.eye(n_points)[self.seen]
        precision = prior.precision_matrix + select.mT @ select / self.noise**2
        information = prior.precision_matrix @ prior.mean + select.mT @ self.y / self.noise**2
        self.smoother = MultivariateNormal(torch.linalg.solve(precision, information), precision_matrix=precision)

    def model(self) -> None:
        z = pyro.sample("z", pl.LangevinPath(self.dynamics, self.initial, self.times))
        pyro.sample("y", dist.Normal(z[self.seen, 0], self.noise).to_event(1), obs=self.y)

    def check(self, drawn: Tensor) -> None:
        """Means and variances of drawn paths ``(draws, time)`` against the smoother, within Monte Carlo error."""
        size = effective_sample_size(drawn.unsqueeze(0)).clamp_max(len(drawn))
        variance = self.smoother.variance
        error = (drawn.mean(0) - self.smoother.mean) / (variance / size).sqrt()
        assert float(error.abs().max()) < ALLOWED_ERRORS
        squares = (drawn - self.smoother.mean).square()
        size = effective_sample_size(squares.unsqueeze(0)).clamp_max(len(drawn))
        error = (squares.mean(0) - variance) / (variance * (2.0 / size).sqrt())
        assert float(error.abs().max()) < ALLOWED_ERRORS


def nuts(model: object, draws: int, warmup: int, depth: int = 6) -> dict[str, Tensor]:
    chain = MCMC(NUTS(model, max_tree_depth=depth), num_samples=draws, warmup_steps=warmup, disable_progbar=True)
    chain.run()
    return chain.get_samples()


def paths_of(problem: Smoothing, noise: Tensor) -> Tensor:
    """Paths ``(draws, time)`` of draws of ``z_noise``."""
    path = pl.LangevinPath(problem.dynamics, problem.initial, problem.times)
    return path.driven(-0.5 + math.sqrt(0.4) * noise[:, 0], noise[:, 1:]).squeeze(-1)


def test_nuts_in_noise_coordinates_meets_the_smoother() -> None:
    problem = Smoothing(6)
    drawn = nuts(poutine.reparam(problem.model, {"z": pl.LangevinReparam()}), 100, 30, depth=3)
    assert drawn["z_noise"].shape == (100, 6, 1)
    problem.check(paths_of(problem, drawn["z_noise"]))


@pytest.mark.slow
def test_noise_coordinates_mix_far_better_than_the_path_itself() -> None:
    problem = Smoothing(33)
    noise = paths_of(problem, nuts(poutine.reparam(problem.model, {"z": pl.LangevinReparam()}), 150, 50)["z_noise"])
    centred = nuts(problem.model, 150, 50)["z"].squeeze(-1)
    problem.check(noise)
    size = {name: float(effective_sample_size(z[None]).median()) for name, z in (("noise", noise), ("path", centred))}
    assert size["noise"] > 75 and size["noise"] > 3 * size["path"], size


# --- the map between a path and its noise

GRIDS = {
    "times": lambda: pl.TimeGrid(torch.tensor([0.0, 0.2, 0.5, 0.6])),
    "padded": lambda: pl.TimeGrid(torch.rand(3, 5).cumsum(-1), torch.tensor([5, 2, 3]), max_step=0.3),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dim", [1, 2])
def test_noise_of_a_path_drives_that_path(grid: str, dim: int) -> None:
    dynamics = pl.Overdamped(pl.NeuralPotential(dim, 4))
    path = pl.LangevinPath(dynamics, dist.Normal(torch.zeros(dim), 1.0).to_event(1), GRIDS[grid]())
    z = path.rsample(torch.Size([4]))
    noise = path.noise_of(z)
    assert noise.shape == (*z.shape[:-2], z.shape[-2] - 1, dim)
    torch.testing.assert_close(path.driven(z[..., 0, :], noise), z)
    # the density is that of the noise over the volume of the map
    if path.clock.mask is None:
        volume = path.transitions(path.time_first(z)).log_abs_det().sum(0)
        standard = dist.Normal(0.0, 1.0).log_prob(noise).sum((-1, -2)) + path.initial.log_prob(z[..., 0, :])
        torch.testing.assert_close(path.log_prob(z), standard - volume)


@pytest.mark.parametrize("lengths", [None, [4, 2, 3]])
def test_gradient_of_a_driven_path_is_that_of_the_plain_loop(lengths: list[int] | None) -> None:
    grid = pl.TimeGrid(torch.rand(3, 4).cumsum(-1), None if lengths is None else torch.tensor(lengths))
    dynamics = pl.Overdamped(pl.NeuralPotential(2, 4))
    path = pl.LangevinPath(dynamics, dist.Normal(torch.zeros(2), 1.0).to_event(1), grid)
    start, noise = torch.randn(3, 2, requires_grad=True), torch.randn(3, 3, 2, requires_grad=True)
    leaves = [start, noise, *dynamics.parameters()]
    found = torch.autograd.grad(path.driven(start, noise).sin().sum(), leaves, allow_unused=True, retain_graph=True)
    states = [start]
    for k in range(3):
        moved = path.dynamics.transition(states[-1], grid.steps[:, k, None]).apply(noise[:, k])
        states.append(torch.where(grid.step_mask[:, k, None], moved, states[-1]))
    expected = torch.autograd.grad(torch.stack(states).sin().sum(), leaves, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


# --- the site

FIRST_STATES = {
    "normal": lambda: dist.Normal(torch.tensor([0.2, -1.0]), torch.tensor([0.5, 2.0])).to_event(1),
    "multivariate normal": lambda: dist.MultivariateNormal(
        torch.tensor([0.2, -1.0]), torch.tensor([[1.0, 0.6], [0.6, 0.8]])
    ),
    "Student t": lambda: dist.StudentT(4.0, torch.zeros(2), 1.0).to_event(1),
    "mixture": lambda: dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.3, 0.7])),
        dist.Normal(torch.tensor([[-1.0, 0.0], [1.0, 2.0]]), 0.5).to_event(1),
    ),
}
TIMES = torch.tensor([0.0, 0.2, 0.5])


def sampled(first: str, times: Tensor = TIMES) -> Tensor:
    dynamics = pl.Overdamped(pl.QuadraticPotential(2), friction=0.8)
    with pyro.plate("series", 3):
        return pyro.sample("z", pl.LangevinPath(dynamics, FIRST_STATES[first](), times))


noisy = poutine.reparam(sampled, {"z": pl.LangevinReparam()})


@pytest.mark.parametrize("first", FIRST_STATES)
def test_first_state_has_noise_of_its_own_where_it_is_gaussian(first: str) -> None:
    trace = poutine.trace(noisy).get_trace(first)
    folded = first.endswith("normal")
    assert trace.nodes["z_noise"]["value"].shape == (3, 3 if folded else 2, 2)
    assert ("z_first" in trace.nodes) is not folded
    z = trace.nodes["z"]["value"]
    assert z.shape == (3, 3, 2) and trace.nodes["_RETURN"]["value"] is z
    trace.compute_log_prob()
    assert float(torch.as_tensor(trace.nodes["z"]["log_prob_sum"])) == 0.0
    # given a path to start from, the site finds the noise that drives it
    again = poutine.trace(poutine.reparam(given(sampled, z), {"z": pl.LangevinReparam()})).get_trace(first)
    torch.testing.assert_close(again.nodes["z_noise"]["value"], trace.nodes["z_noise"]["value"])
    assert not again.nodes["z_noise"]["is_observed"]


def given(program: object, z: Tensor) -> object:
    """The program, its path set to a value without being observed, as initialisation of HMC does."""
    return _Given({"z": z})(program)


class _Given(poutine.messenger.Messenger):
    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: dict) -> None:
        if msg["name"] in self.values:
            msg["value"] = self.values[msg["name"]]


@pytest.mark.parametrize("first", FIRST_STATES)
def test_samples_in_noise_coordinates_follow_the_path(first: str) -> None:
    with pyro.plate("draws", 4000, dim=-2):
        z = noisy(first)
    path = pl.LangevinPath(pl.Overdamped(pl.QuadraticPotential(2), friction=0.8), FIRST_STATES[first](), TIMES)
    other = path.sample(torch.Size([12_000]))
    for power in (1, 2) if first != "Student t" else (1,):
        one, two = z.flatten(0, 1) ** power, other**power
        error = (one.mean(0) - two.mean(0)) / (one.var(0) / len(one) + two.var(0) / len(two)).sqrt()
        assert float(error.abs().max()) < ALLOWED_ERRORS


def test_an_observed_path_keeps_its_density() -> None:
    z = torch.randn(3, 3, 2)
    trace = poutine.trace(poutine.reparam(poutine.condition(sampled, {"z": z}), {"z": pl.LangevinReparam()})).get_trace(
        "normal"
    )
    assert set(trace.nodes) & {"z_noise", "z_first"} == set()
    path = pl.LangevinPath(
        pl.Overdamped(pl.QuadraticPotential(2), friction=0.8), FIRST_STATES["normal"](), TIMES
    )
    torch.testing.assert_close(torch.as_tensor(trace.log_prob_sum()), path.log_prob(z).sum())


def test_only_paths_of_the_prior_are_reparametrised() -> None:
    config = {"z": pl.LangevinReparam()}
    with pytest.raises(TypeError, match="expected site 'z' to be a LangevinPath, got Normal"):
        poutine.reparam(lambda: pyro.sample("z", dist.Normal(0.0, 1.0)), config)()
    said = pl.Messages(torch.zeros(2, 1), torch.zeros(2, 1, 1))
    law = dist.Normal(torch.zeros(1), 1.0).to_event(1)
    steered = pl.SteeredPath(pl.Overdamped(pl.QuadraticPotential(1)), law, TIMES, said)
    with pytest.raises(TypeError, match="got SteeredPath; reparametrise only sites of the prior"):
        poutine.reparam(lambda: pyro.sample("z", steered), config)()
