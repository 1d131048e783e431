# %% [markdown]
# # Quickstart
#
# **Question.** A particle hops between two wells. You see it through fifteen noisy channels. How many states are there,
# how is the time divided among them, how long do they last, how high is the barrier, and how sure are we?
#
# The record is simulated, so that the exact answer is known and stands beside each figure in the end. What you need is
# in three steps: observations, a model with its guide, a fit. After that the same steps are taken on a CSV file.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pyro_langevin as pl
from pyro_langevin import datasets

SMOKE = bool(os.environ.get("PYRO_LANGEVIN_SMOKE"))  # a few seconds, to see that it runs
SERIES, TIMES, SEEDS, STEPS, DRAWS = (4, 14, 1, 3, 3) if SMOKE else (64, 201, 3, 240, 20)

# %% [markdown]
# ## The data
#
# The potential is $4(x^2-1)^2 + x/2$ in units of kT: two wells, of which the left one is deeper. Nobody sees $x$, only
# fifteen channels of $x$ times some number each, with noise; a position every 0.1 time units.

# %%
data = datasets.double_well(n_series=SERIES, n_times=TIMES, tilt=0.5, channels=15)
observations = data.observations
print(observations)

figure, axes = plt.subplots(2, 1, figsize=(7, 3), sharex=True, layout="constrained")
axes[0].plot(observations.times[0], observations.values[0, :, :3], linewidth=0.8)
axes[0].set_ylabel("three channels")
axes[1].plot(observations.times[0], data.latent[0, :, 0], color="black", linewidth=0.8)
axes[1].set(xlabel="time", ylabel="hidden $x$")
figure.align_ylabels()

# %% [markdown]
# ## Model, guide, fit
#
# A model is a potential, dynamics on it, and an emission: how the hidden state shows in the data. Two states need one
# latent dimension. The guide approximates the hidden paths. [How to choose](../choosing.md) says when to leave these
# defaults.
#
# Three fits from three seeds: one alone cannot show whether the fit itself is to be trusted.

# %%
def fitted(observations: pl.Observations, *, seeds: int, draws: int):
    """The fit of a one-dimensional landscape, and draws of the posterior paths."""
    channels = observations.obs_dim
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(dim=1)),
        pl.GaussianEmission(latent_dim=1, obs_dim=channels),
    )
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(obs_dim=channels))
    result = pl.fit(model, guide, observations, seeds=seeds, steps=STEPS, progress=False)
    return result, pl.posterior(result, observations, draws=draws)


result, idata = fitted(observations, seeds=SEEDS, draws=DRAWS)

# %% [markdown]
# ## What was found
#
# Each row is a figure with its 90 % interval. *Occupancy* is the share of time, of this record; *in the long run*, of
# the system, which a record of finite length tells less well. A *dwell* is the length of a visit; *mfpt* is the mean
# first passage time, how long it takes from the bottom of one well to that of the other. Barriers are in kT. Nothing is
# said about raw energies or about the latent coordinate: data do not tell them.

# %%
pl.summary(idata).drop(columns="estimator").round(3)

# %% [markdown]
# Does anything speak against the fit? `audit` asks every question that the package knows; an empty list is good.

# %%
pl.audit(idata)

# %%
axes = pl.plot_landscape(idata)

# %%
axes = pl.plot_occupancy(idata)

# %%
axes = pl.plot_dwell_survival(idata)

# %% [markdown]
# ## Recovered against exact
#
# `idata` holds ArviZ groups, so every figure of every seed can be had by name; `chain` is the seed. A seed's latent
# coordinate may point either way, so the left state is told by its place in the data.

# %%
exact = datasets.TILTED_DOUBLE_WELL
place = idata["states"]["location"].mean("chain").values @ data.loadings[:, 0]
left, right = np.nanargmin(place), np.nanargmax(place)

