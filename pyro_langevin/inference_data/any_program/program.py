"""A model with its guide, run once, or for many draws side by side under a plate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyro
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.util import prune_subsample_sites, site_is_factor
from torch import Tensor

from pyro_langevin.inference_data.any_program.layout import SiteLayout, is_deterministic
from pyro_langevin.inference_data.any_program.sites import Site, WithoutData, is_observation, refuse_subsample, samples


class NotVectorised(Exception):
    """The program does not keep draws apart that run side by side."""


@dataclass(frozen=True, eq=False)
class Run:
    """What one run, or several, gave: one row ``(draw, numbers)`` a draw for every site.

    Attributes:
        values: Of the model's latent and deterministic sites.
        guide_values: Of the guide's sites.
        log_p: Log densities of the model's sites.
        log_q: Log densities of the guide's sites, and of those that the guide leaves to the model.
        predicted: New values of the observed sites.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    guide_values: dict[str, Tensor] = field(default_factory=dict)
    log_p: dict[str, Tensor] = field(default_factory=dict)
    log_q: dict[str, Tensor] = field(default_factory=dict)
    predicted: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Program:
    """A model and its guide with the arguments that both are called with, as one run shows them.

    Attributes:
        model: The model.
        guide: The guide.
        args: Positional arguments.
        kwargs: Keyword arguments.
        sites: Layout of the model's sites.
        guide_sites: Layout of the guide's sites.
        observed: Observed values by site.
        depth: How many dimensions the plates take up.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    sites: dict[str, SiteLayout] = field(default_factory=dict)
    guide_sites: dict[str, SiteLayout] = field(default_factory=dict)
    observed: dict[str, Tensor] = field(default_factory=dict)
    depth: int = 0

    @classmethod
    def of(
        cls, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Program:
        """Run both once and see what sites they have.

        Raises:
            ValueError: If the data are subsampled, or a latent site is summed out by enumeration.
        """
        seen_guide = poutine.trace(guide).get_trace(*args, **kwargs)
        seen_model = poutine.trace(poutine.replay(model, trace=seen_guide)).get_trace(*args, **kwargs)
        dims = [0]
        for trace in (seen_guide, seen_model):
            for name, site in trace.nodes.items():
                refuse_subsample(name, site)
                dims += [f.dim for f in site.get("cond_indep_stack", ()) if f.dim is not None]
        sites, guide_sites = dict(samples(seen_model)), dict(samples(seen_guide))
        for name, found in sites.items():
            if name not in guide_sites and not found["is_observed"] and found["infer"].get("enumerate"):
                raise ValueError(
                    f"from_pyro_svi: the guide has no {name!r}, which the model sums out by enumeration; draw it with "
                    "pyro.infer.infer_discrete and give that program as the model"
                )
        observed = {
            name: site["value"].expand(site["fn"].shape()).detach().cpu()
            for name, site in sites.items()
            if is_observation(site)
        }
        return cls(
            model, guide, args, kwargs,
            {name: SiteLayout.of(site) for name, site in sites.items()},
            {name: SiteLayout.of(site) for name, site in guide_sites.items()},
            observed, -min(dims),
        )  # fmt: skip

    def trace(self, program: Callable[..., Any]) -> Trace:
        """Trace of a program that takes the arguments, with log densities."""
        trace = prune_subsample_sites(poutine.trace(program).get_trace(*self.args, **self.kwargs))
        trace.compute_log_prob()
        return trace

    def posterior(self, *, draws: int | None, predict: bool) -> Run:
        """Guide, model after it and, to predict, model after it once more without its data."""
        wrapped = self._repeated(self.model, draws)
        guide = self.trace(self._repeated(self.guide, draws))
        model = self.trace(poutine.replay(wrapped, trace=guide))
        inside, around = dict(samples(model)), dict(samples(guide))
        latent = {name: site for name, site in inside.items() if not site["is_observed"]}
        left = {name: site for name, site in latent.items() if name not in around}
        predicted: dict[str, Site] = {}
        if predict:
            latents = Trace()
            for name, site in latent.items():
                latents.add_node(name, **site)
            predicted = dict(samples(self.trace(poutine.replay(WithoutData()(wrapped), trace=latents))))
        kept = {**latent, **{name: site for name, site in inside.items() if is_deterministic(site)}}
        return Run(
            values={name: self._rows(name, site, draws) for name, site in kept.items()},
            guide_values={
                name: _rows(site["value"], draws, self.depth + site["fn"].event_dim) for name, site in around.items()
            },
            log_p=self._densities(inside, draws),
            log_q=self._densities({**around, **left}, draws),
            predicted={name: self._rows(name, predicted[name], draws) for name in self.observed if predict},
        )

    def prior(self, *, draws: int | None) -> Run:
        """The model alone, without its data."""
        trace = self.trace(WithoutData()(self._repeated(self.model, draws)))
        sites = [(name, site) for name, site in samples(trace) if not site_is_factor(site)]
        return Run(
            values={name: self._rows(name, site, draws) for name, site in sites if name not in self.observed},
            predicted={name: self._rows(name, site, draws) for name, site in sites if name in self.observed},
        )

    def again(self, run: Run, index: int) -> Run:
        """A run on its own with the latent values of one draw of ``run``."""
        guide = self.trace(poutine.condition(self.guide, _drawn(run.guide_values, self.guide_sites, index)))
        model = self.trace(poutine.condition(self.model, _drawn(run.values, self.sites, index)))
        return Run(
            values={name: self._rows(name, s, None) for name, s in samples(model) if is_deterministic(s)},
            log_p=self._densities(dict(samples(model)), None),
            log_q=self._densities(dict(samples(guide)), None),
        )

    def _repeated(self, program: Callable[..., Any], draws: int | None) -> Callable[..., Any]:
        """A program under one more plate, to the left of its own."""
        if draws is None:
            return program
        # innermost of all handlers: Pyro broadcasts no site whose value another handler has set before
        return pyro.plate("_pyro_langevin_draws", draws, dim=-self.depth - 1)(program)

    def _rows(self, name: str, site: Site, draws: int | None) -> Tensor:
        """Values of a site of the model, one row a draw."""
        layout = self.sites.get(name)
        if layout is None:
            raise ValueError(
                f"from_pyro_svi: the site {name!r} is there in one run and not in another; expected the same in all"
            )
        value = site["value"] if is_deterministic(site) else site["value"].expand(site["fn"].shape())
        if draws is None:
            return _rows(value, None, 0)
        if not is_deterministic(site):
            return _rows(value, draws, self.depth + layout.event_dim)
        if value.numel() == layout.numel:  # the same for all draws
            value = value.expand(draws, *layout.shape)
        return _rows(value, draws, value.dim() - 1)

    def _densities(self, sites: dict[str, Site], draws: int | None) -> dict[str, Tensor]:
        """Log densities, masked but not scaled, one row a draw."""
        return {
            name: _rows(scale_and_mask(site["unscaled_log_prob"], 1.0, site["mask"]), draws, self.depth).double()
            for name, site in sites.items()
            if not is_deterministic(site)
        }


def _drawn(values: dict[str, Tensor], sites: dict[str, SiteLayout], index: int) -> dict[str, Tensor]:
    """What one draw chose freely."""
    return {n: rows[index].reshape(sites[n].shape) for n, rows in values.items() if not sites[n].follows}


def _rows(values: Tensor, draws: int | None, further_dims: int) -> Tensor:
    """One row a draw; ``draws`` None is a single run, else the draws come first and ``further_dims`` behind them."""
    values = values.detach().cpu()
    if draws is None:
        return values.reshape(1, -1)
    if values.shape[:1] != (draws,) or values.dim() != further_dims + 1:
        raise NotVectorised
    return values.reshape(draws, -1)
