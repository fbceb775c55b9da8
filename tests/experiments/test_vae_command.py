"""A VAE of images on the command line: trained, drawn from, evaluated again, with gaps too."""

import json

import numpy as np
import pandas as pd
import pytest

TINY = (
    "--flagfile=vae.cfg",
    "--pixels=grey",
    "--hidden_dims=6,5",
    "--latent_dim=2",
    "--num_steps=20",
    "--batch_size=16",
    "--num_imputation_samples=50",
)
FIGURES = {"training.png", "reconstructions.png", "draws.png", "latent.png", "posterior.png"}


@pytest.fixture
def images_csv(tmp_path):
    """Write a file of images of 3 x 3 pixels with gaps, those of a row alike."""
    rng = np.random.default_rng(0)
    x = np.clip(rng.random((60, 1)) + 0.1 * rng.normal(size=(60, 9)), 0, 1)
    x = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    path = tmp_path / "images.csv"
    pd.DataFrame(x, columns=[f"p{number}" for number in range(9)]).to_csv(path, index=False)
    return path


def test_train_evaluate_sample(call, refused, images_csv):
    """Images with gaps; the run folder is complete, and its metrics are made again the same."""
    said = call("train", *TINY, f"--data_path={images_csv}", "--likelihood=continuous_bernoulli")
    assert said.status == 0, said.err
    assert "images: 54 images to train on, 6 held out" in said.out
    assert "bound, 50 samples" in said.out and "run folder runs/images-vae-seed0" in said.out
    run = images_csv.parent / "cwd" / "runs" / "images-vae-seed0"
    names = {path.name for path in run.iterdir()}
    assert names == {"checkpoints", "run.cfg", "metrics.json", "log.jsonl", *FIGURES}
    first = json.loads((run / "metrics.json").read_text())
    assert first["system"] == "vae" and first["bound_samples"] == 50
    assert first["elbo"] < first["bound"] + 5 * first["bound_standard_error"]

    (run / "metrics.json").unlink()
    assert call("evaluate", f"--workdir={run}").status == 0
    again = json.loads((run / "metrics.json").read_text())
    assert again["bound"] == first["bound"] and again["config"] == first["config"]
    said = call("sample", f"--workdir={run}", "--output=drawn.csv", "--num_samples=7")
    drawn = pd.read_csv("drawn.csv").to_numpy()
    assert drawn.shape == (7, 9) and (drawn >= 0).all() and (drawn <= 1).all()
    said = call("impute", f"--workdir={run}", f"--input={images_csv}", "--output=filled.csv")
    assert said.status == 0 and not pd.read_csv("filled.csv").isna().any(axis=None)


def test_an_autoencoder(call):
    """Of digits that are on or off: what it reconstructs is no bound."""
    few = (*TINY, "--proposal=point", "--pixels=halved", "--workdir=run")
    said = call("train", *few)
    assert said.status == 0, said.err
    assert "log p(x given its code)" in said.out and "bound" not in said.out
    found = json.loads(open("run/metrics.json").read())
    assert found["reconstruction_log_likelihood"] < 0 and found["rows"] == {
        "train": 1293,
        "held_out": 144,
        "judged": 360,
    }


def test_pixels_are_of_images(refused, images_csv):
    """They mean nothing to another system; values beyond 1 are no pixels."""
    line = refused("train", "--pixels=drawn", "--workdir=run")
    assert "--pixels: expected it with --system=vae, got tilted" in line
    images_csv.write_text("a,b\n0.5,2\n1,0\n")
    line = refused("train", *TINY, f"--data_path={images_csv}", "--workdir=run")
    assert "expected pixels from 0 to 1, got 2" in line


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space"), [("vaebm", "data"), ("lebm", "latent")])
def test_an_energy_on_top(call, images_csv, name, space):
    """Its scale is chosen, its draws are shown beside those of the base, and it can be loaded."""
    few = ("--tilt_steps=20", "--num_negatives=16", "--replay_size=32", "--pixels=grey")
    files = (f"--data_path={images_csv}", "--workdir=run", "--likelihood=continuous_bernoulli")
    said = call("train", f"--flagfile={name}.cfg", *TINY[1:], *few, *files)
    assert said.status == 0, said.err
    found = json.loads(open("run/metrics.json").read())
    assert found["config"]["tilt"] == space and 0 <= found["tilt_scale"] <= 1
    assert found["tilted_bound"] >= found["base_bound"]
    said = call("sample", "--workdir=run", "--output=drawn.csv", "--num_samples=5")
    assert pd.read_csv("drawn.csv").shape == (5, 9), said.err
