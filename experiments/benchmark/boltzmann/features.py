"""What a linear classifier makes of a machine's hidden units on MNIST, beside pixels.

python -m experiments.benchmark.boltzmann.features --data_dir=FOLDER --workdir=FOLDER

A machine is trained on all 60,000 images by contrastive divergence, without labels; its parameters
are averaged along the way. Features are how likely each hidden unit is on. Their logistic
regression has a penalty that the last 10,000 images choose, and is then fitted to all. Published
for 1,024 units and 100 epochs (github.com/yell/boltzmann-machines): 98.21 % of the test images.
"""

import functools
import pathlib
import time
import warnings
from typing import Any

import jax
import numpy as np
from absl import flags
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from experiments import cli, markdown, settings
from experiments.benchmark import runner
from experiments.benchmark.boltzmann import images
from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import rbm
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages
from mnar_ebm.types import Array, Key

NUM_HIDDEN = flags.DEFINE_integer("rbm_hidden", 1024, "Hidden units.", lower_bound=1)
NUM_EPOCHS = flags.DEFINE_integer("num_epochs", 20, "Passes over the images.", lower_bound=1)
RATE = flags.DEFINE_float("rbm_learning_rate", 1e-3, "Peak learning rate.", lower_bound=0.0)
WORKDIR = flags.DEFINE_string("workdir", "runs/boltzmann", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- features: python -m experiments.benchmark.boltzmann.features -->"
END = "<!-- end of features -->"

BATCH_SIZE, EMA_DECAY = 100, 0.999
NUM_CHOOSING = 10_000
PENALTIES = (0.01, 0.1, 1.0)
"""C of the logistic regression, the strongest first."""

PUBLISHED = 98.21


def main() -> None:
    """Train and measure if that is not yet done, then make the table."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "boltzmann_features.jsonl"
    images.check_done(runner.done(path), described())
    runner.run_all([runner.Job("seed 0", functools.partial(measure, 0))], path)
    text = make_text(runner.done(path)["seed 0"])
    print(text)
    if README.value is not None:
        markdown.replace_between(pathlib.Path(README.value), BEGIN, END, text)


def described() -> dict[str, Any]:
    """Return the settings that the record depends on."""
    return {flag.name: flag.value for flag in (NUM_HIDDEN, NUM_EPOCHS, RATE)}


def measure(seed: int) -> dict[str, Any]:
    """Return the share of test images that are told, by features and by pixels."""
    from mnar_ebm.data.datasets import builders  # imports TFDS

    train, test = images.load()
    labels = [
        builders.load_images("mnist", settings.DATA_DIR.value, split)[1]
        for split in ("train", "test")
    ]
    started = time.process_time()
    machine = fit(jax.random.key(seed), train)
    seconds = time.process_time() - started
    logits = jax.jit(rbm.hidden_logits)
    features = [np.asarray(jax.nn.sigmoid(logits(machine, rows))) for rows in (train, test)]
    found = {
        "features": classify(*features, *labels),
        "pixels": classify(np.asarray(train), np.asarray(test), *labels),
    }
    return {"seed": seed, "fit_cpu_seconds": seconds, **found, "settings": described()}


def fit(key: Key, train: Array) -> rbm.RBM:
    """Return the running mean of a machine trained by contrastive divergence of one sweep."""
    key_init, key_steps = jax.random.split(key)
    mean = images.rate(train)
    pace = Pace(NUM_EPOCHS.value * len(train) // BATCH_SIZE, RATE.value, "cosine")
    stage = boltzmann.make_stage(boltzmann.ChainSettings("cd"), pace, mean)
    start = rbm.init(key_init, mean, NUM_HIDDEN.value)
    keys = [tuple(jax.random.split(key_steps))]
    loop = Loop(BATCH_SIZE, ema_decay=EMA_DECAY)
    *_, end = run_stages(loop, [stage], start, pad_rows(train), pad_rows(train[:0]), keys)
    return end.params


def classify(
    train: np.ndarray, test: np.ndarray, labels: np.ndarray, test_labels: np.ndarray
) -> float:
    """Return the percentage of test rows that a logistic regression tells."""

    def score(penalty: float, rows: slice, judged: tuple[np.ndarray, np.ndarray]) -> float:
        model = LogisticRegression(C=penalty, max_iter=60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train[rows], labels[rows])
        return 100.0 * float(model.score(*judged))

    choosing = train[-NUM_CHOOSING:], labels[-NUM_CHOOSING:]
    scores = [score(penalty, slice(-NUM_CHOOSING), choosing) for penalty in PENALTIES]
    best = PENALTIES[int(np.argmax(scores))]
    return score(best, slice(None), (test, test_labels))


def make_text(record: dict[str, Any]) -> str:
    """Return the Markdown table."""
    return markdown.table(
        ["hidden units", "epochs", "test images told, %", "published", "pixels", "CPU s to train"],
        [
            [
                record["settings"]["rbm_hidden"],
                record["settings"]["num_epochs"],
                f"{record['features']:.2f}",
                PUBLISHED,
                f"{record['pixels']:.2f}",
                f"{record['fit_cpu_seconds']:.0f}",
            ]
        ],
    )


if __name__ == "__main__":
    cli.main(main)
