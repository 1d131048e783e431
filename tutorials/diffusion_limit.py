# %% [markdown]
# # From layers to a diffusion
#
# **Question.** A deep latent Gaussian model adds a little Gaussian noise in each of its layers. With ever more layers
# that are ever less noisy it becomes a diffusion (Tzen & Raginsky, *Neural stochastic differential equations: deep
# latent Gaussian models in the diffusion limit*, 2019), and its variational posterior a *mean shift*: a control added
# to the drift. How many layers does it take until the bound on the evidence is the evidence, and does a network find
# the mean shift that the theory calls optimal?
#
# The model is one whose answers are known: Brownian motion from $X_0=0$, seen once at its end with noise $s$,
#
# $$ X_{i+1} = X_i + \sqrt{h}\,\xi_i,\quad h = 1/k,\qquad y \mid X_1 \sim \mathcal N(X_1, s^2). $$
#
# For any number of layers $k$ the evidence is $\log \mathcal N(y; 0, 1+s^2)$. The optimal mean shift is $u(x,t) =
# (y-x)/(1-t+s^2)$ in the limit; it is the best one for every $k$ too (a linear-quadratic problem, in which noise does
# not change the best control), and costs $\tfrac12\int u^2\,dt$.

# %%
import math
import os
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

import pyro_langevin as pl

SMOKE = bool(os.environ.get("PYRO_LANGEVIN_SMOKE"))  # a few seconds, to see that it runs
LAYERS = [4, 8] if SMOKE else [4, 8, 16, 32, 64, 128, 256]
SEEDS = [0, 1, 2]
FIRST_STEPS, MORE_STEPS = (3, 2) if SMOKE else (600, 60)  # iterations at the first depth, and at each further one
BATCH, HELD_OUT = (8, 8) if SMOKE else (256, 6000)  # observations of each iteration, and held out
NOISE = 0.5

START = dist.Delta(torch.zeros(1), event_dim=1)
Law = Callable[[Tensor, Tensor, Tensor], pl.Control]

# %% [markdown]
# ## The gap that $k$ layers leave
#
# A layer of the exact posterior has less noise than one of the prior: its variance is smaller by the factor
# $(1-t_{i+1}+s^2)/(1-t_i+s^2)$. A mean shift leaves the noise as it is, and must lose something by that. How much
# follows from the linear-quadratic problem, and is the same for every $y$:
#
# $$ \log p(y) - \mathrm{ELBO}_k
#    = \frac12\sum_{i=1}^{k} \frac{h}{s^2+1-t_i} - \frac12\log\frac{1+s^2}{s^2}
#    = \frac h4\Bigl(\frac1{s^2}-\frac1{1+s^2}\Bigr) + O(h^2). $$
#
# The gap closes with the first order of $h$. A guide that may damp the noise of its layers too can have none at any
# depth.

# %%
def exact_gap(n_layers: int) -> float:
    left = NOISE**2 + 1.0 - np.arange(1, n_layers + 1) / n_layers
    return 0.5 * float(np.sum(1.0 / left)) / n_layers - 0.5 * math.log((1.0 + NOISE**2) / NOISE**2)


# %% [markdown]
# ## The model as a Pyro program
#
# The layers are the steps of one path, and the path is one sample site. The guide is the same chain under a control:
# a network that is told the state, the time and the observation, and starts at zero, that is, at the prior.

