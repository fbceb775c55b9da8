"""What a run keeps of a table with levels."""

import json

import numpy as np
import pytest

import mnar_ebm
from mnar_ebm.config import Config
from mnar_ebm.data.table import make_table
from mnar_ebm.kinds import make_blocks
from mnar_ebm.tilted import TableFacts, table_facts

BLOCKS = make_blocks([("numeric", 0), ("categorical", 3), ("binary", 2)])
COLUMNS = ("income", "colour=red", "colour=green", "colour=blue", "owner=True")


def make_rows():
    """Return rows with gaps in every column, encoded. [N, D]."""
    rng = np.random.default_rng(0)
    x = np.column_stack(
        [
            50 + 10 * rng.normal(size=40),
            np.eye(3)[rng.integers(3, size=40)],
            rng.integers(2, size=40),
        ]
    )
    missing = rng.random((40, 3)) < 0.3
    x[missing[:, [0, 1, 1, 1, 2]]] = np.nan
    return x


def table(blocks=BLOCKS):
    """Return these rows as a table."""
    return make_table("mixed", COLUMNS, make_rows(), blocks=blocks)


def test_facts_keep_the_kinds_and_read_records_that_have_none():
    """Through JSON; levels are not standardised; a table of numbers alone has no blocks."""
    facts = table_facts(Config(), table())
    again = TableFacts.from_json(json.loads(json.dumps(facts.to_json())))
    assert again.blocks == facts.blocks == BLOCKS and again.to_json() == facts.to_json()
    assert (facts.standardiser.mean[1:] == 0).all() and (facts.standardiser.scale[1:] == 1).all()
    assert 45 < facts.standardiser.mean[0] < 55
    old = facts.to_json()
    del old["blocks"]
    assert TableFacts.from_json(old).blocks == ()
    numbers = make_blocks([("numeric", 0)] * 5)
    assert table(numbers).blocks == table(()).blocks == ()


def test_chains_over_levels_are_refused():
    """Before anything is trained."""
    config = Config(tilt="joint", negative_phase="pcd")
    with pytest.raises(ValueError, match="snis, jensen, nce for the joint tilt of a table with"):
        mnar_ebm.check(config, table())
    mnar_ebm.check(Config(tilt="latent", negative_phase="pcd"), table())
    with pytest.raises(ValueError, match="gaussian, two_part, student_t for the numeric columns"):
        mnar_ebm.check(Config(likelihood="bernoulli"), table())
    with pytest.raises(
        ValueError, match="mixed: expected 0 or 1 in the categorical columns colour=red"
    ):
        make_table("mixed", COLUMNS, make_rows() * 2, blocks=BLOCKS)


@pytest.mark.slow
def test_a_run_comes_back_from_its_folder(tmp_path):
    """With a tilt that reads the levels: imputations are the same, bit for bit."""
    config = Config(
        tilt="joint",
        mechanism="selfmasking_probit",
        num_steps=3,
        tilt_steps=3,
        latent_dim=2,
        hidden_dim=4,
        batch_size=8,
        num_importance_samples=3,
        num_negatives=8,
        num_imputation_samples=20,
    )
    fitted, _ = mnar_ebm.train(config, table(), tmp_path)
    answers = [
        model.impute(table().x, num_imputations=2) for model in (fitted, mnar_ebm.load(tmp_path))
    ]
    assert (answers[0].mean == answers[1].mean).all()
    colours = answers[0].mean[:, 1:4]
    np.testing.assert_allclose(colours.sum(axis=1), 1, rtol=1e-5)
    assert np.isin(answers[0].draws[..., 1:], (0, 1)).all()
    wrong = table().x.copy()
    wrong[0, 4] = 0.5
    with pytest.raises(ValueError, match="x: expected 0 or 1 in the binary columns owner=True"):
        fitted.impute(wrong)
