"""A density on the command line: trained, sampled, completed."""

import json

import numpy as np
import pandas as pd
import pytest

from mnar_ebm.recipes import fitted

TINY = (
    *("--num_steps=20", "--batch_size=16", "--num_chains=32", "--energy_dim=8", "--jitter=0"),
    "--num_chain_steps=2",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ebm", "score", "energy_matching"])
def test_train_sample_impute(call, tmp_path, monkeypatch, name):
    """The run folder is complete; gaps are filled, observed cells are as they came."""
    monkeypatch.setattr(fitted, "LONG_RUN", (2, 4))
    monkeypatch.setattr(fitted, "NUM_PARTICLES", 100)
    z = np.random.default_rng(0).normal(size=(60, 1))
    frame = pd.DataFrame(
        z + 0.5 * np.random.default_rng(1).normal(size=(60, 3)), columns=["a", "b", "c"]
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    said = call("train", f"--flagfile={name}.cfg", *TINY, f"--data_path={tmp_path / 'rows.csv'}")
    assert said.status == 0, said.err
    (run,) = (tmp_path / "cwd" / "runs").iterdir()
    files = {"checkpoints", "run.cfg", "metrics.json", "log.jsonl", "training.png", "draws.png"}
    assert {path.name for path in run.iterdir()} == files
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["long_run"]) == {"0", "2", "4"}
    assert np.isfinite(metrics["log_likelihood"]["held_out"]["lower"])

    said = call("sample", f"--workdir={run}", "--output=drawn.csv", "--num_samples=7")
    assert said.out.startswith("7 rows by sequential Monte Carlo"), said.err
    assert pd.read_csv("drawn.csv").shape == (7, 3)
    (tmp_path / "gaps.csv").write_text("a,b,c\n1.25,,0.5\n,,\n")
    files = (f"--input={tmp_path / 'gaps.csv'}", "--output=out.csv")
    assert "2 rows, 4 gaps filled" in call("impute", f"--workdir={run}", *files).out
    filled = pd.read_csv("out.csv", dtype=str)
    assert filled["a"][0] == "1.25" and np.isfinite(filled.to_numpy(float)).all()
