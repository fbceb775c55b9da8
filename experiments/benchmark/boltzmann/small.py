"""A machine of 784 x 16 units on MNIST: its exact likelihood, and brackets of log Z beside it.

python -m experiments.benchmark.boltzmann.small --data_dir=FOLDER --workdir=FOLDER

Images are on where a pixel is above one half; 1 - MNIST has them the other way round. A machine is
trained by persistent chains on 59,000 of the 60,000 images, its parameters are averaged along the
way, the other images choose the step that is kept, by pseudo-likelihood, and log Z is summed over
all 2^16 states of the hidden units. Then log Z is estimated again by 1000 temperatures, upwards and
downwards, in twenty runs. Published by PyDeep for these units, this data and this k: -142.56 nats a
test image (exact), centred; -149.05 plain; for 1 - MNIST -142.09 and -183.36.
"""

import functools
import pathlib
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import cli, markdown
from experiments.benchmark import runner
from experiments.benchmark.boltzmann import images
from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import RBM, rbm
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages
from mnar_ebm.types import Array, Key

NUM_SEEDS = flags.DEFINE_integer("num_seeds", 3, "Seeds, from 0.", lower_bound=1)
NUM_HIDDEN = flags.DEFINE_integer(
    "rbm_hidden", 16, "Hidden units, few enough to sum over.", lower_bound=1, upper_bound=20
)
NUM_EPOCHS = flags.DEFINE_integer("num_epochs", 20, "Passes over the images.", lower_bound=1)
RATE = flags.DEFINE_float("rbm_learning_rate", 2e-3, "Peak learning rate.", lower_bound=0.0)
NUM_RUNS = flags.DEFINE_integer("num_runs", 20, "Brackets of log Z.", lower_bound=1)
WORKDIR = flags.DEFINE_string("workdir", "runs/boltzmann", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- boltzmann: python -m experiments.benchmark.boltzmann.small -->"
END = "<!-- end of boltzmann -->"

NUM_VALID, BATCH_SIZE, NUM_CHAINS, EMA_DECAY = 1000, 100, 100, 0.999
PUBLISHED = {"MNIST": (-142.56, -149.05), "1 - MNIST": (-142.09, -183.36)}
"""Test log-likelihood of PyDeep, centred and plain, in nats."""


def main() -> None:
    """Train what is not yet done, then make the table."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "boltzmann.jsonl"
    jobs = [
        runner.Job(f"{name} seed {seed}", functools.partial(measure, name, seed))
        for name in PUBLISHED
        for seed in range(NUM_SEEDS.value)
    ]
    runner.check_settings(runner.done(path), described())
    runner.run_all(jobs, path)
    done = runner.done(path)
    text = make_text([done[job.name] for job in jobs])
    markdown.tell(text, README.value, BEGIN, END)


def described() -> dict[str, Any]:
    """Return the settings that a record depends on."""
    return {flag.name: flag.value for flag in (NUM_HIDDEN, NUM_EPOCHS, RATE, NUM_RUNS)}


def measure(name: str, seed: int) -> dict[str, Any]:
    """Return the record of one machine."""
    train, test = images.load(name)
    key_fit, key_brackets = jax.random.split(jax.random.key(seed))
    started = time.perf_counter()
    machine = fit(key_fit, train)
    seconds = time.perf_counter() - started
    log_z = rbm.log_z(machine)
    mean = images.rate(train)
    found = jax.lax.map(
        functools.partial(bracket, machine, jax.scipy.special.logit(mean)),
        jax.random.split(key_brackets, NUM_RUNS.value),
    )
    far = [np.abs(side.log_z - log_z) / side.standard_error for side in found]
    return {
        "name": name,
        "seed": seed,
        "seconds": seconds,
        "log_z": float(log_z),
        "train": float(rbm.log_likelihood(machine, train, log_z).mean()),
        "test": float(rbm.log_likelihood(machine, test, log_z).mean()),
        "within_3": [int((side <= 3).sum()) for side in far],
        "lower": float(found.lower.log_z.mean()),
        "upper": float(found.upper.log_z.mean()),
        "settings": described(),
    }


def fit(key: Key, train: Array) -> RBM:
    """Return a machine trained by persistent chains."""
    key_order, key_init, key_steps = jax.random.split(key, 3)
    order = jax.random.permutation(key_order, len(train))
    rows, held_out = train[order[NUM_VALID:]], train[order[:NUM_VALID]]
    mean = images.rate(rows)
    num_steps = NUM_EPOCHS.value * len(rows) // BATCH_SIZE
    pace = Pace(num_steps, RATE.value, "cosine")
    chains = boltzmann.ChainSettings("pcd", NUM_CHAINS, num_sweeps=1)
    stage = boltzmann.make_stage(chains, pace, mean)
    start = rbm.init(key_init, mean, NUM_HIDDEN.value)
    keys = [tuple(jax.random.split(key_steps))]
    loop = Loop(BATCH_SIZE, ema_decay=EMA_DECAY, patience=num_steps)
    *_, end = run_stages(loop, [stage], start, pad_rows(rows), pad_rows(held_out), keys)
    return end.params


def bracket(machine: RBM, base_bias: Array, key: Key) -> boltzmann.Bracket:
    """Return log Z from below and, from exact draws, from above."""
    key_draws, key_paths = jax.random.split(key)
    draws = rbm.sample(key_draws, machine, 100)
    return boltzmann.bracket(key_paths, machine, base_bias, draws)


def make_text(records: list[dict[str, Any]]) -> str:
    """Return the Markdown table."""
    lines = [
        "| data | seed | train | test | PyDeep centred, plain | log Z exact | from below "
        "| from above | within 3 errors of it | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in records:
        published = ", ".join(f"{value:.2f}" for value in PUBLISHED[one["name"]])
        within = " and ".join(
            f"{count} of {one['settings']['num_runs']}" for count in one["within_3"]
        )
        numbers = [f"{one[what]:.2f}" for what in ("log_z", "lower", "upper")]
        cells = [one["name"], str(one["seed"]), f"{one['train']:.2f}", f"{one['test']:.2f}"]
        cells += [published, *numbers, within, f"{one['seconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(main)
