"""Sample: each method gives finite rows in the units and columns of the data."""

import numpy as np
import pandas as pd
import pytest


@pytest.mark.parametrize(
    "args, shown",
    [
        (("--method=snis", "--num_proposals=200"), "ess_fraction"),
        (("--method=ula", "--num_steps=2", "--space=noise", "--temperature=2"), "another model"),
        (("--method=mala", "--num_steps=3", "--thin=1"), "rhat"),
        (
            ("--method=hmc", "--num_steps=20", "--num_chains=2", "--thin=1", "--force"),
            "num_divergent",
        ),
        (("--method=mala", "--num_steps=3", "--num_chains=1", "--thin=1", "--force"), "rhat"),
    ],
)
def test_methods(call, trained, args, shown):
    """As many rows as asked for, and a word on how well it went."""
    given = (f"--workdir={trained.workdir}", "--output=out.csv", "--num_samples=8")
    said = call("sample", *given, *args)
    assert said.status == 0, said
    assert "8 rows by" in said.out and shown in said.out
    drawn = pd.read_csv("out.csv")
    assert list(drawn.columns) == ["height", "weight", "group", "dose"]
    assert drawn.shape == (8, 4)
    assert np.isfinite(drawn).all(axis=None)
    assert drawn["height"].between(100, 250).all()


def test_bad_chains_are_warned_about(call, trained):
    """Chains that cannot move in three steps of 1e-6 are said not to agree."""
    given = (f"--workdir={trained.workdir}", "--output=out.csv", "--num_samples=40")
    settings = ("--method=mala", "--num_steps=3", "--thin=1", "--step_size=1e-6", "--num_chains=4")
    said = call("sample", *given, *settings)
    assert said.status == 0, said
    assert "warning: the chains disagree" in said.out and "run them longer" in said.out


@pytest.mark.parametrize(
    "args, message",
    [
        (
            ("--method=ula", "--step_size=100"),
            "draws by ula are not finite, for the chains diverged",
        ),
        (("--method=mala", "--step_size=1e6"), "no move of the chains by mala was accepted"),
    ],
)
def test_chains_that_went_nowhere_leave_the_file_as_it_was(call, trained, tmp_path, args, message):
    """What was drawn before is not lost for it."""
    path = tmp_path / "out.csv"
    path.write_text("of before")
    given = (f"--workdir={trained.workdir}", f"--output={path}", "--num_samples=8", "--overwrite")
    said = call("sample", *given, "--num_steps=40", "--thin=1", *args)
    assert said.status == 1 and message in said.err and "nothing was written" in said.err
    assert said.err.count("\n") == 1 and path.read_text() == "of before"


def test_one_row_can_be_drawn_by_a_chain(call, trained):
    """Nothing can be told of how good it is, and that is told."""
    given = (f"--workdir={trained.workdir}", "--output=out.csv", "--num_samples=1", "--force")
    said = call("sample", *given, "--method=mala", "--num_steps=3", "--thin=1")
    assert said.status == 0, said
    assert "1 rows by mala" in said.out and len(pd.read_csv("out.csv")) == 1


def test_seed(call, trained):
    """The same seed gives the same file, another another."""
    given = (f"--workdir={trained.workdir}", "--num_samples=8", "--num_proposals=200")
    given = (*given, "--method=snis")
    files = []
    for output, seed in (("a.csv", 0), ("b.csv", 0), ("c.csv", 1)):
        assert call("sample", *given, f"--output={output}", f"--seed={seed}").status == 0
        files.append(pd.read_csv(output))
    assert files[0].equals(files[1]) and not files[0].equals(files[2])
