"""The benchmark of Boltzmann machines: its table, and its machine on a few bits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import runner

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = "benchmark.boltzmann.small"


def test_readme_shows_what_the_records_say(load):
    """The table is, to the letter, what the command makes of the committed records."""
    command = load(COMMAND)
    done = runner.done(ROOT / "experiments/records/boltzmann.jsonl")
    records = [done[f"{name} seed {seed}"] for name in command.PUBLISHED for seed in range(3)]
    assert len(done) == len(records)
    assert command.make_text(records) in (ROOT / "experiments/README.md").read_text()


def test_records_of_other_settings_are_refused(refused):
    """The committed ones were made with those that the command has by default."""
    line = refused(COMMAND, f"--workdir={ROOT}/experiments/records", "--num_epochs=3")
    assert "MNIST seed 0: was made with num_epochs=20, got 3" in line


def test_without_images_it_is_told_so(refused, tmp_path):
    """In one line, before any work."""
    line = refused(COMMAND, f"--workdir={tmp_path}")
    assert "--data_dir: expected the folder with mnist/, got none" in line


@pytest.mark.slow
def test_a_machine_is_trained_and_measured(load, monkeypatch):
    """On bits in two patterns with noise: its likelihood is near that of their law."""
    command = load(COMMAND)
    few = ("--num_epochs=40", "--rbm_hidden=3", "--num_runs=3", "--rbm_learning_rate=0.02")
    command.cli.parse(["boltzmann", *few])
    rng = np.random.default_rng(0)
    pattern = rng.random(12) < 0.5

    def draw(num):
        flips = rng.random((num, 12)) < 0.1
        return jnp.asarray(flips ^ pattern ^ (rng.random((num, 1)) < 0.5), jnp.float32)

    train, test = draw(3000), draw(1000)
    monkeypatch.setattr(command.images, "load", lambda name: (train, test))
    monkeypatch.setattr(command, "EMA_DECAY", 0.9)  # of 800 steps
    record = command.measure("MNIST", 0)
    far = (np.asarray(test) != pattern).sum(axis=1)[:, None] * [1, -1] + [0, 12]
    law = jax.nn.logsumexp(far * np.log(0.1) + (12 - far) * np.log(0.9), axis=1) - np.log(2)
    assert abs(record["test"] - law.mean()) < 0.15
    assert record["within_3"][0] >= 2 and record["within_3"][1] >= 2
    assert abs(record["lower"] - record["log_z"]) < 0.2


def test_readme_shows_the_large_machine(load):
    """The table is what the command makes of the record, and the likelihood has both sides."""
    command = load("benchmark.boltzmann.large")
    done = runner.done(ROOT / "experiments/records/boltzmann_large.jsonl")
    text = command.make_text(list(done.values()))
    assert text in (ROOT / "experiments/README.md").read_text()
    for record in done.values():
        low, high = record["test"]
        assert low < high < low + 1
