"""Machines of a table: what counts as on, runs that go on bit for bit, answers that are exact."""

import dataclasses
import json

import jax
import numpy as np
import oracles
import pytest

from mnar_ebm import data
from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.recipes import rbm, units
from mnar_ebm.training import InterruptedTraining, loop

CONFIG = rbm.Config(num_hidden=3, num_chains=16, batch_size=16, num_steps=6)
COLUMNS = tuple("abcde")


def table(num_rows=80, top=1.0):
    """Return rows of five units that go together, on at ``top``."""
    rng = np.random.default_rng(0)
    cause = rng.integers(2, size=(num_rows, 1))
    x = np.where(rng.random((num_rows, 5)) < 0.9, cause, 1 - cause) * top
    return data.make_table("units", COLUMNS, x)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Look at the rows after every second step."""
    monkeypatch.setattr(loop, "CHUNK_STEPS", 2)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Train without a break."""
    workdir = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHUNK_STEPS", 2)
        return rbm.train(CONFIG, table(), workdir), workdir


def log_of(workdir):
    """Return the log without what the clock says."""
    records = map(json.loads, (workdir / "log.jsonl").read_text().splitlines())
    return [record | {"steps_per_second": None} for record in records]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(full, tmp_path):
    """Chains and all."""
    stops = iter([True, False, False])
    with pytest.raises(InterruptedTraining, match="stopped at step 2 of stage pcd"):
        rbm.train(CONFIG, table(), tmp_path, should_stop=lambda: next(stops))
    with pytest.raises(ValueError, match="expected a finished run, got one in stage pcd"):
        rbm.load(tmp_path)
    fitted = rbm.train(CONFIG, table(), tmp_path, resume=True)
    assert oracles.bits(fitted.machine) == oracles.bits(full[0].machine)
    assert log_of(tmp_path) == log_of(full[1])


def test_a_finished_run_is_found_again(full):
    """By ``load``, and by resuming it."""
    fitted, workdir = full
    for found in (rbm.load(workdir), rbm.train(CONFIG, table(), workdir, resume=True)):
        assert (found.config, found.facts) == (fitted.config, fitted.facts)
        assert oracles.bits(found.machine) == oracles.bits(fitted.machine)


@pytest.mark.parametrize(
    ("config", "rows", "message"),
    [
        (dataclasses.replace(CONFIG, num_hidden=4), 80, "was started with num_hidden=3, got 4"),
        (CONFIG, 79, "was started on another table"),
    ],
)
def test_another_run_is_not_gone_on_with(full, config, rows, message):
    """Nor is it overwritten unasked."""
    with pytest.raises(ValueError, match=message):
        rbm.train(config, table(rows), full[1], resume=True)
    with pytest.raises(ValueError, match="expected no checkpoints, resume=True or overwrite=True"):
        rbm.train(config, table(rows), full[1])


def test_a_run_of_another_system_is_refused(full):
    """In one line, not by a missing key."""
    import mnar_ebm

    with pytest.raises(ValueError, match="expected a run of 'tilted', got 'rbm'"):
        mnar_ebm.load(full[1])


def test_likelihoods_are_exact(full):
    """They are those of all 32 states, of which the probabilities sum to 1."""
    machine = full[0].machine
    states = ((np.arange(32)[:, None] >> np.arange(5)) & 1).astype(np.float32)
    energies = np.array(machines.free_energy(machine, states), np.float64)
    log_p = -energies - np.logaddexp.reduce(-energies)
    found = rbm.likelihood(full[0], states)
    assert found == pytest.approx({"log_likelihood": log_p.mean()}, abs=1e-5)
    assert log_of(full[1])[-1].keys() >= {"held_out", "pseudo_likelihood", "energy_gap"}


def test_a_machine_that_cannot_be_summed_has_two_sides(monkeypatch):
    """One below, one above, each with its error; of a small machine they hold the exact value."""
    fitted = rbm.train(CONFIG, table())
    exact = rbm.likelihood(fitted, full_states())["log_likelihood"]
    monkeypatch.setattr(machines, "MAX_UNITS", 2)
    jax.clear_caches()
    found = rbm.likelihood(fitted, full_states(), num_temperatures=100)
    for side in ("lower", "upper"):
        error = found[f"log_likelihood_{side}_error"]
        assert 0 < error < 0.1
        assert abs(found[f"log_likelihood_{side}"] - exact) < 5 * error


def full_states():
    """Return all states of five units. [32, 5]."""
    return ((np.arange(32)[:, None] >> np.arange(5)) & 1).astype(np.float32)


def test_what_counts_as_on():
    """Above the threshold's share of the largest value; or 0 and 1 alone."""
    facts, bits = units.table_facts(0.5, table(top=16.0))
    assert facts.cut == 8.0
    np.testing.assert_array_equal(bits, units.table_facts(0.5, table())[1])
    assert units.table_facts(0.0, table())[0].cut is None
    with pytest.raises(ValueError, match=r"expected 0 or 1, .*, got 16 in row \d+, column"):
        units.table_facts(0.0, table(top=16.0))


def test_gaps_are_refused_by_name():
    """A machine is not trained on rows with gaps; those that a benchmark hid are not hidden."""
    x = table().x.copy()
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="units: expected complete rows .* in column 'b'"):
        rbm.train(CONFIG, data.make_table("units", COLUMNS, x))
    known = data.make_table("units", COLUMNS, x, truth=table().x)
    np.testing.assert_array_equal(units.table_facts(0.5, known)[1], table().x)


def test_gaps_are_filled_given_the_others(full):
    """Means are exact conditionals, by all states that agree with what is observed."""
    fitted, x = full[0], np.array([[1.0, np.nan, 0.0, np.nan, 1.0]])
    states = full_states()
    agrees = (states[:, [0, 2, 4]] == [1, 0, 1]).all(axis=1)
    weights = np.exp(-np.array(machines.free_energy(fitted.machine, states), np.float64)) * agrees
    exact = weights @ states / weights.sum()
    mean, draws = fitted.impute(x, num_imputations=2000)
    np.testing.assert_allclose(mean[0], exact, atol=1e-5)
    assert set(np.unique(draws)) == {0.0, 1.0} and (draws[:, 0, [0, 2, 4]] == [1, 0, 1]).all()
    exact, drawn = exact[[1, 3]], draws[:, 0, [1, 3]].mean(axis=0)
    assert (abs(drawn - exact) <= 5 * np.sqrt(exact * (1 - exact) / 2000)).all()
