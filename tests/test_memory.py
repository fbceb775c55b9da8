"""Sizes that no machine has are refused before any work."""

import numpy as np
import pytest

import mnar_ebm
from mnar_ebm import Config, data, memory
from mnar_ebm.tilted import table_facts
from mnar_ebm.tilted.fitted import make_fitted

TABLE = data.make_table("t", "ab", np.random.default_rng(0).normal(size=(30, 2)))


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [
        ("latent_dim", 10**12, {}),
        ("hidden_dim", 10**7, {}),
        ("batch_size", 10**12, {}),
        ("num_importance_samples", 10**11, {}),
        ("num_negatives", 10**12, {}),
        ("replay_size", 10**12, {"negative_phase": "pcd"}),
    ],
)
def test_settings_of_impossible_sizes(name, value, others):
    """One line names the setting, what it would need and what there is."""
    config = Config(tilt="latent", **{name: value}, **others)
    match = rf"{name}: expected a size that fits into .* GB of memory, got .* at least .* GB"
    with pytest.raises(ValueError, match=match):
        mnar_ebm.check(config, TABLE)
    with pytest.raises(ValueError, match=match):
        mnar_ebm.train(config, TABLE)


def test_numbers_of_draws_that_are_impossible():
    """Of rows, of base draws and of imputations."""
    config = Config(tilt="none", mechanism="mcar", latent_dim=2, hidden_dim=4)
    fitted = make_fitted(config, table_facts(config, TABLE))
    for name in ("num_samples", "num_proposals"):
        settings = {"num_samples": 1, name: 10**12}
        with pytest.raises(ValueError, match=f"{name}: expected a size that fits"):
            fitted.sample(**settings)
    with pytest.raises(ValueError, match="num_imputations: expected a size that fits"):
        fitted.impute(TABLE.x, num_imputations=10**12)


def test_what_fits_is_let_through(monkeypatch):
    """Up to what there is."""
    monkeypatch.setattr(memory, "available", lambda: 1e9)
    memory.check_memory({"rows": 1e9, "columns": 1.0})
    with pytest.raises(ValueError, match="rows: .* 1 GB of memory, got one that needs .* 1.1 GB"):
        memory.check_memory({"rows": 1.1e9, "columns": 1.0})


def test_there_is_memory():
    assert 1e8 < memory.available() < 1e15
