"""Tables of bits, numbers and levels as units of a machine, and runs of each."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import data
from mnar_ebm.boltzmann import RBM, rbm
from mnar_ebm.recipes import coding
from mnar_ebm.recipes import rbm as recipe

COLUMNS = ("a", "b", "c")


def table(visible, num_rows=400):
    """Return rows whose columns go together: bits, numbers of any scale, or levels."""
    rng = np.random.default_rng(0)
    cause = rng.integers(2, size=(num_rows, 1))
    if visible == "gaussian":
        x = np.array([10.0, -3.0, 0.5]) + np.array([5.0, 1.0, 0.1]) * (
            2 * cause + 0.8 * rng.normal(size=(num_rows, 3))
        )
    elif visible == "multinomial":
        x = np.where(rng.random((num_rows, 3)) < 0.9, 2 * cause, rng.integers(3, size=cause.shape))
    else:
        x = np.where(rng.random((num_rows, 3)) < 0.9, cause, 1 - cause)
    return data.make_table("units", COLUMNS, x.astype(float))


@pytest.mark.parametrize("visible", coding.KINDS)
def test_units_are_values_again(visible):
    """What is encoded is decoded; gaps are known; independent units have their likelihood."""
    given = table(visible)
    facts, rows = coding.table_facts(visible, 0.0, given)
    np.testing.assert_allclose(coding.decode(facts, rows), given.x, rtol=1e-5, atol=1e-5)
    assert coding.Facts.from_json({**facts._asdict(), "rate": list(facts.rate)}) == facts
    torn = np.array([[np.nan, given.x[0, 1], np.nan]])
    units, mask = coding.encode(facts, torn)
    assert units.shape == mask.shape == (1, rows.shape[1]) and np.isfinite(units).all()
    num_each = rows.shape[1] // 3
    np.testing.assert_array_equal(mask[0, ::num_each], [False, True, False])
    if visible == "gaussian":
        law = -0.5 * np.log(2 * np.pi * given.x.var(axis=0)) - 0.5
    else:
        shares = [np.unique(column, return_counts=True)[1] / 400 for column in given.x.T]
        law = [(share * np.log(share)).sum() for share in shares]
    np.testing.assert_allclose(
        coding.independent_log_likelihood(facts, rows), np.sum(law), atol=0.02
    )


@pytest.mark.parametrize(("visible", "gain"), [("gaussian", 0.3), ("multinomial", 0.4)])
def test_a_machine_of_numbers_or_levels_is_trained(visible, gain, tmp_path):
    """Its likelihood is above that of independent units; draws and gaps have the table's units."""
    given = table(visible)
    config = recipe.Config(
        num_hidden=3, visible=visible, num_steps=600, batch_size=50, num_chains=50
    )
    fitted = recipe.train(config, given, tmp_path)
    facts, rows = coding.table_facts(visible, 0.0, given)
    exact = recipe.likelihood(fitted, rows)["log_likelihood"]
    assert exact > coding.independent_log_likelihood(facts, rows) + gain
    drawn = fitted.sample(2000)
    if visible == "gaussian":
        error = given.x.std(axis=0) / np.sqrt(400)
        assert (np.abs(drawn.mean(axis=0) - given.x.mean(axis=0)) < 6 * error).all()
    else:
        assert set(np.unique(drawn)) <= {0.0, 1.0, 2.0}
    for end in (0, 1):  # of the cause, which one column tells
        row = given.x[(given.x[:, 0] > given.x[:, 0].mean()) == end][:1]
        torn = np.where([[True, False, False]], row, np.nan)
        mean, draws = fitted.impute(torn, num_imputations=50)
        assert draws.shape == (50, 1, 3)
        np.testing.assert_allclose(draws[:, 0, 0], row[0, 0], rtol=1e-5)
        assert ((mean[0, 1:] > given.x[:, 1:].mean(axis=0)) == end).all()
    assert recipe.load(tmp_path).facts == fitted.facts
    steps = list(recipe.read_fields(tmp_path))
    assert steps == [200, 400, 600]


def test_the_density_of_numbers_is_that_of_their_own_scale():
    """The likelihood integrates to one over values, not over standardised ones."""
    facts = coding.Facts(("a",), None, (), "gaussian", 1, (2.0,), (3.0,))
    one = RBM(jnp.array([0.3]), jnp.zeros(1), jnp.array([[1.0]]), jnp.zeros(1))
    fitted = recipe.FittedMachine(recipe.Config(num_hidden=1), facts, one)
    grid = np.linspace(-40, 40, 801)
    units = coding.encode(facts, grid[:, None])[0]
    log_p = rbm.log_likelihood(one, jnp.asarray(units), rbm.log_z(one, facts.kind), facts.kind)
    assert np.exp(np.asarray(log_p) - facts.log_volume).sum() * 0.1 == pytest.approx(1, abs=1e-4)
    found = recipe.likelihood(fitted, units)["log_likelihood"]
    assert found == pytest.approx(float(log_p.mean()) - np.log(3.0), abs=1e-4)


def test_settings_reach_the_chains_and_the_judge(monkeypatch):
    """Momentum, sparsity; the likelihood, exact or bracketed, in place of the pseudo-likelihood."""
    config = recipe.Config(num_hidden=3, num_steps=20, batch_size=16, num_chains=16)
    assert config.chains.momentum is None and config.chains.sparsity_price == 0
    other = dataclasses.replace(config, momentum=0.9, sparsity_price=0.5, sparsity_rate=0.2)
    assert other.chains == config.chains._replace(
        momentum=0.9, sparsity_price=0.5, sparsity_rate=0.2
    )
    given, seen = table("binary"), {}
    facts, rows = coding.table_facts("binary", 0.0, given)
    for judge in recipe.JUDGES:
        records = []
        one = dataclasses.replace(config, stop_by=judge, threshold=0.0)
        fitted = recipe.train(one, given, report=records.append)
        seen[judge] = records[-1]
    assert "pseudo_likelihood" not in seen["pseudo"]
    assert seen["likelihood"]["held_out"] == seen["auto"]["held_out"]
    held_out = rows[recipe.split_rows(config, len(rows))[1]]
    exact = recipe.likelihood(fitted, held_out)["log_likelihood"]
    assert seen["likelihood"]["held_out"] == pytest.approx(exact, abs=1e-4)
    monkeypatch.setattr(rbm, "MAX_UNITS", 2)
    monkeypatch.setattr(recipe, "FEW_UNITS", 2)
    records = []
    recipe.train(one, given, report=records.append)
    assert records[-1]["judged_lower"] == pytest.approx(exact, abs=0.1)
    assert records[-1]["judged_upper"] == pytest.approx(exact, abs=0.1)


def test_values_that_units_have_not_are_refused():
    """In one line, naming the column."""
    with pytest.raises(
        ValueError, match=r"x: expected levels 0 to 2, got 0.5 in row 0, column 'a'"
    ):
        coding.table_facts(
            "multinomial", 0.0, data.make_table("t", COLUMNS, np.array([[0.5, 1, 2], [0, 1, 2]]))
        )
    still = data.make_table("t", COLUMNS, np.array([[0.5, 1, 2], [0, 1, 3]]))
    with pytest.raises(ValueError, match="t: expected columns that vary, got 'b'"):
        coding.table_facts("gaussian", 0.0, still)
    with pytest.raises(ValueError, match="visible: expected one of binary, gaussian, multinomial"):
        recipe.Config(visible="levels")
