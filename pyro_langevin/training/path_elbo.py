"""The ELBO of a path, without the densities that it does not need."""

from __future__ import annotations

import math
from typing import Any

from pyro import poutine
from pyro.distributions.score_parts import ScoreParts
from pyro.infer import TraceMeanField_ELBO
from pyro.infer.util import is_validation_enabled
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match

from pyro_langevin.paths import has_divergence_along


class PathELBO(TraceMeanField_ELBO):
    """``TraceMeanField_ELBO`` that takes the divergence of a path as its sampling found it.

    Same loss, same gradient: Pyro's own computes the log densities of every site, although it takes the divergence
    where that is known. For a path that is the work of sampling it, two times over.
    """

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Trace, Trace]:
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs)
        if is_validation_enabled():
            check_model_guide_match(model_trace, guide_trace, self.max_plate_nesting)
        guide_trace, model_trace = prune_subsample_sites(guide_trace), prune_subsample_sites(model_trace)
        known = set()
        for name, site in guide_trace.nodes.items():
            prior = model_trace.nodes.get(name)
            if site["type"] == "sample" and prior is not None and has_divergence_along(site["fn"], prior["fn"]):
                # taken for computed; the zero says reparametrised, and the rest is not used, or would show
                site["score_parts"] = ScoreParts(math.nan, 0, math.nan)  # type: ignore[arg-type]
                known.add(name)
        model_trace.compute_log_prob(site_filter=lambda name, site: name not in known)
        guide_trace.compute_score_parts()
        return model_trace, guide_trace
