"""The benchmark of Markov random fields: its tables, its small run, and its guards."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmark import runner

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = "benchmark.markov"
FEW = (
    *("--num_seeds=1", "--size=4", "--num_chains=8", "--num_draws=50", "--thin=2"),
    *("--num_rows=500", "--num_steps=50"),
)


def test_readme_shows_what_the_records_say(load):
    """The tables are, to the letter, what the command makes of the committed records."""
    command = load(COMMAND)
    done = list(runner.done(ROOT / "experiments/records/markov.jsonl").values())
    assert command.markov_tables.make_text(done) in (ROOT / "experiments/README.md").read_text()


def test_what_was_to_be_reached_was(load):
    """Energy and magnetisation within 3 standard errors; estimates within 2 of each other."""
    command = load(COMMAND)
    done = runner.done(ROOT / "experiments/records/markov.jsonl")
    for seed in range(command.NUM_SEEDS.default):
        on_torus, learned = done[f"torus seed {seed}"], done[f"couplings seed {seed}"]
        for name in ("energy", "magnetisation", "small_energy", "small_square"):
            one = on_torus[name]
            assert abs(one["mean"] - one["exact"]) < 3 * one["error"]
        for pair in ("exact and pcd", "exact and pseudo", "pcd and pseudo"):
            assert max(learned[pair]) < 2


def test_records_of_other_settings_are_refused(refused):
    """The committed ones were made with those that the command has by default."""
    line = refused(COMMAND, f"--workdir={ROOT}/experiments/records", "--thin=3")
    assert "was made with thin=20, got 3" in line


def test_a_method_with_another_law_is_not_timed(load):
    """As one whose states are independent and uniform."""
    command = load(COMMAND)
    with pytest.raises(ValueError, match="energy: expected the exact mean, got it"):
        command.hold_to_law(lambda key, x, num_sweeps: jax.random.randint(key, x.shape, 0, 2))


@pytest.mark.slow
def test_a_small_run_leaves_its_records(load, monkeypatch, tmp_path):
    """With a few chains and rows; a peer that is not there is told and passed over."""
    command = load(COMMAND)
    command.cli.parse(["markov", *FEW, f"--workdir={tmp_path}"])

    def nobody(size):
        raise ImportError("No module named 'thrml'")

    monkeypatch.setattr(command, "METHODS", {"mnar_ebm": command.our_draw, "thrml": nobody})
    monkeypatch.setattr(command, "CROWDS", (2,))
    command.main()
    lines = (tmp_path / "markov.jsonl").read_text().splitlines()
    names = [json.loads(line)["job"] for line in lines]
    assert names == ["torus seed 0", "couplings seed 0", "sweeps of mnar_ebm"]


def test_the_small_torus_is_exact(load):
    """Its mean energy is Kaufman's."""
    command = load(COMMAND)
    exact, _ = command.torus.torus_energy(4, 4, command.torus.CRITICAL_COUPLING)
    assert jnp.allclose(command.small_exact()["energy"], exact / 16, rtol=1e-5)
