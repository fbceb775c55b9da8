"""A run folder holds all that is promised, and its run.cfg repeats the run."""

import json

import numpy as np
import pytest
from absl import flags

from mnar_ebm import data

KEYS = {
    "dataset": "people",
    "mechanism": "selfmasking_probit",
    "tilt": "latent",
    "seed": 1,
    "rmse": None,
}
NUMBERS = ("log_z", "ess_fraction", "pareto_k", "tilt_scale", "steps_per_second", "wall_seconds")
FIGURES = ("training.png", "densities.png", "latent.png")


@pytest.fixture
def metrics(trained):
    """Return what metrics.json holds."""
    return json.loads((trained.workdir / "metrics.json").read_text())


def test_the_run_folder_is_complete(trained):
    """Nothing is missing, nothing is left over."""
    names = {path.name for path in trained.workdir.iterdir()}
    files = {"run.cfg", "metrics.json", "log.jsonl", "imputed.csv", *FIGURES}
    assert names == {"checkpoints", *files}
    for name in FIGURES:
        assert (trained.workdir / name).read_bytes().startswith(b"\x89PNG")


def test_nothing_is_written_elsewhere(trained):
    """The working directory gets the run folder alone."""
    cwd = trained.workdir.parent.parent
    assert [path.name for path in cwd.iterdir()] == ["runs"]
    assert list((cwd / "runs").iterdir()) == [trained.workdir]


def test_metrics(metrics):
    """Every key is there; what must be a number is finite."""
    assert {name: metrics[name] for name in KEYS} == KEYS
    assert np.isfinite([metrics[name] for name in NUMBERS]).all()
    assert np.isfinite([metrics["bound"][name] for name in ("base", "tilted")]).all()
    assert metrics["bound"]["tilted"] >= metrics["bound"]["base"]
    assert metrics["device"] and metrics["matmul_precision"] == "float32"
    assert {"python", "mnar-ebm", "jax", "jaxlib"} <= metrics["versions"].keys()


def test_log(trained):
    """One record a stage of so few steps, each with its bounds."""
    log = [json.loads(line) for line in (trained.workdir / "log.jsonl").read_text().splitlines()]
    assert [(record["stage"], record["step"]) for record in log] == [("base", 20), ("tilt", 20)]
    assert np.isfinite([[record["bound"], record["held_out"]] for record in log]).all()


def test_what_is_printed(trained):
    """The table's size, why there is no RMSE, and where the rest is; bars go to stderr."""
    assert "people: 60 rows, 4 columns" in trained.stdout
    assert "no RMSE: the true values of the missing cells are not known" in trained.stdout
    assert "run folder runs/people-latent-seed1" in trained.stdout
    assert "base" in trained.stderr and "held out" in trained.stderr
    assert "Traceback" not in trained.stderr and "Warning" not in trained.stderr


def test_imputed_csv(trained):
    """Observed cells as they came, text and all; no gap is left."""
    before, after = (data.read_csv(path) for path in (trained.csv, trained.workdir / "imputed.csv"))
    assert after.columns == before.columns
    assert np.isfinite(after.x).all()
    observed = ~np.isnan(before.x)
    assert (after.text[observed] == before.text[observed]).all()


def test_run_cfg_says_everything(load, trained, metrics, tmp_path, monkeypatch):
    """Read in another folder, it gives the same settings and finds the same file."""
    monkeypatch.chdir(tmp_path)
    command = load("train")
    command.cli.parse(["train", f"--flagfile={trained.workdir / 'run.cfg'}"])
    config = command.settings.config_from_flags()
    assert json.loads(json.dumps(config.flat())) == metrics["config"]
    table = command.settings.load_rows().table
    assert table.x.shape == (60, 4) and table.name == "people"
    every = {flag.name for flag in flags.FLAGS.flags_by_module_dict()["experiments.settings"]}
    others = set().union(*command.settings.SETTINGS.values()) - set(config.flat())
    text = (trained.workdir / "run.cfg").read_text()
    assert "--matmul_precision=float32\n" in text
    untold = {name for name in every - others if f"--{name}=" not in text}
    assert untold == {"data_dir", "missing_codes", "pixels", "unbiased"}  # none of which it has