# %%
class Shift(nn.Module):
    """Control ``u(x, t; y)``, and a factor on the noise where that is allowed."""

    def __init__(self, *, damped: bool, hidden: int = 48) -> None:
        super().__init__()
        self.damped = damped
        last = nn.Linear(hidden, 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)

    def forward(self, z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        told = torch.cat(torch.broadcast_tensors(z, position, context), -1)
        push, log_factor = self.network(told).split(1, -1)
        return pl.Control(push, log_factor.exp() if self.damped else torch.ones_like(push))


class DeepLatentGaussian:
    """So many layers, what is seen of the last one (with noise), and a guide with this control."""

    def __init__(self, n_layers: int, seen: Callable[[Tensor], Tensor], control: Law) -> None:
        self.prior = pl.ItoDiffusion(torch.zeros_like, 1, noise=pl.AdditiveNoise(1.0))
        self.times = torch.linspace(0.0, 1.0, n_layers + 1)
        self.seen, self.control = seen, control

    def model(self, y: Tensor) -> None:
        with pyro.plate("observations", len(y)):
            z = pyro.sample("z", pl.LangevinPath(self.prior, START, self.times))
            pyro.sample("y", dist.Normal(self.seen(z[..., -1, 0]), NOISE), obs=y)

    def guide(self, y: Tensor) -> None:
        pyro.module("control", self.control)
        with pyro.plate("observations", len(y)):
            pyro.sample("z", self.posterior(y))

    def posterior(self, y: Tensor) -> pl.ControlledPath:
        told = y[:, None].expand(len(self.times) - 1, len(y), 1)
        controls = pl.Controls(self.control, self.times[:-1, None, None], told)
        return pl.ControlledPath(self.prior, START.expand((len(y),)), self.times, controls)

    def train(self, draw: Callable[[int], Tensor], steps: int, rate: float) -> None:
        """On fresh observations at every iteration, so that nothing is fitted to a sample."""
        pyro.clear_param_store()
        optimiser = pyro.optim.ClippedAdam({"lr": rate, "lrd": 0.1 ** (1 / steps), "clip_norm": 10.0})
        svi = pyro.infer.SVI(self.model, self.guide, optimiser, pl.PathELBO())
        for _ in range(steps):
            svi.step(draw(BATCH))

    @torch.no_grad()
    def bound(self, y: Tensor) -> Tensor:
        """``log p(y, z) - log q(z)`` of one draw for each observation, by the exact densities of the chain."""
        posterior = self.posterior(y)
        z = posterior.sample()
        seen = dist.Normal(self.seen(z[..., -1, 0]), NOISE).log_prob(y)
        return seen + pl.LangevinPath(self.prior, START, self.times).log_prob(z) - posterior.log_prob(z)


# %% [markdown]
# ## Seven depths, three seeds, with the noise as it is and damped
#
# The best shift is one function of state and time for all depths. So each depth starts with the network of the one
# before it.

# %%
def itself(x: Tensor) -> Tensor:
    return x


def draw_linear(n: int) -> Tensor:
    return math.sqrt(1.0 + NOISE**2) * torch.randn(n)


def gap(deep: DeepLatentGaussian, y: Tensor, evidence: Tensor) -> tuple[float, float]:
    """Mean of evidence minus bound over held-out observations, and its standard error."""
    missed = evidence - deep.bound(y)
    return float(missed.mean()), float(missed.std()) / math.sqrt(len(y))


found: dict[tuple[int, bool], list[tuple[float, float]]] = {}
for damped in (False, True):
    for seed in SEEDS:
        pyro.set_rng_seed(seed)
        control = Shift(damped=damped)
        for n_layers in LAYERS:
            deep = DeepLatentGaussian(n_layers, itself, control)
            first = n_layers == LAYERS[0]
            deep.train(draw_linear, FIRST_STEPS if first else MORE_STEPS, 0.01 if first else 0.002)
            y = draw_linear(HELD_OUT)
            evidence = dist.Normal(0.0, math.sqrt(1.0 + NOISE**2)).log_prob(y)
            found.setdefault((n_layers, damped), []).append(gap(deep, y, evidence))
        if seed == SEEDS[0] and not damped:
            linear_shift = control

# %%
figure, axes = plt.subplots(figsize=(5.0, 3.2))
axes.loglog(LAYERS, [exact_gap(k) for k in LAYERS], "k-", lw=1, label="best mean shift (closed form)")
for damped, marker, name in ((False, "o", "learned mean shift"), (True, "x", "learned, noise damped too")):
    values = [value for k in LAYERS for value, _ in found[k, damped]]
    axes.loglog(np.repeat(LAYERS, len(SEEDS)), values, marker, ms=5, mfc="none", label=name)
axes.set(xlabel="layers", ylabel="evidence - ELBO (nats)", title="The gap closes with the first order")
axes.legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## An observation with two answers
#
# Let the *size* of the last layer be seen, $y \mid X_1 \sim \mathcal N(|X_1|, s^2)$. For $y = 1.5$ both $X_1\approx
# 1.5$ and $-1.5$ are answers, and the posterior has two branches. The evidence is an integral over $X_1$, the optimal
# shift $u = \partial_x \log \mathrm E[\,p(y\mid X_1) \mid X_t = x\,]$ a ratio of two. It is that of the limit: for
# few layers no closed form is at hand.

# %%
NODES = torch.linspace(-6.0, 6.0, 601)


def size_of(x: Tensor) -> Tensor:
    return x.abs()


def draw_sizes(n: int) -> Tensor:
    return torch.randn(n).abs() + NOISE * torch.randn(n)


def evidence_of_sizes(y: Tensor) -> Tensor:
    spacing = NODES[1] - NODES[0]
    joint = dist.Normal(0.0, 1.0).log_prob(NODES) + dist.Normal(NODES.abs(), NOISE).log_prob(y[:, None])
    return torch.logsumexp(joint, -1) + spacing.log()


def optimal_linear(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
    return pl.Control((context - z) / (1.0 - position + NOISE**2), torch.ones(1))


def optimal_size(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
    left = 1.0 - position
    log_weight = dist.Normal(NODES.abs(), NOISE).log_prob(context) - 0.5 * (NODES - z).square() / left
    end = (torch.softmax(log_weight, -1) * NODES).sum(-1, keepdim=True)
    return pl.Control((end - z) / left, torch.ones(1))


DEEP = [4, 8] if SMOKE else [16, 64]
sizes: dict[int, list[tuple[float, float]]] = {}
best: dict[int, tuple[float, float]] = {}
for seed in SEEDS:
    pyro.set_rng_seed(seed)
    control = Shift(damped=False)
    for n_layers in DEEP:
        deep = DeepLatentGaussian(n_layers, size_of, control)
        first = n_layers == DEEP[0]
        deep.train(draw_sizes, FIRST_STEPS if first else MORE_STEPS, 0.01 if first else 0.002)
        y = draw_sizes(HELD_OUT)
        sizes.setdefault(n_layers, []).append(gap(deep, y, evidence_of_sizes(y)))
    if seed == SEEDS[0]:
        size_shift = control
for n_layers in DEEP:
    y = draw_sizes(HELD_OUT)
    best[n_layers] = gap(DeepLatentGaussian(n_layers, size_of, optimal_size), y, evidence_of_sizes(y))

# %%
x = torch.linspace(-2.5, 2.5, 101)[:, None]
cases = (("$y = X_1$ + noise, $y = 1$", 1.0, linear_shift, optimal_linear),
         ("$y = |X_1|$ + noise, $y = 1.5$", 1.5, size_shift, optimal_size))
figure, panels = plt.subplots(1, 2, figsize=(8.0, 3.2))
for axes, (title, value, learned, exact) in zip(panels, cases, strict=True):
    for number, time in enumerate((0.0, 0.5, 0.9)):
        told = torch.full_like(x, time), torch.full_like(x, value)
        with torch.no_grad():
            axes.plot(x, exact(x, *told).push, "-", color=f"C{number}", lw=1, label=f"t = {time}")
            axes.plot(x, learned(x, *told).push, ":", color=f"C{number}", lw=2.5)
    axes.set(xlabel="state x", ylabel="shift u", title=title)
    axes.legend(fontsize=8)
figure.suptitle("Optimal (lines) and learned (dots) mean shift", y=1.0)
figure.tight_layout()

# %% [markdown]
# At the start every path is at $x = 0$: what a network says elsewhere at $t=0$ no bound ever asked.
#
# ## Recovered against true

# %%
print("evidence - ELBO in nats a held-out observation; +- is the standard error of its mean\n")
print("y = X1 + noise     best shift   learned shift, three seeds     +-       shift and noise, three seeds   +-")
for k in LAYERS:
    cells = []
    for damped in (False, True):
        values, errors = zip(*found[k, damped], strict=True)  # three seeds
        cells.append(" ".join(f"{v:8.4f}" for v in values) + f"   {max(errors):.4f}")
    print(f"{k:4d} layers        {exact_gap(k):8.4f}  {cells[0]}   {cells[1]}")
gains = [exact_gap(k) for k in LAYERS]
print(f"order of the last two: {math.log(gains[-2] / gains[-1]) / math.log(LAYERS[-1] / LAYERS[-2]):.3f} (exact: 1)")
print("\ny = |X1| + noise   limit's shift       learned shift, three seeds     +-")
for k in DEEP:
    values, errors = zip(*sizes[k], strict=True)
    line = " ".join(f"{v:8.4f}" for v in values)
    print(f"{k:4d} layers        {best[k][0]:8.4f} +- {best[k][1]:.4f}  {line}   {max(errors):.4f}")

# %% [markdown]
# The two guides differ by what layers of full noise must lose. What both have left, and what the mean shift has left
# once its own gap has become smaller, is the network's error: it does not close with more layers, and a diffusion
# limit does not help with it.
#
# ## What this cannot tell
#
# - The prior was given, a Brownian motion. With a learned drift the limit is the same, but a bound that is loose
#   by the gap above pulls on what is learned: with few layers let the noise be damped, as the package's own guides do.
# - The observation is one, at the end. With many along the path, guides that read them (`SteeredGuide`) start from
#   the data and not from the prior, and train in a fraction of the time.
# - Where the posterior has two branches the network must learn a shift that turns over sharply between them, and stays
#   further behind.
