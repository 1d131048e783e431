"""Every model and guide in what takes Pyro programs apart: graphs, enumeration, automatic guides, HMC."""

from __future__ import annotations

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoNormal
from pyro.infer.inspect import generate_graph_specification, get_model_relations
from pyro.infer.mcmc.util import initialize_model
from pyro.nn import PyroModule
from pyro_matrix import (
    LENGTHS,
    SEED,
    assert_all_are_trained,
    every_model,
    every_row,
    log_joint,
    row,
    seeded_paths,
    seen_states,
)

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_row
def test_the_programs_can_be_drawn(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    relations = get_model_relations(case.model, model_args=(case.data,))
    assert relations["sample_sample"] == {"z": [], "y": ["z"]}
    assert relations["plate_sample"] == {"series": ["z", "y"]} and relations["observed"] == ["y"]
    graph = generate_graph_specification(relations)
    assert {"z", "y"} <= set(graph["node_data"]) and [tuple(edge) for edge in graph["edge_list"]] == [("z", "y")]
    assert get_model_relations(case.guide, model_args=(case.data,))["sample_sample"] == {"z": []}


class Labelled(PyroModule):
    """The model of a row with a discrete label a series, which shifts its observations."""

    def __init__(self, inner: pl.LangevinModel) -> None:
        super().__init__()
        self.inner = (inner,)
        self.shifts, self.probabilities = torch.tensor([0.0, 1.3, -0.4]), torch.tensor([0.2, 0.5, 0.3])

    def forward(self, data: pl.Observations) -> None:
        (inner,) = self.inner
        pyro.module("inner", inner)
        path = pl.LangevinPath(inner.dynamics, inner.initial(), inner.grid(data))
        with pyro.plate("series", data.n_series):
            label = pyro.sample("label", dist.Categorical(self.probabilities))
            z = pyro.sample("z", path)
            mean = inner.emission.mean(seen_states(inner, z, data)) + self.shifts[label][..., None, None]
            seen = dist.Normal(mean, inner.emission.noise).mask(data.mask).to_event(2)
            pyro.sample("y", seen, obs=data.values)


@every_row
@pytest.mark.parametrize("particles", [len(LENGTHS), 5])
def test_a_discrete_label_a_series_is_enumerated(dynamics: str, kind: str, particles: int) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    labelled = Labelled(case.model)
    model = config_enumerate(labelled, "parallel")
    estimator = TraceEnum_ELBO(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1)
    guide = config_enumerate(case.guide)
    pyro.set_rng_seed(SEED)
    loss = estimator.loss(model, guide, case.data)
    with torch.no_grad():
        z, path = seeded_paths(case, particles), case.guide.path(case.data)
        mean = case.model.emission.mean(seen_states(case.model, z, case.data)) + labelled.shifts.reshape(3, 1, 1, 1, 1)
        law = dist.Normal(mean, case.model.emission.noise)
        seen = (law.log_prob(case.data.values) * case.data.mask).sum((-1, -2))
        seen = torch.logsumexp(seen + labelled.probabilities.log().reshape(3, 1, 1), 0)
        prior = pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data))
        by_hand = (seen + prior.log_prob(z) - path.log_prob(z)).sum(-1).mean()
    assert loss == pytest.approx(-by_hand.item(), abs=1e-8)
    estimator.loss_and_grads(model, guide, case.data)
    assert_all_are_trained(case)


@every_model
@pytest.mark.parametrize("automatic", [AutoNormal, AutoLowRankMultivariateNormal])
def test_automatic_guides_of_the_paths(dynamics: str, kind: str, automatic: type[AutoNormal]) -> None:
    case = row(dynamics, kind)
    model = copy.deepcopy(case.model)
    guide = automatic(model, init_scale=0.1)
    guide(case.data)  # builds it
    loss = Trace_ELBO()(model, guide)
    pyro.set_rng_seed(SEED)
    found = loss(case.data)
    pyro.set_rng_seed(SEED)
    z = guide(case.data)["z"]
    if isinstance(guide, AutoNormal):
        entropy = -dist.Normal(guide.locs.z, guide.scales.z).log_prob(z).sum()
    else:
        entropy = -guide.get_posterior().log_prob(z.flatten())
    torch.testing.assert_close(found, -(log_joint(model, case.data, z).sum() + entropy))
    found.backward()
    for parameter in guide.parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all())
        assert bool((parameter.grad != 0).any())
    assert guide(case.data)["z"].shape == (len(LENGTHS), model.grid(case.data).n_points, model.dynamics.dim)


@every_model
@pytest.mark.parametrize("reparametrised", [False, True])
def test_hmc_sees_the_exact_density(dynamics: str, kind: str, reparametrised: bool) -> None:
    case = row(dynamics, kind)
    model = poutine.reparam(case.model, {"z": pl.LangevinReparam()}) if reparametrised else case.model
    start, potential, transforms, _ = initialize_model(model, (case.data,))
    assert set(start) == ({"z_first", "z_noise"} if reparametrised else {"z"})
    expected = []
    for value in (start, {name: 0.9 * part for name, part in start.items()}):
        if reparametrised:
            path = pl.LangevinPath(case.model.dynamics, case.model.initial(), case.model.grid(case.data))
            z = path.driven(value["z_first"], value["z_noise"])
            noise = 0.5 * value["z_noise"].square().sum()
            seen = log_joint(case.model, case.data, z) - path.log_prob(z)
            energy = noise - path.initial.log_prob(value["z_first"]).sum() - seen.sum()
        else:
            energy = -log_joint(case.model, case.data, value["z"]).sum()
        expected.append(energy - potential(value))
    torch.testing.assert_close(expected[0], expected[1])  # but for a constant
    steps = NUTS(model, step_size=1e-3, adapt_step_size=False, adapt_mass_matrix=False, max_tree_depth=2)
    chain = MCMC(steps, num_samples=3, warmup_steps=0, disable_progbar=True)
    chain.run(case.data)
    for drawn in chain.get_samples().values():
        assert bool(drawn.isfinite().all()) and not torch.equal(drawn[0], drawn[-1])
