# %% [markdown]
# # Noise with a memory
#
# **Question.** Fractional Brownian motion remembers: its increments are anticorrelated (Hurst index below ½, rough
# paths) or persistent (above ½). It is not Markov, so there is no transition density to build a path from. Daems,
# Opper, Crevecoeur and Birdal (*Variational inference for SDEs driven by fractional noise*, 2024) write it as a sum
# of Ornstein–Uhlenbeck processes that *one* Brownian motion drives,
#
# $$ B(t) \approx \sum_i \omega_i\,(Y_i(t)-Y_i(0)),\qquad dY_i = -\gamma_i Y_i\,dt + dW . $$
#
# With all $Y_i$ in the state the process is Markov again. But its many coordinates share one noise, so that a path
# has no density, and only the noise behind it has. The posterior is therefore sought as a *control on that noise*,
# whose divergence from the prior is $\tfrac12\int u^2\,dt$.
#
# How good is the sum, how good the learned control, and can one tell a Hurst index from noisy data in this way? Three
# kinds of error can be held apart, because everything here is Gaussian and has an exact answer: that of the sum, that
# of the time step, and that of the fit.

# %%
import os
from collections.abc import Callable

import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroParam
from torch import Tensor

import pyro_langevin as pl

SMOKE = bool(os.environ.get("PYRO_LANGEVIN_SMOKE"))  # a few seconds, to see that it runs
torch.set_default_dtype(torch.float64)
HURST = (0.3, 0.5, 0.7)
SEEDS = 3
N_STEPS, ITERATIONS, PARTICLES, DRAWS = (6, 3, 2, 20) if SMOKE else (40, 400, 8, 4000)

# %% [markdown]
# ## How good is the sum?
#
# `FractionalNoise` lays the speeds $\gamma_i$ geometrically between the horizon and the shortest time of interest,
# and takes the weights $\omega_i$ of the smallest mean squared error over the horizon, in closed form. The first
# speed is 0, Brownian motion itself: with it a Hurst index of ½ is exact.

# %%
fine = torch.linspace(0.02, 1.0, 50)
noises = {hurst: pl.FractionalNoise(hurst, horizon=1.0, resolution=0.01) for hurst in HURST}
print("Hurst   error of the path (rms, relative)   largest error of the covariance (variance at 1 is 1)")
for hurst, noise in noises.items():
    off = (noise.covariance(fine) - noise.exact_covariance(fine)).abs().max()
    print(f"{hurst:4.1f}    {noise.relative_error():12.1e}   {float(off):34.1e}")

# %% [markdown]
# The path's error is that against the fractional Brownian motion which the same $W$ drives: for a rough path it is
# what happens within the resolution, of which the covariance hardly knows.
#
# ## A bridge
#
# Let the path start at 0 and be seen at time 1, at 0, with a small error $\varepsilon$. Then the variance in between
# is $K(t,t) - K(t,1)^2/(K(1,1)+\varepsilon^2)$ with the covariance $K$, which is known three times: of fractional
# Brownian motion, of the sum, and of the chain that the sum becomes with steps of finite length.
#
# The control may be linear in the state, since the answer is: a push towards a target in proportion to what is
# missing, $u = c_k\,(y - m_k\cdot\mathrm{state})$, with the noise damped by $r_k$. All numbers start as if there were
# no memory, and are learned by stochastic variational inference; so is the law of the memory that the path starts
# with.

# %%
SEEN = 0.05  # error of the observation at the end
AT_ZERO = 1e-3  # width of the law of the first position, which is known


