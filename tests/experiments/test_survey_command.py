"""A file of SPSS is trained on and completed from the command line, with its labels."""

import numpy as np
import pandas as pd
import pytest

pyreadstat = pytest.importorskip("pyreadstat", reason="pyreadstat is not installed (extra survey)")

TINY = ("--latent_dim=1", "--num_steps=10", "--tilt=none", "--num_imputation_samples=20")


@pytest.mark.slow
def test_a_survey_is_completed_and_what_was_not_asked_stays(call, tmp_path):
    """What is text comes along; the codes of training hold for other files, too."""
    rng = np.random.default_rng(0)
    age, income = rng.normal(45, 12, 60).round(), rng.normal(30, 5, 60).round(1)
    income[income > 33] = -9
    income[:5] = -8
    frame = pd.DataFrame({"age": age, "income": income, "id": [f"p{one}" for one in range(60)]})
    frame.loc[7, "age"] = 99
    labels = {"income": {-9.0: "Refused", -8.0: "Not asked"}}
    pyreadstat.write_sav(
        frame,
        str(tmp_path / "a.sav"),
        variable_value_labels=labels,
        missing_ranges={"income": [-9, -8]},
    )
    codes = "--missing_codes=age: 99 refused"
    said = call("train", f"--data_path={tmp_path}/a.sav", codes, "--workdir=run", *TINY)
    assert said.status == 0 and "left out, for they hold no numbers: id" in said.err, said
    said = call(
        "impute", "--workdir=run", f"--input={tmp_path}/a.sav", f"--output={tmp_path}/b.sav"
    )
    num_refused = int((income == -9).sum())
    assert f"{num_refused + 1} gaps filled, 5 left that were not asked" in said.out, said
    done, meta = pyreadstat.read_sav(str(tmp_path / "b.sav"), user_missing=True)
    assert (done["income"][:5] == -8).all() and (done["income"][5:] > 0).all()
    assert done["age"][7] != 99 and done["id"].tolist() == frame["id"].tolist()
    assert meta.variable_value_labels == labels
