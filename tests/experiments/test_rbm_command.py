"""A machine on the command line: trained, sampled, evaluated again."""

import json

import numpy as np
import pandas as pd
import pytest

TINY = ("--num_hidden=4", "--num_steps=20", "--batch_size=16", "--num_chains=16")


@pytest.fixture
def units_csv(tmp_path):
    """Write a file of nine units that go together, an image of 3 x 3."""
    rng = np.random.default_rng(0)
    cause = rng.integers(2, size=(60, 1))
    x = np.where(rng.random((60, 9)) < 0.9, cause, 1 - cause)
    path = tmp_path / "units.csv"
    pd.DataFrame(x, columns=[f"u{unit}" for unit in range(9)]).to_csv(path, index=False)
    return path


def test_train_sample_evaluate(call, units_csv):
    """The run folder is complete, and its metrics are made again the same."""
    said = call("train", "--flagfile=rbm_small.cfg", *TINY, f"--data_path={units_csv}")
    assert said.status == 0, said.err
    assert "units: a machine of 9 x 4 units" in said.out and "held-out likelihood" in said.err
    assert "run folder runs/units-rbm-seed0" in said.out
    run = units_csv.parent / "cwd" / "runs" / "units-rbm-seed0"
    names = {path.name for path in run.iterdir()}
    figures = {"training.png", "filters.png", "fields.png", "chain.png"}
    assert names == {"checkpoints", "fields", "run.cfg", "metrics.json", "log.jsonl", *figures}

    first = json.loads((run / "metrics.json").read_text())
    assert first["is_exact"] and first["rows"] == {"train": 54, "held_out": 6}
    assert first["likelihood"]["train"]["log_likelihood"] < 0
    (run / "metrics.json").unlink()
    assert call("evaluate", f"--workdir={run}").status == 0
    again = json.loads((run / "metrics.json").read_text())
    assert again["likelihood"] == first["likelihood"] and again["config"] == first["config"]

    output = run.parent / "drawn.csv"
    said = call("sample", f"--workdir={run}", f"--output={output}", "--num_samples=7")
    assert said.out == f"7 rows by enumeration, exact and independent; wrote {output}\n"
    drawn = pd.read_csv(output)
    assert drawn.shape == (7, 9) and set(drawn.to_numpy().ravel()) <= {0, 1}


@pytest.mark.parametrize("visible", ["gaussian", "multinomial"])
def test_numbers_and_levels_have_commands_too(call, visible, units_csv):
    """Trained, drawn in the table's units, and gaps filled."""
    args = (*TINY, f"--visible={visible}", f"--data_path={units_csv}", "--workdir=run")
    said = call("train", "--flagfile=rbm_small.cfg", *args, "--momentum=0.5")
    assert said.status == 0, said.err
    assert call("sample", "--workdir=run", "--output=drawn.csv", "--num_samples=7").status == 0
    drawn = pd.read_csv("drawn.csv")
    is_level = set(drawn.to_numpy().ravel()) <= {0, 1}
    assert drawn.shape == (7, 9) and is_level == (visible == "multinomial")
    names = ",".join(f"u{unit}" for unit in range(9))
    units_csv.with_name("gaps.csv").write_text(f"{names}\n1,,1,1,1,1,1,1,1\n")
    files = (f"--input={units_csv.with_name('gaps.csv')}", "--output=out.csv")
    assert call("impute", "--workdir=run", *files).status == 0
    assert np.isfinite(pd.read_csv("out.csv").to_numpy()).all()


def test_gaps_of_other_rows_are_filled(call, refused, units_csv):
    """By how likely a unit is on, or by bits; observed cells as they came."""
    args = (*TINY, "--num_steps=300", f"--data_path={units_csv}", "--workdir=run")
    call("train", "--flagfile=rbm_small.cfg", *args)
    names = ",".join(f"u{unit}" for unit in range(9))
    units_csv.with_name("gaps.csv").write_text(f"{names}\n1.0,,1,1,,1,1,1,1\n0,0,0,,0,0,0,0,0\n")
    files = (f"--input={units_csv.with_name('gaps.csv')}", "--output=out.csv")
    said = call("impute", "--workdir=run", *files)
    assert "2 rows, 3 gaps filled; wrote out.csv" in said.out, said.err
    assert "a unit is on where its value is above 0.5" in said.out
    filled = pd.read_csv("out.csv", dtype=str)
    assert filled["u0"].tolist() == ["1.0", "0"]
    assert float(filled["u1"][0]) > 0.5 > float(filled["u3"][1])
    assert call("impute", "--workdir=run", *files, "--num_imputations=3", "--overwrite").status == 0
    draws = pd.read_csv("out.csv")
    assert draws.shape == (6, 11) and set(draws["u1"]) <= {0, 1}
    told = refused("impute", "--workdir=run", *files, "--overwrite", "--gaps_at_random")
    assert "--gaps_at_random: expected some of --num_imputations, --seed" in told


def test_what_is_of_a_tilted_table_alone_is_refused(call, refused, units_csv):
    """Flags of chains of tilts, and the command of sensitivity."""
    call("train", "--flagfile=rbm_small.cfg", *TINY, f"--data_path={units_csv}", "--workdir=run")
    told = refused("sample", "--workdir=run", "--output=x.csv", "--method=hmc")
    assert "--method: expected some of --num_samples, --seed, --num_steps" in told
    args = (f"--input={units_csv}", "--output=y.csv", "--column=u1", "--gamma=1")
    told = refused("sensitivity", "--workdir=run", *args)
    assert "expected a run of 'tilted', got 'rbm'" in told