states, occupancy, kinetics = idata["states"], idata["occupancy"], idata["kinetics"]
barrier, mfpt = states["beta_barrier"].values, kinetics["mfpt"].values
stationary = occupancy["stationary"].isel(estimator=0).values
in_record = occupancy["path"].mean(("draw", "series")).values
guess = occupancy["p_state"].mean("chain").transpose("series", "time", "state").values.argmax(-1)
rows = {
    "states": (states["n_states"].values, exact.n_states),
    "barrier, left to right (kT)": (barrier[:, left, right], exact.barrier(0, 1)),
    "barrier, right to left (kT)": (barrier[:, right, left], exact.barrier(1, 0)),
    "passage time, left to right": (mfpt[:, left, right], exact.mfpt[0, 1]),
    "passage time, right to left": (mfpt[:, right, left], exact.mfpt[1, 0]),
    "occupancy left, of the system": (stationary[:, left], exact.occupancy[0]),
    "occupancy left, this record": (in_record[:, left], (data.states == 0).mean()),
}
table = pd.DataFrame({name: [*found, true] for name, (found, true) in rows.items()}).T
table.columns = [*(f"seed {seed}" for seed in range(SEEDS)), "truth"]
print(table.round(3).to_string())
print(f"\nstates named rightly: {((guess == right) == (data.states == 1)).mean():.1%} of all observations")

# %% [markdown]
# The three seeds saw the same record, so they err together: what they differ in is the fit, what they share is the
# record. Only the intervals of the summary hold both.

# %% [markdown]
# ## Your own CSV
#
# A file needs a column of times and one or more of values. Here it is written first: six molecules one below the other,
# with comment lines, a name with a blank, missing values, and rows left out. (They are simulated too, from the even
# wells $4(x^2-1)^2$: occupancy one half, barriers 4 kT, passage times 17.3.)

# %%
rng = np.random.default_rng(0)
small = datasets.double_well(n_series=6, n_times=TIMES, channels=2, seed=1).observations
lines = ["# camera 2, 10 frames a second", "molecule,time (s),donor,acceptor"]
for molecule in range(6):
    for time, (donor, acceptor) in zip(small.times[0], small.values[molecule], strict=True):
        if rng.random() > 0.05:
            donor = "" if rng.random() < 0.02 else f"{donor:.3f}"
            lines.append(f"m{molecule},{time:.1f},{donor},{acceptor:.3f}")
with open("record.csv", "w") as file:
    file.write("\n".join(lines) + "\n")
print("\n".join(lines[:6]))

# %%
record = pl.read_table(
    "record.csv", time="time (s)", values=["donor", "acceptor"], series="molecule", time_unit="s"
)
print(record)

# %% [markdown]
# The same three steps, and a report: one file with all figures, to open in a browser.

# %%
_, own = fitted(record, seeds=1, draws=DRAWS)
pl.write_report(own, "report.html")
pl.save_draws(own, "posterior.nc")
print(pl.summary(own).drop(columns="estimator").round(2).to_string())
for warning in pl.audit(own):
    print("*", warning)

# %% [markdown]
# On the command line all of that is one command, which also keeps a checkpoint:
#
# ```console
# $ pyro-langevin fit record.csv --time "time (s)" --values donor,acceptor --series molecule --time-unit s --out results
# ```
#
# Semicolons are found out; decimal commas (`--decimal ,`), dates as times, other signs of missing values (`--missing
# -999`), one file for each series: [command line and file formats](../command_line.md). `pyro-langevin demo` makes this
# page's comparison in one command.

# %% [markdown]
# ## What this cannot tell
#
# - **More than the record holds.** A rate is known to about one over the square root of the passages seen: the six
#   molecules' passage times have wide intervals, and no number of seeds narrows them.
# - **Units of energy and length.** Barriers come in kT, occupancies and times in the data's unit. Raw energies,
#   frictions and latent coordinates are not told by data.
# - **Whether the model is right.** `audit` finds much of what goes wrong: [a fit that looks good and is
#   wrong](diagnose.ipynb) is the next thing to read. It is silent about what leaves no trace in the record.
#
# Next: [how to choose](../choosing.md), [reading the report](../report.md), and [a path in a Pyro model of your
# own](your_own_model.ipynb).
