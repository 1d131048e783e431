"""A guide for sampled parameters and for the paths given them."""

from __future__ import annotations

from collections.abc import Callable

from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor

from pyro_langevin.guides.amortised import AmortisedGuide
from pyro_langevin.observations import Observations
from pyro_langevin.potentials.parameters import sampled_names


class JointGuide(PyroModule):
    r"""Posterior of sampled parameters and paths, :math:`q(\theta)\, q(z \mid \theta)`.

    For models whose potential, friction or temperature are ``PyroSample``: a guide for paths needs the values that the
    guide of the parameters drew.

    Args:
        parameters: Guide for all sample sites but ``z``, for example
            ``AutoNormal(poutine.block(model, hide=["z"]))``; it must return its samples by the names of their sites, as
            Pyro's automatic guides do.
        paths: Guide for ``z``.
    """

    def __init__(
        self, parameters: Callable[[Observations, int | None], dict[str, Tensor]], paths: AmortisedGuide
    ) -> None:
        super().__init__()
        self.parameters_guide = parameters
        self.paths = paths

    def forward(self, observations: Observations, n_series: int | None = None) -> dict[str, Tensor]:
        """Sample the parameters, then paths given them.

        Returns:
            Values by the names of their sites.

        Raises:
            ValueError: If the guide of the parameters leaves one out.
        """
        values = dict(self.parameters_guide(observations, n_series))
        missing = sorted(set(sampled_names(self.paths.model)) - set(values))
        if missing:
            raise ValueError(
                f"JointGuide: the guide of the parameters returned {sorted(values)}, not {missing}; build it on the "
                "model with no site hidden but z"
            )
        # the parameters' sites are this guide's already; here they are only read
        with poutine.block(hide=list(values)), poutine.condition(data=values), self.paths.model._pyro_context:
            values["z"] = self.paths(observations, n_series)
        return values
