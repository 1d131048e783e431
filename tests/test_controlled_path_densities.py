"""Densities and divergences of controlled paths against closed forms."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from drawn_controls import KINDS, SCHEMES, Network, kind_of_path
from drawn_paths import IRREGULAR, messages, neural, normal
from linear_gaussian import OrnsteinUhlenbeck
from path_mass import assert_density_is_one_and_sampled
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

from pyro_langevin.dynamics import ControlPort, EulerMaruyama, Overdamped, Scheme
from pyro_langevin.paths import Absolute, Additive, Control, ControlledPath, Controls, LangevinPath
from pyro_langevin.paths.parametrisation import Parametrisation
from pyro_langevin.potentials import QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


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
    assert_density_is_one_and_sampled(ControlledPath(dynamics, first, times, controls))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_absolute_is_additive_with_the_drifts_difference(dim: int) -> None:
    dynamics = neural(dim, scheme=EulerMaruyama())
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
        path = ControlledPath(neural(2, scheme=scheme), normal(2), IRREGULAR, controls, after=after)
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


# --- divergence


def test_divergence_of_a_control_is_half_its_square() -> None:
    grid = TimeGrid(IRREGULAR, max_step=0.1)
    n_steps = grid.n_points - 1
    network, told = Network(2, 5), (torch.randn(n_steps, 2), torch.randn(n_steps, 3))

    def undamped(z: Tensor, position: Tensor, context: Tensor) -> Control:
        control = network(z, position.expand(*z.shape[:-1], 2), context.expand(*z.shape[:-1], 3))
        return Control(3.0 * control.push, torch.ones(()))

    path = ControlledPath(neural(2, scheme=EulerMaruyama()), normal(2), grid, Controls(undamped, *told))
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
