# %% [markdown]
# # Forecasting a walk from three frames
#
# **Question.** A person's walk was recorded as 50 joint angles. After three frames, how well are the next 297 foretold,
# and can a Langevin prior, made for systems that come to rest, hold a cycle at all?
#
# The data are subject 35 of the CMU motion capture library, 16 walks of 300 frames to train on, 3 to validate, 4 to
# test. The published score is the mean squared error of the mean forecast over the 297 frames of the test walks:
# 4.03 for the latent SDE of Li et al. (2020), though public attempts to repeat it came out near 9.

# %%
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from scipy.interpolate import CubicSpline
from torch import nn
from torch.distributions import constraints

import pyro_langevin as pl
from pyro_langevin import datasets

SMOKE = bool(os.environ.get("PYRO_LANGEVIN_SMOKE"))  # a few seconds, to see that it runs
STEPS, BATCH, DRAWS, SEEDS = (3, 4, 2, (0, 1)) if SMOKE else (400, 24, 50, (0, 1, 2))
SIZE, WIDTH, EVERY = 6, 48, 3  # latent coordinates, hidden units, frames a step

train, valid, test = (torch.as_tensor(walks, dtype=torch.get_default_dtype()) for walks in datasets.walking())
MEAN = train.mean((0, 1))
spread, axes = torch.linalg.svd((train - MEAN).flatten(0, 1), full_matrices=False)[1:]
UNIT = spread / (len(train) * train.shape[1]) ** 0.5


def posture(walks, size):
    """Standardised principal coordinates of frames."""
    return (walks - MEAN) @ axes[:size].mT / UNIT[:size]


def period(walks):
    """Frames a cycle, from how far the two largest coordinates turn."""
    turning = posture(walks, 2).numpy()
    angle = np.unwrap(np.arctan2(turning[..., 1], turning[..., 0]), axis=1)
    return 2 * np.pi * (walks.shape[1] - 1) / np.abs(angle[:, -1] - angle[:, 0])


CYCLE = float(period(train).mean())
for name, walks in (("train", train), ("validate", valid), ("test", test)):
    print(f"frames a cycle, {name:9s}" + " ".join(f"{one:.0f}" for one in period(walks)))
kept = posture(test, SIZE) * UNIT[:SIZE] @ axes[:SIZE] + MEAN
print(f"test error of the best {SIZE} linear coordinates: {float((test - kept).square().mean()):.2f}")

# %% [markdown]
# ## What the prior must be
#
# A cycle runs one way round. The force of a potential cannot drive one: overdamped, it rests in a well; with momenta it
# rings at the frequencies of the well, one for each coordinate, and friction takes the ringing away. What holds a gait
# is a *rotational* drift, which has no potential. `ItoDiffusion` takes any drift. There are then no states and no
# barriers to report, and asking for them is refused.
#
# Each walk keeps a tempo of its own, so that is a coordinate as well, on which nothing pulls:
#
# $$dx = e^{\tau}\, b(x)\,dt + s\,dW, \qquad d\tau = s_\tau\,dW$$
#
# Time is counted in radians of the mean cycle, in steps of three frames.


# %%
class Gait(nn.Module):
    """Drift of posture and log tempo."""

    def __init__(self):
        super().__init__()
        self.turn = nn.Linear(SIZE, SIZE)
        self.bend = nn.Sequential(nn.Linear(SIZE, WIDTH), nn.Tanh(), nn.Linear(WIDTH, SIZE))
        x = posture(train, SIZE)
        velocity = (x[:, EVERY:] - x[:, :-EVERY]) / (EVERY * RADIAN)
        start = torch.linalg.lstsq(x[:, :-EVERY].flatten(0, 1), velocity.flatten(0, 1)).solution
        with torch.no_grad():  # from the linear drift that fits best
            self.turn.weight.copy_(start.mT)
            self.turn.bias.zero_()
            self.bend[2].weight.normal_(std=0.02)
            self.bend[2].bias.zero_()

    def forward(self, z):
        x, tempo = z[..., :SIZE], z[..., SIZE:]
        return torch.cat([tempo.exp() * (self.turn(x) + self.bend(x)), torch.zeros_like(tempo)], -1)


RADIAN = 2 * np.pi / CYCLE
frames = torch.tensor([0, 1, 2, *range(5, train.shape[1], EVERY)])


