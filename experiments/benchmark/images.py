"""VAEs of binarised MNIST, ours and the same networks in PyTorch: likelihood, and steps a second.

python -m experiments.benchmark.images --data_dir=FOLDER --workdir=FOLDER --peers=torch=PYTHON

784-256-64-8 and back. Pixels are drawn once from their grey levels, for all seeds and both
libraries; all training images are trained on, and the last iterate is kept. What is told is the
importance-weighted bound with 5000 draws of q(z|x), of test images, by one program for both.
"""

import functools
import json
import pathlib
import sys
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import cli, markdown, pixels, settings
from experiments.benchmark import runner
from experiments.benchmark.samplers import timing
from mnar_ebm import data
from mnar_ebm.data.datasets import labelled
from mnar_ebm.recipes import vae
from mnar_ebm.tilted import table_facts
from mnar_ebm.tilted.fitted import FittedModel, make_fitted
from mnar_ebm.training.plan import some_rows

PEERS = flags.DEFINE_multi_string("peers", [], "torch=PYTHON: the interpreter that has it.")
NUM_SEEDS = flags.DEFINE_integer("num_seeds", 3, "Seeds, from 0.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 20_000, "Of training, of 128 images each.", lower_bound=400)
NUM_TEST = flags.DEFINE_integer("num_test", 1000, "Test images that are judged.", lower_bound=2)
WORKDIR = flags.DEFINE_string("workdir", "runs/images", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")

BEGIN = "<!-- images: python -m experiments.benchmark.images -->"
END = "<!-- end of images -->"

NUM_SAMPLES = 5000
WIDTHS, LATENT_DIM, NUM_PIXELS = (256, 64), 8, 784
OURS = "mnar_ebm"


def main() -> None:
    """Train and judge what is not yet, then make the table."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "images.jsonl"
    runner.check_settings(runner.done(path), described())
    pythons = {OURS: sys.executable}
    for peer in PEERS.value:
        name, _, python = peer.partition("=")
        if name != "torch" or not python:
            raise ValueError(f"--peers: expected torch=PYTHON, got {peer!r}")
        pythons[name] = python
    jobs = [
        runner.Job(f"{library} seed {seed}", functools.partial(measure, library, python, seed))
        for seed in range(NUM_SEEDS.value)
        for library, python in pythons.items()
    ]
    runner.run_all(jobs, path, lambda record: f"{record['job']}: {record['bound']:.2f} nats")
    text = make_text(list(runner.done(path).values()))
    print(text)
    if README.value is not None:
        markdown.replace_between(pathlib.Path(README.value), BEGIN, END, text)


def described() -> dict[str, Any]:
    """Return the settings that a record depends on."""
    return {flag.name: flag.value for flag in (STEPS, NUM_TEST)}


def settings_of(seed: int) -> dict[str, Any]:
    """Return what a worker is told."""
    return {
        "widths": WIDTHS,
        "latent_dim": LATENT_DIM,
        "num_steps": STEPS.value,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "seed": seed,
    }


def untrained(told: dict[str, Any]) -> FittedModel:
    """Return our model of such settings, with fresh parameters."""
    own = {name: value for name, value in told.items() if name != "widths"}
    config = vae.config(
        **own,
        hidden_dims=tuple(told["widths"]),
        validation_fraction=0.0,
        num_imputation_samples=NUM_SAMPLES,
    )
    columns = [f"pixel_{number}" for number in range(NUM_PIXELS)]
    table = data.make_table("mnist", columns, np.zeros((2, NUM_PIXELS)))
    return make_fitted(config, table_facts(config, table))


def to_weights(base: Any) -> dict[str, np.ndarray]:
    """Return the parameters of our networks by the names that both libraries share."""
    return {
        f"{name}_{number}_{what}": np.asarray(layer[what])
        for name, layers in _layers(base).items()
        for number, layer in enumerate(layers)
        for what in ("kernel", "bias")
    }


def with_weights(fitted: FittedModel, weights: Any) -> FittedModel:
    """Return our model with the parameters that a library left."""
    base = jax.tree.map(np.asarray, fitted.params.base)  # dictionaries of its own
    for name, layers in _layers(base).items():
        for number, layer in enumerate(layers):
            for what in ("kernel", "bias"):
                found = weights[f"{name}_{number}_{what}"]
                if found.shape != layer[what].shape:
                    raise ValueError(
                        f"{name}: expected shape {layer[what].shape}, got {found.shape}"
                    )
                layer[what] = found
    return fitted._replace(params=fitted.params._replace(base=base))


def _layers(base: Any) -> dict[str, list[Any]]:
    """Return the layers of encoder and decoder, in order, by name."""
    encoder, decoder = base["encoder"]["params"], base["decoder"]["params"]
    hidden = [
        [own["MLP_0"][f"Dense_{at}"] for at in range(len(WIDTHS))] for own in (encoder, decoder)
    ]
    return {
        "encoder": hidden[0],
        "loc": [encoder["Dense_0"]],
        "log_scale": [encoder["Dense_1"]],
        "decoder": hidden[1],
        "out": [decoder["network"]],
    }


def measure(library: str, python: str, seed: int) -> dict[str, Any]:
    """Return the record of one model: how long a step took, and its bound."""
    workdir = pathlib.Path(WORKDIR.value)
    bits = workdir / "bits.npz"
    if not bits.exists():
        np.savez(bits, **images())
    weights, told = workdir / f"{library}-{seed}.npz", settings_of(seed)
    worker = pathlib.Path(__file__).with_name("images_worker.py")
    command = [python, str(worker), library, str(bits), str(weights), json.dumps(told)]
    found = timing.answer(command)
    test = np.load(bits)["test"]
    test = test[some_rows(len(test), NUM_TEST.value)].astype(np.float64)
    with np.load(weights) as arrays:
        judged = with_weights(untrained(told), arrays).impute(test)
    return {
        "library": library,
        "seed": seed,
        "bound": float(judged.bound.mean()),
        "bound_standard_error": float(judged.bound.std(ddof=1) / np.sqrt(len(test))),
        "ess_median": float(np.median(judged.ess)),
        "steps_per_cpu_second": found["timed_steps"] / found["train_cpu_seconds"],
        **found,
        "settings": described(),
    }


def images() -> dict[str, np.ndarray]:
    """Return training and test images as bits, drawn once. [60000, 784], [10000, 784]."""
    parts = pixels.of_parts(labelled.load("mnist", settings.DATA_DIR.value), "drawn")
    return {"train": parts.train.x.astype(np.uint8), "test": parts.test.x.astype(np.uint8)}


def make_text(records: list[dict[str, Any]]) -> str:
    """Return the table: means over seeds, and how far these spread."""
    rows = []
    for library in dict.fromkeys(one["library"] for one in records):
        own = [one for one in records if one["library"] == library]
        bounds = [one["bound"] for one in own]
        speed = np.median([one["steps_per_cpu_second"] for one in own])
        told = ", ".join(f"{bound:.2f}" for bound in bounds)
        error = np.mean([one["bound_standard_error"] for one in own])
        rows.append(
            [f"{library} {own[0]['version']}", f"{np.mean(bounds):.2f}", told, f"{error:.2f}"]
            + [f"{np.mean([one['train_cpu_seconds'] for one in own]):.0f}", f"{speed:.0f}"]
        )
    header = ["", "bound, nats", "of each seed", "standard error, of images"]
    return markdown.table([*header, "CPU seconds", "steps a CPU second"], rows)


if __name__ == "__main__":
    cli.main(main)
