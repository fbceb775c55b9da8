"""The time to quality: when a curve reaches an error, and a run on a tiny table."""

import json

import numpy as np
import pytest

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
    """A look every so many steps, seconds that grow; a curve that is there is not taken again."""
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt(tmp_path / "mine.csv", x, delimiter=",", header="a,b,c,d", comments="")
    args = (
        f"--datasets=mine={tmp_path}/mine.csv",
        "--methods=paper_ppca",
        "--hidden_dim=8",
        "--num_steps=800",
        "--num_samples=20",
        f"--workdir={tmp_path}/work",
        f"--figure={tmp_path}/curves.png",
    )
    said = call("benchmark.time_to_quality", *args)
    assert said.status == 0, said.err
    path = tmp_path / "work" / "mine-paper_ppca.json"
    curve = json.loads(path.read_text())
    assert [look[0] for look in curve["looks"]] == [400, 800]
    seconds, rmse = np.array(curve["looks"]).T[1:]
    assert 0 < seconds[0] < seconds[1] and np.isfinite(rmse).all()
    assert (tmp_path / "curves.png").stat().st_size > 0
    before = path.stat().st_mtime_ns
    call("benchmark.time_to_quality", *args)
    assert path.stat().st_mtime_ns == before
