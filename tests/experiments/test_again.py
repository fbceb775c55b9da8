"""What is done again comes out the same: by evaluate, from run.cfg, after a kill."""

import json
import shutil
import signal
import time

import pytest

from mnar_ebm.training import checkpoints

TIMING = ("steps_per_second", "wall_seconds")


def metrics(workdir):
    """Return what metrics.json holds but for what a clock has measured."""
    found = json.loads((workdir / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name not in TIMING}


def wait_for(condition, process):
    """Wait until a condition holds, as long as the process runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_evaluate(call, trained, tmp_path):
    """The same metrics, table and figures as at the end of training."""
    workdir = tmp_path / "copy"
    shutil.copytree(trained.workdir, workdir)
    made = ("metrics.json", "imputed.csv", "training.png", "densities.png", "latent.png")
    for name in made:
        (workdir / name).unlink()
    said = call("evaluate", f"--workdir={workdir}")
    assert said.status == 0, said
    assert "no RMSE" in said.out
    assert metrics(workdir) == metrics(trained.workdir)
    for name in made[1:]:
        assert (workdir / name).stat().st_size
    ours, theirs = ((path / "imputed.csv").read_text() for path in (workdir, trained.workdir))
    assert ours == theirs


@pytest.mark.slow
def test_run_cfg_repeats_a_run_killed_or_not(call, spawn, trained, tmp_path):
    """A run from run.cfg, killed without warning and gone on with, ends as the first one did."""
    workdir = tmp_path / "again"
    args = (f"--flagfile={trained.workdir / 'run.cfg'}", f"--workdir={workdir}")
    process = spawn("train", *args, cwd=tmp_path)
    wait_for(lambda: checkpoints.has_checkpoint(workdir), process)
    process.kill()
    process.communicate()
    assert not (workdir / "metrics.json").exists()
    said = call("train", *args, "--resume")
    assert said.status == 0, said
    assert metrics(workdir) == metrics(trained.workdir)
    for name in ("run.cfg", "imputed.csv"):
        assert (workdir / name).read_text() == (trained.workdir / name).read_text(), name


@pytest.mark.slow
def test_a_run_asked_to_stop_can_go_on(call, spawn, people_csv, tmp_path):
    """SIGTERM saves the state, says how to go on, and ends with a status of its own."""
    workdir = tmp_path / "stopped"
    log = workdir / "log.jsonl"
    args = (f"--data_path={people_csv}", f"--workdir={workdir}", "--num_steps=1000")
    args = (*args, "--tilt_steps=0", "--latent_dim=2", "--hidden_dim=16", "--batch_size=16")
    args = (*args, "--num_importance_samples=1", "--num_imputation_samples=50")
    process = spawn("train", *args, cwd=tmp_path)
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == "" and "Traceback" not in err
    assert "of stage base; go on with --resume" in err.splitlines()[-1]
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert 200 <= steps[-1] < 1000

    said = call("train", *args, "--resume")
    assert said.status == 0, said
    assert "tilt scale 0: no tilt raised the held-out bound" in said.out
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [200, 400, 600, 800, 1000]
    assert metrics(workdir)["tilt_scale"] == 0
