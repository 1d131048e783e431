# %% [markdown]
# # Firing rates behind sparse spikes
#
# **Question.** Sixty neurons fire about twice a second each. They are driven by a Lorenz system, which nobody has told
# the model of. How well are the rates of neurons that the model never listened to recovered from the others, trial by
# trial, and what does the fitted potential say of states?
#
# The data are the synthetic benchmark of LFADS (Pandarinath et al. 2018): 100 bins of 10 ms, 20 initial states with
# 40 trials of each, 640 trials to train on and 160 to validate. True rates and the Lorenz system come with them. The
# model is that of LangevinFlow (Song et al. 2025): a Langevin prior with momenta on a potential of coupled
# oscillators, a recurrent encoder, a transformer as decoder, Poisson counts.

# %%
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pyro
import torch
from pyro.nn import PyroParam
from torch.distributions import constraints

import pyro_langevin as pl
from pyro_langevin import datasets

SMOKE = bool(os.environ.get("PYRO_LANGEVIN_SMOKE"))  # a few seconds, to see that it runs
STEPS, BATCH, DRAWS, SEEDS = (4, 8, 2, (0, 1)) if SMOKE else (1600, 32, 16, (0, 1, 2))
POSITIONS, FEATURES, BIN = 4, 32, 0.01

train, valid = datasets.lorenz_spikes()
if SMOKE:
    train, valid = (datasets.LorenzSpikes(d.observations.select(range(24)), d.rates[:24], d.states[:24],
                                          d.condition[:24]) for d in (train, valid))
held_out = torch.zeros(60, dtype=torch.bool)
held_out[2::3] = True  # every third neuron: the encoder never sees it
print(f"{float(train.observations.values.mean()) / BIN:.1f} spikes a second and neuron; "
      f"{int(held_out.sum())} neurons held out")

# %% [markdown]
# ## What there is to beat
#
# *Bits per spike* compare the likelihood of the counts with that of each neuron's mean rate. No model can do better
# than the true rates. The usual yardstick is the condition's mean: the smoothed average over the training trials from
# the same initial state. It knows which trials belong together, which the model is not told. The width of its
# kernel is the one that predicts half of the training trials best from the other half. All widths are shown, since a
# narrow kernel follows the rates of the busiest neurons well and predicts spikes badly.

# %%
MEAN_RATE = train.observations.values.mean((0, 1)).numpy() / BIN


def bits_per_spike(rate, data, neurons):
    counts = data.observations.values.numpy()[..., neurons]
    expected, flat = BIN * rate[..., neurons], np.maximum(counts.mean((0, 1)), 1e-6)
    gain = counts * np.log(expected / flat) - (expected - flat)
    return gain.sum() / counts.sum() / np.log(2)


def pooled_r2(rate, data, neurons):
    true = data.rates[..., neurons]
    return 1 - np.square(rate[..., neurons] - true).sum() / np.square(true - true.mean((0, 1))).sum()


def neuron_r2(rate, data, neurons):
    true = data.rates[..., neurons]
    return 1 - np.square(rate[..., neurons] - true).sum((0, 1)) / np.square(true - true.mean((0, 1))).sum((0, 1))


def condition_means(data, of, width):
    counts = data.observations.values.numpy()
    lag = np.arange(-4 * width, 4 * width + 1)
    kernel = np.exp(-0.5 * np.square(lag / width))
    weight = np.convolve(np.ones(counts.shape[1]), kernel, "same")[:, None]
    means = {}
    for condition in np.unique(of.condition):
        same = counts[data.condition == condition]
        mean = same.mean(0) if len(same) else np.tile(BIN * MEAN_RATE, (counts.shape[1], 1))
        smooth = np.apply_along_axis(np.convolve, 0, mean, kernel, "same") / weight
        means[condition] = np.maximum(smooth / BIN, 0.1)  # one spike in ten seconds, so that none is impossible
    return np.stack([means[condition] for condition in of.condition])


def part(data, chosen):
    return datasets.LorenzSpikes(data.observations.select(chosen), data.rates[chosen], data.states[chosen],
                                 data.condition[chosen])


every, hidden = np.ones(60, dtype=bool), held_out.numpy()
odd = np.arange(len(train.condition)) % 2 == 1
one, other = part(train, odd), part(train, ~odd)
width = max((1, 2, 3, 4, 5), key=lambda w: bits_per_spike(condition_means(one, other, w), other, every))
psth = condition_means(train, valid, width)
print(f"chosen: a kernel of {width} bins\n")
print("validation trials             bits/spike: all  held out | rate R2: pooled  median")
means = {f"condition's mean, {w} bin{'s' * (w > 1)}": condition_means(train, valid, w) for w in (1, 2, 3, 4, 5)}
for name, rate in (means | {"true rates": valid.rates}).items():
    print(f"{name:29s}       {bits_per_spike(rate, valid, every):.3f}     {bits_per_spike(rate, valid, hidden):.3f} |"
          f"           {pooled_r2(rate, valid, every):.3f}   {np.median(neuron_r2(rate, valid, every)):.3f}")

