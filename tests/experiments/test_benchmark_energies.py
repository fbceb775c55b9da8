"""The benchmark of energies: its table, its measure of a fit, and one fit at smoke size."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import runner
from mnar_ebm.data.datasets.planar import PLANAR
from mnar_ebm.models.ebm import EBM, EBMParams, normal_reference

ROOT = pathlib.Path(__file__).parents[2]
RECORDS = ROOT / "experiments/records/energies.jsonl"
COMMAND = "benchmark.energies"


def test_readme_shows_what_the_records_say(load):
    """The table is, to the letter, what the command makes of the committed records."""
    command = load(COMMAND)
    done = runner.done(RECORDS)
    records = [done[command.name_of(n, o, 0)] for o in command.NUM_STEPS for n in PLANAR]
    assert len(done) == len(records)
    assert command.make_text(records) in (ROOT / "experiments/README.md").read_text()


def test_records_of_other_settings_are_refused(refused):
    """The committed ones were made with those that the command has by default."""
    line = refused(COMMAND, f"--workdir={RECORDS.parent}", "--hidden_dim=3")
    assert "was made with hidden_dim=128, got 3" in line


def test_unknown_objectives_are_refused(refused, tmp_path):
    """In one line, before any work."""
    line = refused(COMMAND, f"--workdir={tmp_path}", "--objectives=nce,ml")
    assert "objectives: expected one of nce, pcd, score_exact" in line


def test_the_divergence_is_that_of_the_closed_form(load):
    """Of the mixture from a Gaussian, by draws of the mixture; a constant in E is no matter."""
    command = load(COMMAND)
    truth, reference = PLANAR["eight_gaussians"](), normal_reference((2,), 2.5)
    ebm = EBM(lambda key: (), lambda params, x: params, reference.log_prob, reference.sample)
    kl, log_z = command.divergence(truth, ebm, EBMParams(jnp.asarray(3.0), jnp.zeros(())))
    x = truth.sample(np.random.default_rng(0), 20_000)
    log_q = -0.5 * (x**2).sum(axis=1) / 2.5**2 - np.log(2 * np.pi * 2.5**2)
    values = truth.log_prob(x) - log_q
    assert abs(kl - values.mean()) < 5 * values.std() / np.sqrt(len(x))
    assert abs(log_z + 3.0) < 5e-3  # what of the reference is beyond the grid


@pytest.mark.slow
def test_models_are_fitted_and_drawn(load, monkeypatch, tmp_path):
    """One density by two objectives: each comes nearer than the reference was."""
    command = load(COMMAND)
    few = ("--num_rows=2000", "--hidden_dim=32", "--share=0.1", "--objectives=nce,energy_matching")
    folders = (f"--workdir={tmp_path}", f"--surfaces={tmp_path}", f"--figure={tmp_path}/f.png")
    command.cli.parse(["energies", *few, *folders])
    monkeypatch.setattr(command, "PLANAR", {n: PLANAR[n] for n in ("two_moons", "rings")})
    command.main()
    done = runner.done(tmp_path / "energies.jsonl")
    assert len(done) == 4 and (tmp_path / "f.png").stat().st_size > 0
    assert max(one["kl"] for one in done.values()) < 1.0


def test_the_tables_of_images_are_of_their_records(load):
    """To the letter; a piece of work that has no record is not in them."""
    command = load(COMMAND)
    images = command.energies_images
    done = runner.done(RECORDS.with_name("energies_images.jsonl"))
    bench = images.Bench(None, ROOT, ROOT)
    names = [job.name for job in images.make_jobs(bench, range(3))]
    assert done and set(done) <= set(names)
    text = images.make_text([done[name] for name in names if name in done])
    assert text in (ROOT / "experiments/README.md").read_text()