def log_tempo(walks):
    return -torch.as_tensor(period(walks) / CYCLE).log().to(walks)


tempos = log_tempo(train)
TEMPO_SPREAD = tempos.std()[None]
print(f"log tempo of the training walks: sd {TEMPO_SPREAD.item():.3f}")


def positive(value):
    value = torch.as_tensor(value, dtype=torch.get_default_dtype())
    return PyroParam(value, constraint=constraints.independent(constraints.positive, value.dim()))


class Walk(PyroModule):
    """The walk as a Pyro model, and its guide, which reads three frames."""

    def __init__(self):
        super().__init__()
        self.build()
        self.dynamics = self.prior()

    def prior(self):
        return pl.ItoDiffusion(Gait(), SIZE + 1, noise=pl.AdditiveNoise(positive([0.05] * SIZE + [0.005])))

    def build(self):
        self.linear = nn.Linear(SIZE, 50)
        self.curved = nn.Sequential(nn.Linear(SIZE, 32), nn.Tanh(), nn.Linear(32, 50))
        self.noise = positive(2.0)  # one size for all channels, as in the score
        self.width = positive([0.1] * SIZE)
        self.tempos = nn.Parameter(tempos.clone())
        self.read = nn.Linear(3 * SIZE, SIZE)
        with torch.no_grad():
            self.read.weight.copy_(torch.eye(3 * SIZE)[:SIZE])  # the first frame
            self.read.bias.zero_()
            self.linear.weight.copy_((axes[:SIZE] * UNIT[:SIZE, None]).mT)
            self.linear.bias.copy_(MEAN)
            self.curved[2].weight.zero_()
            self.curved[2].bias.zero_()

    def decoded(self, z):
        return self.linear(z[..., :SIZE]) + self.curved(z[..., :SIZE])

    def first(self, three, tempo, tempo_width):
        """Law of the first state: a posture that is read off three frames, and a tempo."""
        loc = torch.cat([self.read(posture(three, SIZE).flatten(1)), tempo], -1)
        return dist.Normal(loc, torch.cat([self.width, tempo_width])).to_event(1)

    def model(self, y, which, grid):
        scale = torch.ones(self.dynamics.dim)
        if self.dynamics.dim == SIZE + 1:
            scale[SIZE:] = TEMPO_SPREAD
        path = pl.LangevinPath(self.dynamics, dist.Normal(torch.zeros_like(scale), scale).to_event(1), grid)
        with pyro.plate("walks", len(y)):
            z = pyro.sample("z", path)
            pyro.sample("y", dist.Normal(self.decoded(z), self.noise).to_event(2), obs=y)

    def guide(self, y, which, grid):
        n, dim = grid.n_points - 1, self.dynamics.dim
        silent = pl.Messages(torch.zeros(n, 1, dim), torch.zeros(n, 1, dim, dim))
        first = self.first(y[:, :3], self.tempos[which, None], torch.tensor([0.005]))
        with pyro.plate("walks", len(y)):
            pyro.sample("z", pl.SteeredPath(self.dynamics, first, grid, silent))


# %% [markdown]
# ## Training
#
# The guide reads three frames for the posture; from there on it *is* the prior, whose messages are silent. So the bound
# is the likelihood of the whole stretch under forecasts, less what the first state costs. In training each walk's
# tempo is a parameter; of a new walk it is not known, and drawn from the spread of those in training. Stretches begin
# anywhere in a walk and grow during training.


# %%
def train_walk(kind, seed):
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    walk = kind()
    optimiser = torch.optim.AdamW(walk.parameters(), lr=5e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=STEPS, pct_start=0.1)
    bound = pl.PathELBO().differentiable_loss
    losses = []
    for step in range(STEPS):
        n = min(len(frames), 20 + int(len(frames) * step / (0.6 * STEPS)))
        which = torch.randint(len(train), (BATCH,))
        begin = torch.randint(train.shape[1] - int(frames[n - 1]), (BATCH,))
        stretch = train[which[:, None], begin[:, None] + frames[:n]]
        loss = bound(walk.model, walk.guide, stretch, which, pl.TimeGrid(frames[:n] * RADIAN)) / stretch.numel()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(walk.parameters(), 0.5)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return walk, losses