# %% [markdown]
# ## The model
#
# The prior is linear: oscillators on springs, coupled to their neighbours, with friction and noise. It knows of ringing
# and of smoothness, and nothing of Lorenz. What is nonlinear is in the encoder and in the decoder, two transformer
# layers over the whole path in front of Poisson counts with 32 features as log-linear inputs. (One layer with 16, as
# published, was behind after 1200 steps of one first trial, at a rate of .01 and with batches of 64.)


# %%
def build():
    mass = PyroParam(torch.tensor(BIN), constraint=constraints.positive)
    dynamics = pl.Underdamped(pl.CoupledOscillatorPotential(POSITIONS), mass=mass)
    emission = pl.TransformerEmission(POSITIONS, pl.PoissonEmission(FEATURES, 60, exposure=BIN), layers=2)
    model = pl.LangevinModel(dynamics, emission, max_step=BIN * (1 + 1e-6))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(60, hidden=64), hidden=64)
    scores = model.initialise(train.observations)
    guide.initialise(train.observations, scores * ~held_out)  # nothing is read off what is held out
    return model, guide


# %% [markdown]
# ## Training
#
# By hand, for `fit` shows model and guide the same data. Here the likelihood is that of all neurons, and the guide
# sees the held-in ones alone, less some more in each trial that are left out at random ("coordinated dropout": what
# is seen must explain what is not, and copying one's own spikes gains nothing). The loss is `PathELBO`, as in `fit`;
# gradients are clipped.


# %%
def fit_by_hand(seed):
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    model, guide = build()
    parameters = [*model.parameters(), *guide.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=5e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=STEPS, pct_start=0.1)
    bound = pl.PathELBO().differentiable_loss
    losses = []
    for _ in range(STEPS):
        whole = train.observations.select(torch.randint(len(train.condition), (BATCH,)))
        dropped = held_out | (torch.rand(BATCH, 1, 60) < 0.3)
        seen = whole.without(dropped)
        loss = bound(lambda seen, whole: model(whole), lambda seen, whole: guide(seen), seen, whole) / whole.n_values
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.05)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return model, guide, losses


@torch.no_grad()
def decode(model, guide, data, draws):
    """Means over posterior draws, from the held-in neurons alone: rates, features, positions."""
    z = guide.path(data.observations.without(held_out)).rsample(torch.Size([draws]))[..., :POSITIONS]
    features = model.emission.features(z, data.observations)
    rate = model.emission.emission.rate(features)
    return rate.mean(0).numpy(), features.mean(0).numpy(), z.mean(0).numpy()


def state_r2(before, after):
    """R2 of the Lorenz states of the validation trials, from a linear map that was fitted on training trials."""
    inputs, unseen = (np.concatenate([x, np.ones_like(x[..., :1])], -1) for x in (before, after))
    linear = np.linalg.lstsq(inputs.reshape(-1, inputs.shape[-1]), train.states.reshape(-1, 3), rcond=None)[0]
    wrong = np.square(unseen @ linear - valid.states).sum((0, 1))
    return 1 - wrong / np.square(valid.states - valid.states.mean((0, 1))).sum((0, 1)), unseen @ linear


