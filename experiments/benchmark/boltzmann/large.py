"""A machine of 784 x 500 units on MNIST: its test likelihood, bracketed from both sides.

python -m experiments.benchmark.boltzmann.large --data_dir=FOLDER --workdir=FOLDER

Images are on where a pixel is above one half. A machine is trained by persistent chains, and its
parameters are averaged along the way; of the average log Z is estimated from below by paths from
independent bits, and from above by paths back from chains, once from chains that began at training
images and once from chains that were tempered. **No draw of this machine is exact**, so that the
upper side, and with it the lower end of the likelihood, holds as far as chains have mixed; the
larger of the two is taken. Published by PyDeep for these units and this data: -84.86 nats a test
image by the side from below alone, -96.61 by that from above; 78 minutes of training.
"""

import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli, markdown
from experiments.benchmark import runner
from experiments.benchmark.boltzmann import images
from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import RBM, rbm, tempering
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages
from mnar_ebm.types import Array, Key

NUM_SEEDS = flags.DEFINE_integer("num_seeds", 1, "Seeds, from 0.", lower_bound=1)
NUM_HIDDEN = flags.DEFINE_integer("rbm_hidden", 500, "Hidden units.", lower_bound=1)
NUM_EPOCHS = flags.DEFINE_integer("num_epochs", 20, "Passes over the images.", lower_bound=1)
RATE = flags.DEFINE_float("rbm_learning_rate", 1e-3, "Peak learning rate.", lower_bound=0.0)
NUM_TEMPERATURES = flags.DEFINE_integer("num_temperatures", 5000, "Of paths.", lower_bound=1)
NUM_SWEEPS = flags.DEFINE_integer("rbm_sweeps", 1000, "Of chains from images.", lower_bound=1)
WORKDIR = flags.DEFINE_string("workdir", "runs/boltzmann", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- large boltzmann: python -m experiments.benchmark.boltzmann.large -->"
END = "<!-- end of large boltzmann -->"

BATCH_SIZE, NUM_CHAINS, EMA_DECAY = 100, 100, 0.999
NUM_PATHS = 50
"""From below, for each of the two sides from above."""

NUM_RUNGS, CHAINS_OF_RUNG, NUM_TEMPERED = 40, 20, 5
"""Machines of the ladder, chains at each, and how often draws of these are taken."""

PUBLISHED = (-84.86, -96.61)
"""Test log-likelihood of PyDeep, centred: by the side from below, and by that from above."""


def main() -> None:
    """Train what is not yet done, then make the table."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "boltzmann_large.jsonl"
    seeds = range(NUM_SEEDS.value)
    jobs = [runner.Job(f"seed {seed}", functools.partial(measure, seed)) for seed in seeds]
    runner.check_settings(runner.done(path), described())
    runner.run_all(jobs, path)
    done = runner.done(path)
    text = make_text([done[job.name] for job in jobs])
    markdown.tell(text, README.value, BEGIN, END)


def described() -> dict[str, Any]:
    """Return the settings that a record depends on."""
    known = (NUM_HIDDEN, NUM_EPOCHS, RATE, NUM_TEMPERATURES, NUM_SWEEPS)
    return {flag.name: flag.value for flag in known}


def measure(seed: int) -> dict[str, Any]:
    """Return the record of one machine."""
    train, test = images.load()
    key_fit, key_images, key_tempered, *keys = jax.random.split(jax.random.key(seed), 5)
    started, started_cpu = time.perf_counter(), time.process_time()
    machine = fit(key_fit, train)
    record: dict[str, Any] = {
        "seed": seed,
        "fit_seconds": time.perf_counter() - started,
        "fit_cpu_seconds": time.process_time() - started_cpu,
    }
    base_bias = jax.scipy.special.logit(images.rate(train))
    starts = train[:NUM_CHAINS]
    gibbs = jax.jit(rbm.gibbs, static_argnums=3)
    draws = {"images": gibbs(key_images, machine, starts, NUM_SWEEPS.value)}
    draws["tempered"], swap_rate = temper(key_tempered, machine, base_bias, train)
    record["swap_rate"] = float(swap_rate)
    for (name, of), key in zip(draws.items(), keys, strict=True):
        found = boltzmann.bracket(key, machine, base_bias, of, NUM_TEMPERATURES.value, NUM_PATHS)
        for where, side in found._asdict().items():
            record[f"{where} {name}"] = [float(value) for value in side]
    lowest = np.logaddexp.reduce([record[f"lower {name}"][0] for name in draws]) - np.log(2)
    highest = max(record[f"upper {name}"][0] for name in draws)
    for name, rows in (("train", train[:10_000]), ("test", test)):
        energy = float(rbm.free_energy(machine, rows).mean())
        record[name] = [-energy - highest, -energy - lowest]
    return record | {"settings": described()}


def fit(key: Key, train: Array) -> RBM:
    """Return the running mean of a machine trained by persistent chains."""
    key_init, key_steps = jax.random.split(key)
    mean = images.rate(train)
    pace = Pace(NUM_EPOCHS.value * len(train) // BATCH_SIZE, RATE.value, "cosine")
    stage = boltzmann.make_stage(boltzmann.ChainSettings("pcd", NUM_CHAINS), pace, mean)
    start = rbm.init(key_init, mean, NUM_HIDDEN.value)
    keys = [tuple(jax.random.split(key_steps))]
    loop = Loop(BATCH_SIZE, ema_decay=EMA_DECAY)
    *_, end = run_stages(loop, [stage], start, pad_rows(train), pad_rows(train[:0]), keys)
    return end.params


def temper(key: Key, machine: RBM, base_bias: Array, train: Array) -> tuple[Array, Array]:
    """Return draws of tempered chains [N, V], and the lowest rate of swaps. []."""
    ladder = tempering.temperatures(machine, base_bias, NUM_RUNGS)
    start = train[NUM_CHAINS : NUM_CHAINS + CHAINS_OF_RUNG]
    chains = jnp.broadcast_to(start, (NUM_RUNGS, *start.shape))
    draws = []
    for key_part in jax.random.split(key, NUM_TEMPERED):
        found = tempering.temper(key_part, ladder, chains, NUM_SWEEPS.value // 10)
        chains = found.chains
        draws.append(chains[-1])
    return jnp.concatenate(draws), found.swap_rate.min()


def make_text(records: list[dict[str, Any]]) -> str:
    """Return the Markdown table."""
    columns = ["seed", "test", "width", "train", "PyDeep below, above", "log Z from below"]
    columns += ["from above, images", "from above, tempered"]
    columns += ["seconds of training", "of CPU", "of CPU in all"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for one in records:
        low, high = one["test"]
        cells = [str(one["seed"]), f"{low:.2f} to {high:.2f}", f"{high - low:.2f}"]
        cells += ["{:.2f} to {:.2f}".format(*one["train"]), "{:.2f}, {:.2f}".format(*PUBLISHED)]
        for name in ("lower images", "upper images", "upper tempered"):
            cells.append("{:.2f} ± {:.2f}".format(*one[name]))
        cells += [f"{one[name]:.0f}" for name in ("fit_seconds", "fit_cpu_seconds", "cpu_seconds")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(main)