@torch.no_grad()
def forecast(walk, walks, tempo, spread):
    """Draws of all frames, ``(draw, walk, frame, channel)``, from the first three and a law of log tempo."""
    tempo = torch.as_tensor(tempo).to(walks).expand(len(walks)).unsqueeze(-1)
    first = walk.first(walks[:, :3], tempo, torch.as_tensor(spread).to(walks).reshape(1))
    path = pl.LangevinPath(walk.dynamics, first, pl.TimeGrid(frames * RADIAN))
    seen = walk.decoded(path.rsample(torch.Size([DRAWS]))).numpy()
    return CubicSpline(frames.numpy(), seen, axis=2)(np.arange(walks.shape[1]))


def score(drawn, walks):
    """Mean squared error of the mean forecast, each walk."""
    return np.square(drawn.mean(0) - walks.numpy())[:, 3:].mean((1, 2))


as_trained = (0.0, TEMPO_SPREAD)
known_walks = torch.cat([tempos, log_tempo(valid)])
as_known = (known_walks.mean(), known_walks.std())
print(f"log tempo, training walks: 0 +- {TEMPO_SPREAD.item():.3f}; with the validation walks: "
      f"{as_known[0].item():.3f} +- {as_known[1].item():.3f}; test walks: "
      + " ".join(f"{one:.3f}" for one in log_tempo(test).tolist()))
rows, fits = [], []
for seed in SEEDS:
    begin = time.process_time()
    walk, losses = train_walk(Walk, seed)
    drawn = forecast(walk, test, *as_known)
    rows.append([
        *(score(forecast(walk, walks, *as_trained), walks).mean() for walks in (train, valid, test)),
        score(drawn, test).mean(),
        score(forecast(walk, test, log_tempo(test), 1e-4), test).mean(),
    ])
    fits.append((walk, drawn))
    print(f"seed {seed}: {time.process_time() - begin:.0f} s of one core, loss {np.mean(losses[-20:]):.3f}, "
          "each test walk " + " ".join(f"{one:.1f}" for one in score(drawn, test)))

# %%
walk, drawn = fits[0]
channel = int(test.var((0, 1)).argmax())
figure, panels = plt.subplots(1, 4, figsize=(11, 2.2), layout="constrained", sharey=True)
for k, panel in enumerate(panels):
    low, high = np.quantile(drawn[:, k, :, channel], [0.05, 0.95], axis=0)
    panel.fill_between(np.arange(300), low, high, color="C1", alpha=0.3, lw=0)
    panel.plot(drawn[:, k, :, channel].mean(0), "C1", label="forecast")
    panel.plot(test[k, :, channel], "k", lw=1, label="walk")
    panel.set(xlabel="frame")
    panel.set_title(f"test walk {k}: {period(test)[k]:.0f} frames a cycle", fontsize=9)
