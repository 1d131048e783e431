"""The neural SDE of ``neural_sde.py`` in JAX: with ``lax.scan`` and with diffrax. Needs jax, diffrax and optax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optax
from jax import Array
from neural_sde import BLOCK, BLOCKS, BOTTLENECK, CONTEXT, CONTROL, HIDDEN, NOISE

Parameters = dict[str, Any]
Integrate = Callable[[Parameters, Array, Array, float, Array], tuple[Array, Array]]


def parameters(key: Array, latent: int, channels: int) -> Parameters:
    """Layers of the same sizes, each a matrix and a vector."""
    sizes = {
        "enter": (channels, 3 * HIDDEN), "again": (HIDDEN, 3 * HIDDEN), "context": (HIDDEN, CONTEXT),
        "start": (CONTEXT, 2 * latent), "decoder": (latent, channels),
        "control0": (latent + CONTEXT, CONTROL), "control1": (CONTROL, CONTROL), "control2": (CONTROL, latent),
        "energy_in": (latent, BLOCK), "energy_out": (BLOCK, 1),
        **{f"down{k}": (BLOCK, BOTTLENECK) for k in range(BLOCKS)},
        **{f"up{k}": (BOTTLENECK, BLOCK) for k in range(BLOCKS)},
    }  # fmt: skip
    keys = jax.random.split(key, len(sizes))
    layers = {
        name: (jax.random.normal(one, shape) / shape[0] ** 0.5, jnp.zeros(shape[1]))
        for one, (name, shape) in zip(keys, sizes.items(), strict=True)
    }
    return {**layers, "bowl": jnp.zeros(()), "log_noise": jnp.zeros(latent)}


def _layer(made: Parameters, name: str, x: Array) -> Array:
    matrix, vector = made[name]
    return x @ matrix + vector


def _energy(made: Parameters, z: Array) -> Array:
    hidden = _layer(made, "energy_in", z)
    for k in range(BLOCKS):
        hidden = hidden + _layer(made, f"up{k}", jnp.tanh(_layer(made, f"down{k}", hidden)))
    return (_layer(made, "energy_out", hidden)[..., 0] + jax.nn.softplus(made["bowl"]) * (z**2).sum(-1)).sum()


def _control(made: Parameters, z: Array, told: Array) -> Array:
    hidden = jax.nn.softplus(_layer(made, "control0", jnp.concatenate([z, told], -1)))
    return _layer(made, "control2", jax.nn.softplus(_layer(made, "control1", hidden)))


def _contexts(made: Parameters, series: Array) -> Array:
    """A gated recurrent unit over ``(time, batch, channels)``, backwards."""

    def step(hidden: Array, x: Array) -> tuple[Array, Array]:
        ours, theirs = _layer(made, "again", hidden), x
        reset, update = (
            jax.nn.sigmoid(a + b) for a, b in zip(jnp.split(ours, 3, -1)[:2], jnp.split(theirs, 3, -1)[:2], strict=True)
        )
        new = jnp.tanh(jnp.split(theirs, 3, -1)[2] + reset * jnp.split(ours, 3, -1)[2])
        hidden = (1.0 - update) * new + update * hidden
        return hidden, hidden

    entered = _layer(made, "enter", series)
    _, hidden = jax.lax.scan(step, jnp.zeros((series.shape[1], HIDDEN)), entered, reverse=True)
    return _layer(made, "context", hidden)


def scan(made: Parameters, first: Array, told: Array, gap: float, key: Array) -> tuple[Array, Array]:
    """Euler steps by ``lax.scan``."""
    noise = jnp.exp(made["log_noise"])
    kicks = jax.random.normal(key, (len(told) - 1, *first.shape))

    def step(state: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (z, along), (context, kick) = state, given
        pushed = _control(made, z, context)
        drift = -jax.grad(_energy, 1)(made, z) + pushed
        moved = z + gap * drift + noise * gap**0.5 * kick
        return (moved, along + 0.5 * gap * ((pushed / noise) ** 2).sum(-1)), moved

    (_, along), path = jax.lax.scan(step, (first, jnp.zeros(first.shape[:1])), (told[1:], kicks))
    return jnp.concatenate([first[None], path]), along


def with_diffrax(made: Parameters, first: Array, told: Array, gap: float, key: Array) -> tuple[Array, Array]:
    """Diffrax's Euler solver on path and divergence together."""
    noise = jnp.exp(made["log_noise"])
    times = gap * jnp.arange(len(told))

    def drift(t: Array, state: Array, args: None) -> Array:
        z = state[..., :-1]
        pushed = _control(made, z, told[jnp.clip((t / gap + 1e-3).astype(int) + 1, 0, len(told) - 1)])
        cost = 0.5 * ((pushed / noise) ** 2).sum(-1, keepdims=True)
        return jnp.concatenate([-jax.grad(_energy, 1)(made, z) + pushed, cost], -1)

    def diffusion(t: Array, state: Array, args: None) -> lineax.DiagonalLinearOperator:
        scale = jnp.concatenate([noise, jnp.zeros(1)])
        return lineax.DiagonalLinearOperator(jnp.broadcast_to(scale, state.shape))

    start = jnp.concatenate([first, jnp.zeros_like(first[:, :1])], -1)
    shape = jax.ShapeDtypeStruct(start.shape, start.dtype)
    brownian = diffrax.VirtualBrownianTree(0.0, float(gap * (len(told) - 1)), gap / 4, shape, key)
    terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, brownian))
    solved = diffrax.diffeqsolve(
        terms, diffrax.Euler(), times[0], times[-1], None, start,
        stepsize_controller=diffrax.StepTo(times), saveat=diffrax.SaveAt(ts=times), max_steps=len(told),
    )  # fmt: skip
    return solved.ys[..., :-1], solved.ys[-1, :, -1]


def iteration_of(integrate: Integrate, values: np.ndarray, latent: int, gap: float) -> Callable[[], float]:
    """One training iteration on series ``(batch, time, channels)``, compiled."""
    series = jnp.asarray(values.swapaxes(0, 1))
    made = parameters(jax.random.PRNGKey(0), latent, values.shape[-1])
    optimizer = optax.adam(1e-3)
    state = {"made": made, "optimizer": optimizer.init(made), "key": jax.random.PRNGKey(1)}

    def loss(made: Parameters, key: Array) -> Array:
        told = _contexts(made, series)
        mean, log_deviation = jnp.split(_layer(made, "start", told[0]), 2, -1)
        own, rest = jax.random.split(key)
        first = mean + jnp.exp(log_deviation) * jax.random.normal(own, mean.shape)
        before = 0.5 * (mean**2 + jnp.exp(2.0 * log_deviation) - 1.0 - 2.0 * log_deviation).sum(-1)
        path, along = integrate(made, first, told, gap, rest)
        error = (_layer(made, "decoder", path) - series) / NOISE
        seen = -(0.5 * error**2 + jnp.log(NOISE) + 0.5 * jnp.log(2 * jnp.pi)).sum((0, 2))
        return (before + along - seen).sum() / series.size

    @jax.jit
    def step(made: Parameters, optimized: Any, key: Array) -> tuple[Parameters, Any, Array, Array]:
        key, own = jax.random.split(key)
        value, slope = jax.value_and_grad(loss)(made, own)
        change, optimized = optimizer.update(slope, optimized)
        return optax.apply_updates(made, change), optimized, key, value

    def iteration() -> float:
        state["made"], state["optimizer"], state["key"], value = step(state["made"], state["optimizer"], state["key"])
        return float(value)

    return iteration
