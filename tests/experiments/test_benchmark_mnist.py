"""The digits task: what a seed draws, what the judge says, the tables."""

import dataclasses

import numpy as np
import pytest
from absl import flags

from experiments import classifier
from experiments.benchmark.debiasing import digits as task
from experiments.benchmark.debiasing import mnist
from mnar_ebm import Config, data, debiasing, tilted


def make_digits(num_rows):
    """Return digits whose label is which fifth of the image is white, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_rows) % task.NUM_CLASSES
    images = 0.6 * rng.random((num_rows, 28, 28))
    for label in range(task.NUM_CLASSES):
        images[labels == label, 5 * label : 5 * label + 5] += 0.4
    return images.reshape(num_rows, -1).astype(np.float32), labels


@pytest.fixture(scope="module")
def digits():
    """Return training images, a thousand of each class, and test images."""
    return task.Digits(*make_digits(5000), *make_digits(200))


def test_a_seed_draws_wrong_proportions_and_other_images_in_equal_ones(digits):
    """The shares are those asked for; no unbiased image was selected; small samples are nested."""
    split = task.split_digits(digits, seed=1, num_selected=1000)
    x = task.to_black_and_white(digits.train_x)
    label_of = {row.tobytes(): label for row, label in zip(x, digits.train_y, strict=True)}

    def keys(table):
        return [row.astype(np.float32).tobytes() for row in table.x]

    counts = np.bincount([label_of[key] for key in keys(split.selected)])
    np.testing.assert_array_equal(counts, 1000 * np.array(task.PROPORTIONS))
    for per_class, table in split.unbiased.items():
        assert np.bincount([label_of[key] for key in keys(table)]).tolist() == [per_class] * 5
        assert not set(keys(table)) & set(keys(split.selected))
    assert set(keys(split.unbiased[2])) < set(keys(split.unbiased[5]))
    with pytest.raises(ValueError, match="mnist: expected 1750 images of 1, got 1000"):
        task.split_digits(digits, seed=1, num_selected=5000)


@pytest.mark.slow
def test_the_judge_knows_the_classes_and_a_collapse(digits):
    """Equal shares and the same images: 0; one class alone: 0.8, and features far away."""
    reader = classifier.fit(digits.train_x, digits.train_y, num_steps=60)
    read = reader.read(digits.test_x)
    assert np.mean(read.labels == digits.test_y) > 0.99
    judge = task.Judge(reader, 1.0, read.features)
    same = judge.judge(digits.test_x)
    assert same["variation"] < 0.01 and same["fid"] == pytest.approx(0.0, abs=1e-3)
    collapsed = judge.judge(digits.test_x[digits.test_y == 3])
    assert collapsed["variation"] == pytest.approx(0.8) and collapsed["fid"] > 1.0
    binary = reader.read(task.to_black_and_white(digits.test_x))
    assert np.mean(binary.labels == digits.test_y) > 0.99


def test_the_tables_show_every_method_beside_the_vae():
    """The FID stands as a share of the VAE's too; chains have no weights and so no ESS."""

    def result(method, fid, ess, **more):
        shown = {"method": method, "per_class": 10, "variation": 0.1, "fid": fid}
        return shown | {"ess_fraction": ess} | more

    results = [
        result(mnist.VAE, 50.0, 1.0),
        result(mnist.SECOND, 25.0, 0.2, tilt_scale=0.5, energy="clusters", gain=0.1),
        result("chains", 40.0, None),
    ]
    record = {"latent_dim": 8, "seed": 0, "accuracy": 0.99, "results": results}
    text = mnist.make_text([record, record | {"seed": 1}])
    assert "| chains | 8 | 2 | 0.100 ± 0.000 | 40.0 ± 0.0 | 0.80 ± 0.00 | - |" in text
    assert "| 10 | yes | 2 | 0.100 ± 0.000 | 25.0 ± 0.0 | 0.50 ± 0.00 |" in text
    assert "| 0 | 0 | 2 | 0 | 0.50 ± 0.00 | 0.10 ± 0.00 |" in text
    assert "99.0%" in text


def test_without_records_a_table_stays(load, tmp_path, capsys, monkeypatch):
    """Nothing is put in the place of what stood there."""
    command = load("benchmark.debiasing.__main__")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- mnist -->\nkept\n")
    flags.FLAGS(
        [
            "debiasing",
            "--tasks=mnist",
            "--only_table",
            f"--workdir={tmp_path}",
            f"--readme={readme}",
        ]
    )
    command.main()
    assert "mnist: no record in" in capsys.readouterr().out
    assert readme.read_text() == "<!-- mnist -->\nkept\n"


@pytest.mark.slow
def test_figures_are_drawn(tmp_path, digits, monkeypatch):
    """Of a model that has learned nothing, tilted to a few images."""
    monkeypatch.setattr(mnist, "NUM_PROPOSALS", 2000)
    columns = [f"pixel_{number}" for number in range(28 * 28)]
    table = data.make_table("mnist", columns, task.to_black_and_white(digits.test_x))
    config = Config(tilt="latent", mechanism="none", likelihood="bernoulli", latent_dim=2)
    changes = {"hidden_dim": 8, "unbiased_energy": "clusters", "unbiased_steps": 20}
    config = dataclasses.replace(config, unbiased_folds=0, **changes)
    fitted = tilted.make_fitted(config, tilted.table_facts(config, table))
    second, _ = debiasing.debias(fitted, data.make_table("few", columns, table.x[:40]))
    drawn = mnist.draw(second, 0)
    assert drawn.images.shape == (mnist.NUM_SAMPLES, 28 * 28) and 0.01 < drawn.ess < 1
    reader = classifier.fit(digits.train_x, digits.train_y, num_steps=2)
    mnist.draw_latent(fitted, second, reader, tmp_path / "latent.png")
    results = [{"method": "VAE", "per_class": 10, "shares": [0.1, 0.3, 0.3, 0.2, 0.1]}]
    mnist.draw_classes(results, tmp_path / "classes.png")
    assert {path.name for path in tmp_path.iterdir()} == {"latent.png", "classes.png"}
