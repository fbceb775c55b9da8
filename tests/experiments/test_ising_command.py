"""A lattice on the command line: trained, sampled, completed, evaluated again."""

import json

import numpy as np
import pandas as pd
import pytest

from mnar_ebm.recipes import ising

TINY = ("--num_steps=20", "--batch_size=16", "--num_chains=16")


@pytest.fixture
def lattice_csv(tmp_path):
    """Write a file of nine spins that mostly agree, a lattice of 3 x 3."""
    rng = np.random.default_rng(0)
    cause = rng.integers(2, size=(60, 1))
    x = np.where(rng.random((60, 9)) < 0.9, cause, 1 - cause)
    path = tmp_path / "spins.csv"
    pd.DataFrame(x, columns=[f"s{node}" for node in range(9)]).to_csv(path, index=False)
    return path


def test_train_sample_impute_evaluate(call, lattice_csv, monkeypatch):
    """The run folder is complete, and its metrics are made again the same."""
    monkeypatch.setattr(ising, "NUM_SWEEPS", 20)
    said = call("train", "--flagfile=ising.cfg", *TINY, f"--data_path={lattice_csv}")
    assert said.status == 0, said.err
    assert "spins: an Ising model of 3 x 3 spins torus" in said.out
    run = lattice_csv.parent / "cwd" / "runs" / "spins-ising-seed0"
    figures = {"training.png", "states.png", "statistics.png"}
    files = {"checkpoints", "run.cfg", "metrics.json", "log.jsonl"}
    assert {path.name for path in run.iterdir()} == files | figures
    first = json.loads((run / "metrics.json").read_text())
    assert first["log_likelihood"]["train"] < 0 and first["coupling"]["sd"] == 0
    assert call("evaluate", f"--workdir={run}").status == 0
    again = json.loads((run / "metrics.json").read_text())
    assert again["statistics"] == first["statistics"]

    said = call("sample", f"--workdir={run}", "--output=drawn.csv", "--num_samples=7")
    assert said.out.startswith("7 rows by Gibbs by colours, 500 sweeps each; wrote drawn.csv")
    assert pd.read_csv("drawn.csv").shape == (7, 9)
    names = ",".join(f"s{node}" for node in range(9))
    lattice_csv.with_name("gaps.csv").write_text(f"{names}\n1,,1,1,,1,1,1,1\n")
    files = (f"--input={lattice_csv.with_name('gaps.csv')}", "--output=out.csv")
    assert "1 rows, 2 gaps filled" in call("impute", f"--workdir={run}", *files).out
    filled = pd.read_csv("out.csv")
    assert ((filled >= 0) & (filled <= 1)).all().all() and filled["s0"][0] == 1