def law(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
    """Towards the target in ``context``; ``position`` holds the weights of the state, the gain and the damping."""
    aim, log_gain, log_factor = position[..., :-2], position[..., -2:-1], position[..., -1:]
    state = torch.cat([z[..., :1], z[..., 2:]], -1)  # position and memory; the noise of the last step is over
    missing = context - (aim * state).sum(-1, keepdim=True)
    return pl.Control(log_gain.exp() * missing, log_factor.exp())


def controlled(
    diffusion: pl.FractionalDiffusion, start: dist.MultivariateNormal, times: Tensor, gains: Tensor, target: Tensor
) -> pl.ControlledPath:
    """The prior under that law; the weights of the memory are given in units of each process's size."""
    unit = torch.cat([torch.ones(1), (2.0 * diffusion.noise.speeds[1:]).sqrt(), torch.ones(2)])
    return pl.ControlledPath(
        diffusion, start, times, pl.Controls(law, gains * unit, target, port=diffusion.control_port)
    )


def first_gains(batch: tuple[int, ...], diffusion: pl.FractionalDiffusion, gain: Tensor, factor: float) -> Tensor:
    """Gains of a process without memory, disturbed a little so that every seed starts elsewhere."""
    gains = torch.zeros(len(gain), *batch, diffusion.noise.processes + 3)
    gains[..., 0] = 1.0
    gains[..., -2] = gain.log().reshape(-1, *(1,) * len(batch))
    gains[..., -1] = factor
    return gains + 0.05 * torch.randn_like(gains)


def chain_covariance(diffusion: pl.FractionalDiffusion, times: Tensor) -> Tensor:
    """Of the chain's positions after the first, exact: what each standard normal number does to them, squared."""
    memory, steps = diffusion.noise.processes, len(times) - 1
    one = torch.eye(memory + steps)
    start = torch.cat([torch.zeros(memory + steps, 2), one[:, :memory] @ diffusion.noise.stationary_factor().mT], -1)
    noise = torch.nn.functional.pad(one[:, memory:, None], (0, diffusion.dim - 1))
    path = pl.LangevinPath(diffusion, diffusion.first(torch.zeros(1), torch.ones(1)), times)
    batch = path.batch_shape[:-1]
    z = path.driven(start.expand(*batch, *start.shape), noise.expand(*batch, *noise.shape))
    return z[..., 1:, 0].mT @ z[..., 1:, 0]


def bridge_variance(covariance: Tensor) -> Tensor:
    """Variance at every time given that the last position was seen."""
    last = covariance[:, -1]
    return covariance.diagonal() - last.square() / (last[-1] + SEEN**2)


# %%
def learn(model: Callable[..., None], guide: Callable[..., None], plates: int, *data: Tensor) -> None:
    """Stochastic variational inference, at a rate that falls."""
    optimiser = pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.05 ** (1 / ITERATIONS), "clip_norm": 1e6})
    elbo = pl.PathELBO(num_particles=PARTICLES, vectorize_particles=True, max_plate_nesting=plates)
    svi = pyro.infer.SVI(model, guide, optimiser, elbo)
    for _ in range(ITERATIONS):
        svi.step(*data)


