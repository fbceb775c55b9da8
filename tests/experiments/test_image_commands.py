"""Densities of images and classifiers on the command line: trained, sampled, completed."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from mnar_ebm.data.datasets import labelled
from mnar_ebm.recipes import fitted

TINY = (
    *("--num_steps=20", "--batch_size=16", "--num_chains=32", "--num_channels=2"),
    "--num_chain_steps=2",
)


@pytest.fixture
def short(monkeypatch):
    """Run few chains, for few steps."""
    monkeypatch.setattr(fitted, "LONG_RUN", (2, 4))
    monkeypatch.setattr(fitted, "NUM_PARTICLES", 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "jem"])
def test_train_sample_impute(call, load, tmp_path, short, monkeypatch, name):
    """The run folder is complete; a lower half is hidden, filled and compared."""
    said = call("train", f"--flagfile={name}.cfg", *TINY)
    assert said.status == 0, said.err
    (run,) = (tmp_path / "cwd" / "runs").iterdir()
    files = {"checkpoints", "run.cfg", "metrics.json", "log.jsonl", "training.png", "draws.png"}
    assert {path.name for path in run.iterdir()} == files
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["long_run"]) == {"0", "2", "4"}
    assert np.isfinite(metrics["long_run"]["4"]["kid"])
    if name == "jem":
        assert 0 <= metrics["classifier"]["calibration_error"] <= 1
        assert len(metrics["detection"]["negative"]) == 6

    option = ["--label=3"] if name == "jem" else []
    said = call("sample", f"--workdir={run}", "--output=drawn.csv", "--num_samples=7", *option)
    assert said.out.startswith("7 rows by sequential Monte Carlo"), said.err
    drawn = pd.read_csv("drawn.csv")
    assert drawn.shape == (7, 64) and drawn.min().min() >= 0 and drawn.max().max() <= 16
    pd.DataFrame(load_digits().data[:2], columns=labelled.columns(64)).to_csv("in.csv", index=False)
    given = (f"--workdir={run}", "--input=in.csv", "--output=out.csv", "--hide=lower_half")
    said = call("impute", *given)
    assert "2 rows, 64 gaps filled" in said.out and "cells 64, rmse" in said.out, said.err
    told = pd.read_csv("out.csv").to_numpy(float)
    np.testing.assert_array_equal(told[:, :32], load_digits().data[:2, :32])


def test_classes_are_asked_for(refused, tmp_path):
    """In one line: rows of a file have none, nor does a table of that name."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    line = refused("train", "--system=jem", f"--data_path={tmp_path / 'rows.csv'}")
    assert "--data_path: expected a --dataset with classes, one of digits" in line
    line = refused("train", "--system=jem", "--dataset=wine")
    assert "dataset: expected one of digits, mnist" in line
