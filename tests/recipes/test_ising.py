"""Lattices of a table: their coupling is found again, gaps are filled exactly, runs go on."""

import dataclasses

import numpy as np
import oracles
import pytest

from mnar_ebm import data
from mnar_ebm.data.datasets import spins
from mnar_ebm.recipes import ising, units
from mnar_ebm.training import InterruptedTraining, loop

SIDE = 3
COLUMNS = tuple(f"s{node}" for node in range(SIDE**2))
STATES = ((np.arange(2 ** (SIDE**2))[:, None] >> np.arange(SIDE**2)) & 1).astype(float)
CONFIG = ising.Config(num_steps=300, learning_rate=0.05, validation_fraction=0.0)


def log_weights(coupling, field):
    """Return -E of every state of the torus of 3 x 3, by the definition. [512]."""
    s = 2 * STATES.reshape(-1, SIDE, SIDE) - 1
    pairs = sum((s * np.roll(s, 1, axis)).sum(axis=(1, 2)) for axis in (1, 2))
    return coupling * pairs + field * s.sum(axis=(1, 2))


def table(num_rows=3000, coupling=0.2, field=0.1):
    """Return independent rows of that law."""
    log_w = log_weights(coupling, field)
    p = np.exp(log_w - np.logaddexp.reduce(log_w))
    rows = np.random.default_rng(0).choice(len(p), num_rows, p=p / p.sum())
    return data.make_table("torus", COLUMNS, STATES[rows])


@pytest.mark.parametrize("phase", ["exact", "pcd", "pseudo"])
def test_the_coupling_is_found_again(phase):
    """Within four standard errors, by Fisher's information; pcd and pseudo within six of those."""
    config = dataclasses.replace(CONFIG, negative_phase=phase, num_chains=1000)
    fitted = ising.train(config, table())
    log_w = log_weights(0.2, 0.1)
    p = np.exp(log_w - np.logaddexp.reduce(log_w))
    slopes = np.stack([log_weights(1.0, 0.0), log_weights(0.0, 1.0)])
    information = np.cov(slopes, aweights=p, bias=True)
    errors = np.sqrt(np.diag(np.linalg.inv(information)) / 3000)
    found = np.array([float(part) for part in fitted.params])
    assert (abs(found - [0.2, 0.1]) < (4 if phase == "exact" else 6) * errors).all()


@pytest.fixture(scope="module")
def fitted():
    """Return a lattice with a coupling of its own for every edge, exactly fitted."""
    config = dataclasses.replace(CONFIG, negative_phase="exact", shared="none", num_steps=50)
    return ising.train(config, table())


def test_likelihoods_are_exact(fitted):
    """They are those of all states; a lattice that is too wide tells none."""
    from mnar_ebm import markov

    energies = np.array(markov.energy(fitted.graph, STATES.astype(int)), np.float64)
    log_p = -energies - np.logaddexp.reduce(-energies)
    assert fitted.log_likelihood(STATES) == pytest.approx(log_p.mean(), abs=1e-4)
    assert fitted.pseudo_log_likelihood(STATES) < 0
    nodes = tuple(f"s{node}" for node in range(24**2))
    facts = units.Facts(nodes, None, (0.5,) * len(nodes))
    wide = ising.FittedLattice(CONFIG, facts, ising.Params(0.1, 0.0))
    assert wide.log_likelihood(np.zeros((1, len(nodes)))) is None


def test_gaps_are_filled_given_the_others(fitted):
    """Draws have the law of the states that agree with what is observed."""
    from mnar_ebm import markov

    x = np.full((1, SIDE**2), np.nan)
    x[0, [0, 4, 5]] = 1.0, 0.0, 1.0
    agrees = (STATES[:, [0, 4, 5]] == [1, 0, 1]).all(axis=1)
    weights = agrees * np.exp(-np.array(markov.energy(fitted.graph, STATES.astype(int))))
    gaps = np.isnan(x[0])
    exact = (weights @ STATES / weights.sum())[gaps]
    mean, draws = fitted.impute(x, num_imputations=2000, num_sweeps=50)
    assert (draws[:, 0, [0, 4, 5]] == [1, 0, 1]).all()
    error = np.sqrt(exact * (1 - exact) / 2000)
    assert (abs(mean[0, gaps] - exact) <= 5 * error).all()
    with pytest.raises(AssertionError):  # nodes that are drawn and put back too late
        late = np.array(fitted.sample(2000, num_sweeps=50))
        late[:, [0, 4, 5]] = 1, 0, 1
        assert (abs(late[:, gaps].mean(axis=0) - exact) <= 5 * error).all()


def test_a_run_goes_on_bit_for_bit_and_is_found_again(tmp_path, monkeypatch):
    """Chains and all."""
    monkeypatch.setattr(loop, "CHUNK_STEPS", 2)
    config = ising.Config(num_steps=6, num_chains=16, batch_size=16, shared="none")
    whole = ising.train(config, table(200))
    stops = iter([True, False, False])
    with pytest.raises(InterruptedTraining, match="stopped at step 2 of stage pcd"):
        ising.train(config, table(200), tmp_path, should_stop=lambda: next(stops))
    resumed = ising.train(config, table(200), tmp_path, resume=True)
    for found in (resumed, ising.load(tmp_path)):
        assert oracles.bits(found.params) == oracles.bits(whole.params)


@pytest.mark.parametrize(("num_columns", "nodes"), [(0, 8), (5, 9)])
def test_what_is_no_lattice_is_refused(num_columns, nodes):
    """In one line."""
    x = np.eye(nodes)
    config = ising.Config(num_columns=num_columns)
    with pytest.raises(ValueError, match=f"expected a lattice of .*, got {nodes} columns"):
        ising.train(config, data.make_table("x", map(str, range(nodes)), x))


def test_the_simulated_states_have_their_energy():
    """That of a torus of 12 x 12 at this coupling, by Kaufman's sum, within four errors."""
    from mnar_ebm.markov import torus

    rows = 2 * spins.load(seed=0).truth.reshape(-1, spins.SIDE, spins.SIDE) - 1
    pairs = sum((rows * np.roll(rows, 1, axis)).sum(axis=(1, 2)) for axis in (1, 2))
    energy, _ = torus.torus_energy(spins.SIDE, spins.SIDE, spins.COUPLING)
    error = pairs.std() / len(pairs) ** 0.5
    assert abs(pairs.mean() + float(energy) / spins.COUPLING) < 4 * error
