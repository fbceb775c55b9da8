"""A run of a classifier that is a density: kept and resumed, few labels, densities of classes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import data
from mnar_ebm.models.ebm import EBMParams, Network, classifier_ebm, normal_reference
from mnar_ebm.recipes import jem
from mnar_ebm.recipes.scores import OF_CLASSIFIER, OF_DENSITY, scores
from mnar_ebm.training import InterruptedTraining, loop

CONFIG = jem.Config(
    num_channels=2,
    num_halvings=1,
    num_steps=6,
    batch_size=32,
    num_chains=64,
    num_chain_steps=2,
    data_noise=0.3,
)


def images(num_rows=90):
    """Return images of 4 x 4 pixels that are bright on the left, on the right, or above."""
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=num_rows)
    x = rng.normal(0, 0.2, (num_rows, 4, 4))
    x[label == 0, :, :2] += 1
    x[label == 1, :, 2:] += 1
    x[label == 2, :2] += 1
    columns = [f"p{number}" for number in range(16)]
    return data.make_table("halves", columns, x.reshape(num_rows, -1)), label


def test_a_run_goes_on_bit_for_bit_and_is_found_again(tmp_path, monkeypatch):
    """Chains, noise and labels and all; the densities of classes mix to the whole."""
    monkeypatch.setattr(loop, "CHUNK_STEPS", 2)
    table, label = images()
    config = dataclasses.replace(CONFIG, num_labels=6)
    whole = jem.train(config, table, label)
    stops = iter([True, *[False] * 9])
    with pytest.raises(InterruptedTraining, match="stopped at step 2"):
        jem.train(config, table, label, tmp_path, should_stop=lambda: next(stops))
    resumed = jem.train(config, table, label, tmp_path, resume=True)
    for found in (resumed, jem.load(tmp_path)):
        assert oracles.bits(found.params) == oracles.bits(whole.params)
        assert found.num_classes == 3
    row = jnp.ones(16)
    every = [whole.density(one).ebm.energy(whole.params.energy, row) for one in range(3)]
    together = whole.density().ebm.energy(whole.params.energy, row)
    np.testing.assert_allclose(together, -jax.nn.logsumexp(-jnp.stack(every)), rtol=1e-5)
    with pytest.raises(ValueError, match="label: expected 0 to 2, got 3"):
        whole.density(3)


def test_few_labels_are_of_each_class_and_no_others():
    """As many of each as can be; of all, all."""
    label = np.repeat([0, 1, 2], [50, 30, 10])
    chosen = jem._some_of_each(label, 30, seed=1)
    assert np.bincount(label[chosen]).tolist() == [10, 10, 10]
    assert (jem._some_of_each(label, 30, seed=1) == chosen).all()
    assert len(jem._some_of_each(label, 0, seed=1)) == 90
    for wrong in (2, 91):
        with pytest.raises(ValueError, match="num_labels: expected 3 to 90, one of each"):
            jem._some_of_each(label, wrong, seed=0)


@pytest.mark.slow
def test_halves_are_told_apart():
    """Without the density, and with it."""
    table, label = images(300)
    for weight in (0.0, 0.05):
        config = dataclasses.replace(
            CONFIG, num_steps=400, num_channels=8, density_weight=weight, learning_rate=1e-2
        )
        found = jem.train(config, table, label)
        standard = found.density().standardise(table.x)
        assert (np.asarray(found.logits(standard)).argmax(axis=1) == label).mean() > 0.97


def test_the_scores_of_quadratic_logits_have_closed_forms():
    """Log p, E, their slopes and p(y|x) of f_y = -½‖x - μ_y‖² on N(0, s²)."""
    means, scale = np.array([[-1.0, 0.0], [2.0, 0.5]]), 2.0
    network = Network(lambda key: means, lambda p, x: -0.5 * ((x - p) ** 2).sum(axis=-1))
    reference = normal_reference((2,), scale)
    x = np.array([0.7, -0.2])
    params = EBMParams(jnp.asarray(means), jnp.zeros(()))
    found = scores(classifier_ebm(network, reference), params, x[None], network)
    logits = -0.5 * ((x - means) ** 2).sum(axis=1)
    p = np.exp(logits) / np.exp(logits).sum()
    slope = p @ means - x
    log_p0 = -0.5 * x @ x / scale**2 - np.log(2 * np.pi * scale**2)
    energy = np.log(np.exp(logits).sum())
    lengths = [-np.linalg.norm(g) for g in (slope - x / scale**2, slope)]
    expected = [log_p0 + energy, energy, *lengths, p.max(), logits.max()]
    np.testing.assert_allclose(
        [found[name][0] for name in (*OF_DENSITY, *OF_CLASSIFIER)], expected, rtol=1e-5
    )
    assert set(scores(classifier_ebm(network, reference), params, x[None])) == set(OF_DENSITY)