def no_drift(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def learned_bridge(noise: pl.FractionalNoise) -> tuple[Tensor, Tensor]:
    """Variance along the bridge ``(seed, time)``, and the gap to the chain's evidence ``(seed,)``."""
    times = torch.linspace(0.0, 1.0, N_STEPS + 1)
    diffusion = pl.FractionalDiffusion(no_drift, noise, scale=1.0)
    first = diffusion.first(torch.zeros(1), torch.full((1,), AT_ZERO))

    def model() -> None:
        with pyro.plate("seeds", SEEDS):  # independent fits, side by side
            z = pyro.sample("z", pl.LangevinPath(diffusion, first, times))
            pyro.sample("y", dist.Normal(z[..., -1, 0], SEEN), obs=torch.zeros(SEEDS))

    def posterior() -> pl.ControlledPath:
        left = 1.0 - times[:-1] + SEEN**2
        gains = pyro.param("gains", lambda: first_gains((SEEDS,), diffusion, 1.0 / left, 0.0))
        spread = pyro.param(
            "spread",
            lambda: torch.eye(diffusion.dim).repeat(SEEDS, 1, 1),
            constraint=dist.constraints.lower_cholesky,
        )
        start = dist.MultivariateNormal(first.loc, scale_tril=first.scale_tril @ spread)
        return controlled(diffusion, start, times, gains, torch.zeros(N_STEPS, 1, 1))

    def guide() -> None:
        with pyro.plate("seeds", SEEDS):
            pyro.sample("z", posterior())

    pyro.clear_param_store()
    learn(model, guide, 1)
    with torch.no_grad():
        path = posterior()
        z = path.sample(torch.Size([DRAWS]))
        seen = dist.Normal(z[..., -1, 0], SEEN).log_prob(torch.zeros(()))
        bound = (seen + pl.LangevinPath(diffusion, first, times).log_prob(z) - path.log_prob(z)).mean(0)
        total = (chain_covariance(diffusion, times)[-1, -1] + SEEN**2 + AT_ZERO**2).sqrt()
        return z[..., 0].var(0), dist.Normal(0.0, total).log_prob(torch.zeros(())) - bound


bridges = {}
for hurst, noise in noises.items():
    pyro.set_rng_seed(0)
    bridges[hurst] = learned_bridge(noise)

# %%
grid = torch.linspace(0.0, 1.0, N_STEPS + 1)[1:]
exact = {hurst: bridge_variance(noise.exact_covariance(grid)) for hurst, noise in noises.items()}
summed = {hurst: bridge_variance(noise.covariance(grid)) for hurst, noise in noises.items()}
stepped = {
    hurst: bridge_variance(chain_covariance(pl.FractionalDiffusion(no_drift, noise, scale=1.0), grid_of).detach())
    for hurst, noise in noises.items()
    for grid_of in [torch.linspace(0.0, 1.0, N_STEPS + 1)]
}
figure, axes = plt.subplots(figsize=(5.5, 3.4))
for number, hurst in enumerate(HURST):
    axes.plot(grid, exact[hurst], color=f"C{number}", lw=1.2, label=f"Hurst {hurst}")
    axes.plot(grid, stepped[hurst], "--", color=f"C{number}", lw=1)
    for variance in bridges[hurst][0]:
        axes.plot(grid[::3], variance[1::3], "o", ms=3, mfc="none", color=f"C{number}")
axes.set(xlabel="t", ylabel="variance of the bridge", title="Exact (lines), chain (dashed), learned (dots, 3 seeds)")
axes.legend(fontsize=8)
figure.tight_layout()

# %%
print(f"variance of the bridge, {N_STEPS} steps; learned: {DRAWS} draws, +-{(2 / DRAWS) ** 0.5:.1%}")
print("Hurst    t   exact     sum   chain   learned, three seeds")
for hurst in HURST:
    for k in (N_STEPS // 6, N_STEPS // 2, (5 * N_STEPS) // 6):
        learned = " ".join(f"{float(v[k]):7.4f}" for v in bridges[hurst][0])
        values = (float(table[hurst][k - 1]) for table in (exact, summed, stepped))
        print(f"{hurst:4.1f}  {float(grid[k - 1]):4.2f} " + " ".join(f"{v:7.4f}" for v in values) + f"  {learned}")
print("\ngap of the bound to the chain's evidence, nats")
for hurst in HURST:
    print(f"{hurst:4.1f}   " + " ".join(f"{float(value):7.3f}" for value in bridges[hurst][1]))

# %% [markdown]
# ## Which Hurst index have these data?
#
# A fractional Ornstein–Uhlenbeck process, $dx = -\lambda x\,dt + s\,dB$ with Hurst index 0.3, from 0, seen with
# errors whose size is known. It is simulated from the *exact* covariance of fractional Brownian motion with steps
# twenty times finer, three data sets of 48 series. The model does not know its index: it is fitted with each of three.
# Decay and scale are learned together with the control, which now also reads the next few observations. Its gains are
# relative to those of a process without memory, which follow from scale and error, so that the control moves along
# when the scale does.

# %%
TRUE = {"hurst": 0.3, "decay": 2.0, "scale": 1.0, "error": 0.05}
N_SERIES, N_TIMES, GAP, FINER, AHEAD = (3, 6, 0.05, 4, 3) if SMOKE else (48, 40, 0.05, 20, 6)
seen_at = GAP * torch.arange(N_TIMES + 1)


def simulate(seed: int) -> Tensor:
    """Observations ``(series, time)`` after the start."""
    pyro.set_rng_seed(seed)
    step = GAP / FINER
    at = step * torch.arange(1, FINER * N_TIMES + 1)
    fractional = pl.FractionalNoise(TRUE["hurst"], horizon=float(at[-1]), resolution=step)
    motion = torch.randn(N_SERIES, len(at)) @ torch.linalg.cholesky(fractional.exact_covariance(at)).mT
    x, path = torch.zeros(N_SERIES), []
    for kick in torch.nn.functional.pad(motion, (1, 0)).diff(dim=-1).unbind(-1):
        x = x - TRUE["decay"] * x * step + TRUE["scale"] * kick
        path.append(x)
    at_observations = torch.stack(path, -1)[:, FINER - 1 :: FINER]
    return at_observations + TRUE["error"] * torch.randn(at_observations.shape)


data = torch.stack([simulate(seed) for seed in range(SEEDS)])


class Process(torch.nn.Module):
    """The model's parameters, one of each for every data set, and its diffusion; the error is known or learned."""

    def __init__(self, hurst: float, *, error_known: bool = True) -> None:
        super().__init__()
        noise = pl.FractionalNoise(hurst, horizon=float(seen_at[-1]), resolution=GAP / 2)
        self.log_decay = torch.nn.Parameter(torch.zeros(SEEDS, 1, 1))
        log_error = torch.full((SEEDS, 1, 1), TRUE["error"]).log()
        self.log_error = log_error if error_known else torch.nn.Parameter(log_error)
        scale = PyroParam(torch.ones(SEEDS, 1, 1), constraint=dist.constraints.positive)
        self.diffusion = pl.FractionalDiffusion(self.pull, noise, scale=scale)
        self.first = self.diffusion.first(torch.zeros(1), torch.full((1,), AT_ZERO))

    def pull(self, x: Tensor) -> Tensor:
        return -self.log_decay.exp() * x

    def without_memory(self) -> Tensor:
        """Log gain and log damping of a step of which nothing but the next observation is known."""
        moved = self.diffusion.scale * GAP**self.diffusion.noise.hurst
        share = moved.square() / (moved.square() + (2.0 * self.log_error).exp())
        return torch.cat([(share / (moved * GAP**0.5)).log(), 0.5 * (1.0 - share).log()], -1)

    def figures(self) -> list[Tensor]:
        """Decay, scale and error, each ``(data set,)``."""
        both = self.log_decay.exp(), self.diffusion.scale, self.log_error.exp()
        return [value.detach().flatten() for value in both]

    def evidence(self) -> Tensor:
        """Exact log evidence of the chain per series, ``(data set,)``."""
        errors = self.log_error.exp().square() * torch.eye(N_TIMES)
        law = dist.MultivariateNormal(torch.zeros(N_TIMES), chain_covariance(self.diffusion, seen_at) + errors)
        return law.log_prob(data.movedim(1, 0)).mean(0)


def fitted(hurst: float) -> tuple[Process, Tensor]:
    """The process learned by variational inference, and its bound per series, ``(data set,)``."""
    process = Process(hurst)
    diffusion = process.diffusion
    padded = torch.cat([data, data[..., -1:].expand(*data.shape[:-1], AHEAD - 1)], -1)
    ahead = padded.unfold(-1, AHEAD, 1).movedim(2, 0)  # (time, data set, series, observation)

    def model(y: Tensor) -> None:
        pyro.module("process", process)
        with pyro.plate("data sets", SEEDS, dim=-2), pyro.plate("series", N_SERIES, dim=-1):
            z = pyro.sample("z", pl.LangevinPath(diffusion, process.first, seen_at))
            pyro.sample("y", dist.Normal(z[..., 1:, 0], process.log_error.exp()).to_event(1), obs=y)

    def posterior(y: Tensor) -> pl.ControlledPath:
        size = diffusion.dim
        gains = pyro.param("gains", lambda: first_gains((SEEDS, 1), diffusion, torch.ones(N_TIMES), 0.0))
        gains = gains + torch.nn.functional.pad(process.without_memory(), (diffusion.noise.processes + 1, 0))
        weight = pyro.param("weight", lambda: torch.eye(AHEAD)[0].repeat(N_TIMES, SEEDS, 1, 1))
        pull = pyro.param("pull", lambda: torch.zeros(SEEDS, 1, size, AHEAD))
        eye = torch.eye(size).repeat(SEEDS, 1, 1, 1)
        spread = pyro.param("spread", lambda: eye, constraint=dist.constraints.lower_cholesky)
        factor = process.first.scale_tril
        loc = process.first.loc + (factor @ (pull @ y[..., :AHEAD, None])).squeeze(-1)
        start = dist.MultivariateNormal(loc, scale_tril=factor @ spread)
        return controlled(diffusion, start, seen_at, gains, (weight * ahead).sum(-1, keepdim=True))

    def guide(y: Tensor) -> None:
        with pyro.plate("data sets", SEEDS, dim=-2), pyro.plate("series", N_SERIES, dim=-1):
            pyro.sample("z", posterior(y))

    pyro.clear_param_store()
    learn(model, guide, 2, data)
    with torch.no_grad():
        path, bounds = posterior(data), []
        for _ in range(3 if SMOKE else 20):
            z = path.sample()
            seen = dist.Normal(z[..., 1:, 0], process.log_error.exp()).log_prob(data).sum(-1)
            prior = pl.LangevinPath(diffusion, process.first, seen_at)
            bounds.append((seen + prior.log_prob(z) - path.log_prob(z)).mean(-1))
    return process, torch.stack(bounds).mean(0)


def most_likely(hurst: float, *, error_known: bool) -> Process:
    """The same process at the maximum of its exact evidence, which no guide enters."""
    process = Process(hurst, error_known=error_known)
    optimiser = torch.optim.Adam(process.parameters(), lr=0.1)
    steps = 3 if SMOKE else 120
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.03 ** (1 / steps))
    for _ in range(steps):
        optimiser.zero_grad()
        (-process.evidence().sum()).backward()
        optimiser.step()
        decay.step()
    return process


by_bound, known, free = {}, {}, {}
for hurst in HURST:
    pyro.set_rng_seed(1)
    by_bound[hurst] = fitted(hurst)
    known[hurst], free[hurst] = (most_likely(hurst, error_known=told) for told in (True, False))

# %% [markdown]
# ## Recovered against true
#
# Evidences are log evidences a series, relative to the best that the true index reaches.

# %%
def row(values: Tensor) -> str:
    return " ".join(f"{float(value):7.3f}" for value in values)


print("three data sets each       learned by the bound       most likely, error known   most likely, error learned")
with torch.no_grad():
    best_known, best_free = known[TRUE["hurst"]].evidence(), free[TRUE["hurst"]].evidence()
    for hurst in HURST:
        (process, bound), told, untold = by_bound[hurst], known[hurst], free[hurst]
        print(f"Hurst {hurst}  bound           {row(bound - best_known)}")
        exact = row(process.evidence() - best_known), row(told.evidence() - best_known)
        print(f"           exact evidence  {exact[0]}    {exact[1]}    {row(untold.evidence() - best_free)}")
        columns = zip(process.figures(), told.figures(), untold.figures(), strict=True)
        for name, figures in zip(("decay", "scale", "error"), columns, strict=True):
            print(f"           {name} ({TRUE[name]:4.2f})    " + "    ".join(row(figure) for figure in figures))
    print(f"\nHurst index preferred in each data set (truth {TRUE['hurst']})")
    for name, scores in (
        ("by the bound", [by_bound[hurst][1] for hurst in HURST]),
        ("by the exact evidence, error known", [known[hurst].evidence() for hurst in HURST]),
        ("by the exact evidence, error learned", [free[hurst].evidence() for hurst in HURST]),
    ):
        print(f"{name:40s}", *(HURST[k] for k in torch.stack(scores).argmax(0).tolist()))

# %% [markdown]
# ## What this cannot tell
#
# - The sum is fractional between its resolution and its horizon only. A path's own roughness, a statement about
#   infinitely short times, is not in it.
# - Roughness and a white error speak of the same short times. With the error known, the evidence tells the true index
#   from its neighbours; with the error learned too, most of that difference is gone, and a wrong index hides behind a
#   larger error, another scale and a decay that is off by a factor.
# - What the bound loses is what the control has not learned yet: it has hundreds of numbers, and where they lag behind,
#   decay and scale do too. The most likely values beside it show by how much. A bound that is not tight can also prefer
#   an index for the wrong reason.
# - The Hurst index is not a parameter here: it enters the weights, and is chosen by comparing fits.
# - The control was linear, and every step had gains of its own, because the problem is linear. For another drift give
#   `Controls` a network; no exact figure will then stand beside it.
