"""The tables of the debiasing benchmark, from its records."""

import pathlib

import pytest

from experiments.benchmark import runner
from experiments.benchmark.debiasing import coat, jobs, mixture, mnist, uci

ROOT = pathlib.Path(__file__).parents[2]
TASKS = {"uci": uci, "mnist": mnist, "coat": coat, "mixture": mixture}


@pytest.mark.parametrize("name", TASKS)
def test_readme_shows_what_the_records_say(name):
    """Every table is, to the letter, what the command makes of the committed records."""
    todo = TASKS[name].make_jobs(jobs.Options(None, 5, pathlib.Path()))
    done = runner.done(ROOT / "experiments/records/debiasing.jsonl")
    records = [done[job.name] for job in todo if job.name in done]
    assert TASKS[name].make_text(records) in (ROOT / "experiments/README.md").read_text()


def test_tilt_is_compared_with_its_base_seed_by_seed():
    """Errors that differ by .1 and .3 from seed to seed, and by -.01 and -.03 from tilt to base."""
    records = [
        {"dataset": "red", "base": base, "share": 0.05, "rmse": {"base": rmse, "joint": joint}}
        | {"tilt_scale": 1.0, "ess_fraction": 0.5}
        for base, rmse, joint in (
            ("ignorable", 1.0, 0.99),
            ("ignorable", 1.4, 1.37),
            ("collapsed", 0.5, 0.7),
        )
    ]
    lines = uci.make_text(records).splitlines()
    assert "| joint tilt less its ignorable base, paired by seed | -0.020 ± 0.010 | - |" in lines
    assert "| joint tilt less its collapsed base, paired by seed | 0.200 | - |" in lines