panels[0].set_ylabel(f"joint angle {channel}")
panels[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# ## Why the forecasts slip
#
# The forecasts keep the shape of the gait and lose its phase: two cycles on, five per cent of tempo are half a radian.
# Do three frames tell the tempo? At each frame of the training walks the speed at which the posture moves is compared
# with the speed of the learned cycle at that posture.

# %%
with torch.no_grad():
    gait, x = fits[0][0].dynamics.drift, posture(train, SIZE)
    moves = (x[:, 2:] - x[:, :-2]) / (2 * RADIAN)
    here = x[:, 1:-1]
    cycle = gait.turn(here) + gait.bend(here)
    weight = UNIT[:SIZE].square()  # by how much each coordinate moves the joints
    speed = (moves * cycle * weight).sum(-1) / (cycle.square() * weight).sum(-1)
print(f"speed of three frames, relative to the cycle: sd {speed.std(1).mean().item():.2f} within a walk, "
      f"{speed.mean(1).std().item():.3f} between walks; tempo between walks {TEMPO_SPREAD.item():.3f}")

# %% [markdown]
# ## With a potential instead
#
# The same program on underdamped dynamics: six oscillators, each coupled to all others, whose masses, springs and
# friction are learned. The guide reads momenta off the three frames as well. What turns then is each oscillator in its
# own phase plane, at a pitch that is fixed, and there is no tempo to be drawn.


# %%
class Ringing(Walk):
    """The walk as oscillations in one well."""

    def prior(self):
        self.width = positive([0.1] * (2 * SIZE))
        self.push = nn.Linear(3 * SIZE, SIZE)
        eye = torch.eye(SIZE)
        with torch.no_grad():  # the velocity between the first frame and the third
            self.push.weight.copy_(torch.cat([-eye, 0 * eye, eye], -1) / (2 * RADIAN))
            self.push.bias.zero_()
        potential = pl.CoupledOscillatorPotential(SIZE, SIZE - 1)
        return pl.Underdamped(potential, friction=positive(0.02), mass=positive([1.0] * SIZE))

    def first(self, three, tempo, tempo_width):
        x = posture(three, SIZE).flatten(1)
        return dist.Normal(torch.cat([self.read(x), self.push(x)], -1), self.width).to_event(1)


ringing = []
for seed in SEEDS:
    begin = time.process_time()
    walk, losses = train_walk(Ringing, seed)
    ringing.append([score(forecast(walk, walks, *as_trained), walks).mean() for walks in (train, valid, test)])
    print(f"seed {seed}: {time.process_time() - begin:.0f} s of one core, friction {walk.dynamics.friction.item():.3f} "
          f"a radian of the cycle, test {ringing[-1][-1]:.2f}")

# %% [markdown]
# Of the rotational drift no landscape is to be had. Most of its linear part turns, which no gradient does:

# %%
turn = fits[0][0].dynamics.drift.turn.weight.detach()
turning, pulling = ((turn + sign * turn.mT).square().sum().item() for sign in (-1, 1))
print(f"share of the linear drift that turns: {turning / (turning + pulling):.2f}")
try:
    pl.find_landscape(fits[0][0].dynamics.potential, np.zeros((1, SIZE + 1)))
except pl.NoPotentialError as refusal:
    print(refusal)

# %% [markdown]
# ## Recovered against published

# %%
repeat = (test[:, 3:] - test[:, 2:3]).square().mean()
table = [
    ("rotational drift, training walks", [row[0] for row in rows]),
    ("rotational drift, validation walks", [row[1] for row in rows]),
    ("rotational drift, test walks", [row[2] for row in rows]),
    ("  tempo law of the validation walks too", [row[3] for row in rows]),
    ("  had their tempo been known", [row[4] for row in rows]),
    ("oscillators, training walks", [row[0] for row in ringing]),
    ("oscillators, validation walks", [row[1] for row in ringing]),
    ("oscillators, test walks", [row[2] for row in ringing]),
]
print(f"{'mean squared error':40s} {'seeds ' + ', '.join(map(str, SEEDS)):22s} mean, sd")
for name, found in table:
    each = "  ".join(f"{one:.2f}" for one in found)
    print(f"{name:40s} {each:22s} {np.mean(found):.2f}, {np.std(found, ddof=1):.2f}")
print(f"\npublished, test walks: latent SDE 4.03 (public attempts about 9), latent ODE 5.98, ARCTA 7.62, vector "
      f"autoregression 15.5; the last frame held {repeat:.1f}")

# %% [markdown]
# ## What this cannot tell
#
# * **The published 4.03 is not reached**, nor are 5.98 and 7.62; the score is that of public attempts at the
#   latent SDE. Most of the gap is tempo. It differs between walks, three frames say next to nothing of it (their speed
#   changes twenty times as much within a walk as tempo does between walks), and the walks to be foretold are slower
#   than those in training. Had their tempo been known, the same forecasts would have come within 1.1 of 4.03. A law of
#   tempo that also knows of the slow validation walks helps little: it widens the forecasts as much as it shifts
#   them. How the latent SDE reached 4.03 from the same three frames we cannot say.
# * **The oscillators score what a tuned autoregression does**, for that is what they are: a linear process. They learn
#   a friction near zero to keep ringing, and the training walks almost as well as the rotational drift does. A walk
#   in another tempo is beyond them, as each pitch is a constant of the potential.
# * **No states, no barriers.** A gait is one thing that goes round. The landscape is refused, as it should be.
# * **The bands are those of tempo.** Silent messages train the mean forecast; nothing here calibrates the noise along
#   the way, and without the spread of tempo the bands would be far too narrow.
# * Four test walks of one person: the spread over seeds is far smaller than what other walks would change.
