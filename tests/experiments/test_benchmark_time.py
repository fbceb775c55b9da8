"""The time to quality: when a curve reaches an error, and a run on a tiny table."""

import pathlib

import numpy as np
import pytest

from experiments.benchmark import runner

CURVE = {
    "dataset": "red",
    "method": "paper_deep",
    "looks": [[400, 2.0, 1.3], [800, 3.0, 1.06], [1200, 4.0, 1.2]],
}


@pytest.fixture
def time_to_quality(load):
    """Return the command's module."""
    return load("benchmark.time_to_quality")


def test_the_first_look_below_the_published_error_counts(time_to_quality):
    """Of the method's own row and of the whole table; a dash stands where nothing is published."""
    assert time_to_quality.seconds_to(CURVE, 1.3) == 2.0
    assert time_to_quality.seconds_to(CURVE, 1.07) == 3.0
    assert time_to_quality.seconds_to(CURVE, 1.0) is None
    own = CURVE | {"method": "recommended"}
    rows = time_to_quality.make_text([CURVE, own, CURVE | {"dataset": "mine"}]).splitlines()[2:]
    assert rows[0] == "| red | paper_deep | 3 (to 1.07) | 3 (to 1.07) | 1.200 | 1200 | 4 |"
    assert rows[1] == "| red | recommended | - | 3 (to 1.07) | 1.200 | 1200 | 4 |"
    assert rows[2] == "| mine | paper_deep | - | - | 1.200 | 1200 | 4 |"


@pytest.mark.slow
def test_a_curve_is_taken_and_drawn(call, tmp_path):
    """A look every so many steps, and in the end; a curve that is there is not taken again."""
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt(tmp_path / "mine.csv", x, delimiter=",", header="a,b,c,d", comments="")
    args = (
        f"--datasets=mine={tmp_path}/mine.csv",
        "--methods=paper_ppca,recommended",
        "--hidden_dim=8",
        "--num_steps=800",
        "--tilt_steps=4",
        "--num_negatives=16",
        "--num_samples=20",
        f"--workdir={tmp_path}/work",
        f"--figure={tmp_path}/curves.png",
    )
    said = call("benchmark.time_to_quality", *args)
    assert said.status == 0, said.err
    for name, steps in (("recommended", [400, 800, 804, 804]), ("paper_ppca", [400, 800])):
        path = tmp_path / "work" / "time_to_quality.jsonl"
        looks = runner.done(path)[f"mine-{name}"]["looks"]
        assert [look[0] for look in looks] == steps
        seconds, rmse = np.array(looks).T[1:]
        assert seconds[0] > 0 and (np.diff(seconds) > 0).all() and np.isfinite(rmse).all()
    assert (tmp_path / "curves.png").stat().st_size > 0
    before = path.stat().st_mtime_ns
    call("benchmark.time_to_quality", *args)
    assert path.stat().st_mtime_ns == before


def test_readme_shows_what_the_records_say(time_to_quality):
    """The table is, to the letter, what the command makes of the committed curves."""
    root = pathlib.Path(__file__).parents[2]
    records = runner.done(root / "experiments/records/time_to_quality.jsonl")
    curves = [
        records[f"{dataset}-{method}"]
        for dataset in ("banknote", "concrete", "red", "breast")
        for method in ("recommended", "paper_ppca", "paper_deep", "notmiwae_pytorch")
    ]
    text = f"{time_to_quality.BEGIN}\n{time_to_quality.make_text(curves)}\n{time_to_quality.END}"
    assert text in (root / "experiments/README.md").read_text()
