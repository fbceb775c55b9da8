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
        (("--method=hmc", "--num_steps=20", "--num_chains=2", "--thin=1"), "num_divergent"),
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


def test_seed(call, trained):
    """The same seed gives the same file, another another."""
    given = (f"--workdir={trained.workdir}", "--num_samples=8", "--num_proposals=200")
    given = (*given, "--method=snis")
    files = []
    for output, seed in (("a.csv", 0), ("b.csv", 0), ("c.csv", 1)):
        assert call("sample", *given, f"--output={output}", f"--seed={seed}").status == 0
        files.append(pd.read_csv(output))
    assert files[0].equals(files[1]) and not files[0].equals(files[2])
