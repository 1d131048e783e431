"""Any Pyro model with its guide as ArviZ holds draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pyro
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from pyro_langevin.inference_data.any_program.draws import draw_posterior, draw_prior
from pyro_langevin.inference_data.any_program.fits import ParamState, PyroProgram, fits_of, own_parameters
from pyro_langevin.inference_data.any_program.program import Program, Run
from pyro_langevin.inference_data.assemble import assemble

_Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
_Groups = dict[str, _Variables]


def from_pyro_svi(
    model: PyroProgram | list[PyroProgram],
    guide: PyroProgram | list[PyroProgram | tuple[PyroProgram, ParamState]],
    *,
    model_args: tuple[Any, ...] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    draws: int = 1000,
    posterior_predictive: bool = True,
    log_likelihood: bool = True,
    prior: bool = True,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    constant_data: Mapping[str, ArrayLike | Tensor] | None = None,
    seed: int = 0,
) -> Any:
    """Draws of any Pyro model and guide that SVI has fitted, as ArviZ holds them.

    ``chain`` is an independent fit, ``draw`` an independent draw of its guide. Draws are made side by side under one
    more plate where that gives the same densities as one by one, which is checked; else one by one.

    Plates name their dimensions; other dimensions are named as ``dims`` says. Densities are those of the program with
    its masks but without ``poutine.scale``, so that ``log_p - log_q`` are the logarithms of importance weights.

    Args:
        model: The model; or one for each guide, where the models have parameters of their own.
        guide: The guide. A list is one fit each (chains): modules that hold their own parameters, or pairs ``(guide,
            state)`` with the parameters as ``pyro.get_param_store().get_state()`` gave them after that fit.
        model_args: Arguments that model and guide were fitted with.
        model_kwargs: Their keyword arguments.
        draws: Draws of each guide.
        posterior_predictive: Also draw new values of the observed sites.
        log_likelihood: Also keep the log likelihood of every observation, plates kept, for ``arviz.loo``.
        prior: Also draw from the model alone: latent sites (``prior``) and observed ones (``prior_predictive``).
        coords: Coordinates of dimensions; 0, 1, 2, ... where nothing is said.
        dims: Names of the dimensions of a site: of those that no plate names, or of all.
        constant_data: Further arrays to keep beside the draws; ``dims`` names their dimensions.
        seed: Seed of the draws.

    Returns:
        ArviZ ``InferenceData`` (before 1.0) or ``DataTree`` with the groups ``posterior``, ``sample_stats`` (``log_p``,
        ``log_q``), ``observed_data`` and, as asked for, ``log_likelihood``, ``posterior_predictive``, ``prior``,
        ``prior_predictive``, ``constant_data``.

    Raises:
        ValueError: If a plate is subsampled, a site is summed out by enumeration, sites differ between runs, names do
            not fit, or the fits of a list would share their parameters.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro.infer.autoguide import AutoNormal
        >>> def model(y):
        ...     level = pyro.sample("level", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("time", len(y)):
        ...         pyro.sample("y", dist.Normal(level, 1.0), obs=y)
        >>> guide = AutoNormal(model)
        >>> y = torch.tensor([0.3, 0.8, 0.1])
        >>> idata = from_pyro_svi(model, guide, model_args=(y,), draws=50)
        >>> idata["log_likelihood"]["y"].dims, idata["posterior"]["level"].shape
        (('chain', 'draw', 'time'), (1, 50))
    """
    if draws < 1:
        raise ValueError(f"from_pyro_svi: expected at least 1 draw, got {draws}")
    naming = {name: tuple(given) for name, given in (dims or {}).items()}
    given = {name: _array(values) for name, values in (constant_data or {}).items()}
    pyro.set_rng_seed(seed)
    fits: list[_Groups] = []
    apart: list[bool] = []
    for one_model, one_guide, state in fits_of(model, guide):
        with own_parameters(state, (one_model, one_guide)):
            program = Program.of(one_model, one_guide, model_args, model_kwargs or {})
            run, side_by_side = draw_posterior(program, draws, predict=posterior_predictive)
            alone = draw_prior(program, draws, side_by_side=side_by_side) if prior else Run()
        _refuse_strangers(naming, {*program.sites, *given})
        fits.append(_groups(program, run, alone, naming, log_likelihood))
        apart.append(side_by_side)
    groups = {name: _joined(name, [fit[name] for fit in fits]) for name in fits[0] if fits[0][name]}
    groups["observed_data"] = xr.Dataset(
        {
            n: (program.sites[n].names(n, naming.get(n)), program.sites[n].values(value.reshape(1, -1))[0])
            for n, value in program.observed.items()
        }
    )
    groups["constant_data"] = xr.Dataset(
        {n: (naming.get(n, tuple(f"{n}_dim_{i}" for i in range(v.ndim))), v) for n, v in given.items()}
    )
    attrs = {
        "inference_library": "pyro-ppl",
        "inference_library_version": version("pyro-ppl"),
        "drawn": "side by side" if all(apart) else "one by one",
    }
    return assemble(_with_coords({name: group for name, group in groups.items() if group}, coords or {}), attrs)


def _groups(program: Program, run: Run, alone: Run, naming: dict[str, tuple[str, ...]], scores: bool) -> _Groups:
    """Groups of one fit."""
    along = program.sites

    def values(table: dict[str, Tensor]) -> _Variables:
        return {n: (("draw", *along[n].names(n, naming.get(n))), along[n].values(rows)) for n, rows in table.items()}

    likelihood = {
        n: (("draw", *along[n].batch_names(n, naming.get(n))), along[n].log_densities(run.log_p[n]))
        for n in program.observed
        if scores
    }
    count = len(next(iter(run.log_p.values())))
    return {
        "posterior": values(run.values),
        "log_likelihood": likelihood,
        "posterior_predictive": values(run.predicted),
        "sample_stats": {
            "log_p": (("draw",), _total(run.log_p, count)),
            "log_q": (("draw",), _total(run.log_q, count)),
        },
        "prior": values(alone.values),
        "prior_predictive": values(alone.predicted),
    }


def _total(densities: dict[str, Tensor], draws: int) -> np.ndarray:
    total = torch.zeros(draws, dtype=torch.float64)
    for rows in densities.values():
        total = total + rows.sum(-1)
    return total.numpy()


def _joined(name: str, fits: list[_Variables]) -> xr.Dataset:
    """One group of all fits along ``chain``."""
    shapes = [{key: (names, values.shape) for key, (names, values) in fit.items()} for fit in fits]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"from_pyro_svi: expected the same variables in every fit, got others in {name!r}")
    return xr.Dataset(
        {key: (("chain", *names), np.stack([fit[key][1] for fit in fits])) for key, (names, _) in fits[0].items()}
    )


def _with_coords(groups: dict[str, xr.Dataset], coords: Mapping[str, Sequence[Any]]) -> dict[str, xr.Dataset]:
    """Groups with a coordinate along every dimension."""
    found = {axis for group in groups.values() for axis in group.dims}
    _refuse_strangers(coords, {str(axis) for axis in found})
    return {
        name: group.assign_coords({a: coords.get(str(a), np.arange(size)) for a, size in group.sizes.items()})
        for name, group in groups.items()
    }


def _refuse_strangers(names: Iterable[str], known: set[str]) -> None:
    strangers = sorted(set(names) - known)
    if strangers:
        raise ValueError(f"from_pyro_svi: expected names among {sorted(known)}, got {strangers}; check the spelling")


def _array(values: ArrayLike | Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