def fit_and_score(seed):
    torch.set_num_threads(1)
    begin = time.process_time()
    model, guide, losses = fit_by_hand(seed)
    rate, features, positions = decode(model, guide, valid, DRAWS)
    _, train_features, train_positions = decode(model, guide, train, max(DRAWS // 4, 1))
    by_features, lorenz = state_r2(train_features, features)
    by_positions, _ = state_r2(train_positions, positions)
    row = [
        bits_per_spike(rate, valid, every), bits_per_spike(rate, valid, hidden), pooled_r2(rate, valid, every),
        pooled_r2(rate, valid, hidden), np.median(neuron_r2(rate, valid, every)), *by_features, *by_positions,
    ]
    learned = [{name: value.numpy() for name, value in part.state_dict().items()} for part in (model, guide)]
    return row, losses, rate, lorenz, learned, time.process_time() - begin


if SMOKE:
    results = [fit_and_score(seed) for seed in SEEDS]
else:  # each seed in a process of its own
    with ProcessPoolExecutor(len(SEEDS), mp_context=multiprocessing.get_context("fork")) as pool:
        results = list(pool.map(fit_and_score, SEEDS))
rows = [result[0] for result in results]
for seed, (row, losses, *_, seconds) in zip(SEEDS, results, strict=True):
    quarters = "  ".join(f"{quarter.mean():.4f}" for quarter in np.array_split(losses, 4))
    print(f"seed {seed}: {seconds:.0f} s of one core; mean loss in each quarter {quarters}; "
          f"{row[1]:.3f} bits/spike held out")

# %%
rate, lorenz = results[0][2:4]
middling, busiest = (int(np.flatnonzero(hidden)[i]) for i in np.argsort(MEAN_RATE[hidden])[[10, -1]])
seconds = valid.observations.times[0]
figure, axes = plt.subplots(1, 4, figsize=(11, 2.3), layout="constrained")
trial = 3
spikes = np.argwhere(valid.observations.values[trial].numpy() > 0)
axes[0].scatter(BIN * spikes[:, 0], spikes[:, 1], s=2, c=np.where(hidden[spikes[:, 1]], "C1", "k"))
axes[0].set(title="one trial (orange: held out)", xlabel="s", ylabel="neuron")
for axis, neuron in ((axes[1], busiest), (axes[2], middling)):
    axis.plot(seconds, valid.rates[trial, :, neuron], "k", lw=1, label="true")
    axis.plot(seconds, rate[trial, :, neuron], "C1", label="from other neurons")
    axis.plot(seconds, psth[trial, :, neuron], "C0:", lw=1, label="condition's mean")
    axis.set(title=f"held-out neuron {neuron}", xlabel="s", ylabel="spikes / s")
axes[2].legend(fontsize=7)
for k in range(3):
    axes[3].plot(seconds, valid.states[trial, :, k] + 3 * k, "k", lw=1)
    axes[3].plot(seconds, lorenz[trial, :, k] + 3 * k, "C1")
axes[3].set(title="Lorenz system", xlabel="s", yticks=[])
plt.show()

# %% [markdown]
# ## States
#
# A potential of coupled oscillators has one well, whatever was learned. The report must say so rather than
# find states in it.

# %%
losses, learned = results[0][1], results[0][4]
model, guide = build()
for part, values in zip((model, guide), learned, strict=True):
    part.load_state_dict({name: torch.as_tensor(value) for name, value in values.items()})
result = pl.FitResult.by_hand(model, guide, loss=losses, seed=SEEDS[0])
idata = pl.posterior(result, valid.observations.select(range(4 if SMOKE else 20)).without(held_out), draws=5)
print(f"states: {idata['states'].sizes['state']}")
print("\n".join(warning for warning in pl.audit(idata) if "well" in warning))
stiffness = torch.linalg.eigvalsh(model.dynamics.potential.matrix().detach())
turns = (stiffness / model.dynamics.mass.detach()).sqrt() / (2 * np.pi)
print("modes: " + ", ".join(f"{value:.2f}" for value in turns.tolist())
      + f" turns a second, friction {model.dynamics.friction.item():.1f} a second")

# %% [markdown]
# ## Recovered against known

# %%
found, spread = np.mean(rows, 0), np.std(rows, 0, ddof=1)
references = [
    (f"{bits_per_spike(psth, valid, every):.3f}", f"{bits_per_spike(valid.rates, valid, every):.3f}"),
    (f"{bits_per_spike(psth, valid, hidden):.3f}", f"{bits_per_spike(valid.rates, valid, hidden):.3f}"),
    (f"{pooled_r2(psth, valid, every):.3f}", "1"),
    (f"{pooled_r2(psth, valid, hidden):.3f}", "1"),
    (f"{np.median(neuron_r2(psth, valid, every)):.3f}", "1"),
    *[("", f"{value} (LFADS)") for value in (0.988, 0.982, 0.954)],
    *[("", "") for _ in range(3)],
]
names = ["bits per spike, all neurons", "bits per spike, held out", "rate R2, pooled", "rate R2, pooled, held out",
         "rate R2, median neuron", *[f"Lorenz {axis} R2 from features" for axis in "xyz"],
         *[f"Lorenz {axis} R2 from positions" for axis in "xyz"]]
print(f"{'validation trials':30s} {'seeds ' + ', '.join(map(str, SEEDS)):23s} {'mean, sd':15s} {'condition':11s} truth")
for k, name in enumerate(names):
    each = "  ".join(f"{row[k]:.3f}" for row in rows)
    print(f"{name:30s} {each:23s} {found[k]:.3f}, {spread[k]:.3f}    {references[k][0]:11s} {references[k][1]}")

# %% [markdown]
# ## What this cannot tell
#
# * **It beats the condition's mean, and comes near LFADS without standing beside it.** Of neurons that were never
#   listened to, more is predicted from single trials than from the average over all trials of the condition. But the
#   Lorenz system is read off less well than the figures that are quoted for LFADS (.974, .949 and .860 against .988,
#   .982 and .954), the rapid turns within a lobe above all: the third coordinate, which is hardly anything else, is not
#   in the positions, and the decoder has to make it out of the other two. The spikes of 40 neurons would tell more: a
#   network that was shown the true states of the training trials reads off .993, .987 and .963. Nor is it the weight of
#   the prior: with a fifth of it, and the likelihood of what the guide did not see alone, one run came as far as with
#   all of it after as many steps (600, at another rate than here). A deeper decoder, a smaller rate and four times the
#   steps did help (from .930, .874 and .737); at the end the loss is level. What keeps it from the rest was not found.
# * **Pooled rate R2 rewards the busiest neurons.** Among the condition's means the narrowest kernel has most of it, and
#   predicts spikes worst. Bits per spike of held-out neurons is the line to look at; that of all neurons counts spikes
#   which the encoder has seen.
# * **Nothing of states.** That there is one well was built in and is no finding. The two lobes of the Lorenz
#   attractor are real, and this potential cannot show them. Where the question is one of states, take another potential
#   and a plain emission.
# * **Nothing of new conditions.** The validation trials start from the same 20 initial states as the training trials.
