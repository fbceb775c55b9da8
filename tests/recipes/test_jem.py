"""Classifiers that are densities: quadratic logits are a mixture of Gaussians (T18), and digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from mnar_ebm.models.ebm import EBMParams, Network, normal_reference
from mnar_ebm.nets.mlp import MLP
from mnar_ebm.recipes import ebm as recipe
from mnar_ebm.recipes import jem
from mnar_ebm.recipes.negatives import ChainSettings
from mnar_ebm.training import Loop, Pace, pad_rows

MEANS = np.array([[-1.5, 0.0], [1.5, 1.0], [0.0, -2.0]])
SCALE = 2.0
CHAINS = ChainSettings(num_chains=500, num_steps=3, step_size=0.5)


def quadratic(params, x):
    """Return f_y = -½‖x - μ_y‖² + ½‖x‖²/s², which takes the reference back. [3]."""
    return -0.5 * ((x - params) ** 2).sum(axis=-1) + 0.5 * jnp.vdot(x, x) / SCALE**2


def rows(num, seed, num_known=None):
    """Return draws of the mixture, beside labelled ones: themselves, or so many others again."""
    rng = np.random.default_rng(seed)
    label = rng.integers(3, size=num)
    x = MEANS[label] + rng.normal(size=(num, 2))
    known, of_known = x, label
    if num_known:
        of_known = np.resize(rng.integers(3, size=num_known), num)
        known = np.resize(MEANS[of_known[:num_known]] + rng.normal(size=(num_known, 2)), x.shape)
    parts = (jnp.asarray(part, jnp.float32) for part in (x, known))
    return pad_rows(jem.Labelled(*parts, jnp.asarray(of_known)))


def fit(weight, num_known=None):
    """Return the parameters and the records of a fit that starts off the truth."""
    start = EBMParams(jnp.asarray(MEANS + 0.7, jnp.float32), jnp.zeros(()))
    classifier = Network(lambda key: start.energy, quadratic)
    reference = normal_reference((2,), SCALE)
    stage = jem.make_stage(classifier, reference, CHAINS, Pace(300, 0.05, "cosine"), weight)
    loop = Loop(250, ema_decay=0.9, patience=100)
    held_out = rows(256, 1)
    return recipe.fit(jax.random.key(0), (stage,), start, rows(2000, 0, num_known), held_out, loop)


def test_the_joint_loss_finds_the_mixture(quick_compile):
    """Means within five errors of so many rows, a third of them each; 100 others have a label."""
    found = fit(1.0, 100)
    assert np.abs(found.params.energy - MEANS).max() < 5 / np.sqrt(2000 / 3)
    record = found.records[-1]
    assert record["accuracy"] > 0.8 and abs(record["energy_gap"]) < 0.3


def test_without_the_density_it_is_a_classifier(quick_compile):
    """No chain is run, and it tells the classes apart as the truth does."""
    found = fit(0.0)
    held_out = rows(256, 1).batch
    truth = jax.vmap(quadratic, (None, 0))(MEANS, held_out.x[:256]).argmax(axis=1)
    accuracy = (truth == held_out.label[:256]).mean()
    assert "energy_gap" not in found.records[-1]
    assert abs(found.records[-1]["accuracy"] - accuracy) < 0.03


def test_wrong_settings_are_refused():
    """In one line."""
    classifier = Network(lambda key: (), quadratic)
    with pytest.raises(ValueError, match="weight: expected at least 0.0, got -1.0"):
        jem.make_stage(classifier, normal_reference((2,)), CHAINS, Pace(1), -1.0)


@pytest.mark.slow
def test_digits_are_told_apart():
    """Of held-out digits of 8 x 8 pixels 95 in 100 at least, from 1400 with their labels."""
    data = load_digits()
    x = jnp.asarray(data.data / 8.0 - 1.0, jnp.float32)
    label, order = jnp.asarray(data.target), np.random.default_rng(0).permutation(len(x))
    parts = [
        pad_rows(jem.Labelled(x[part], x[part], label[part]))
        for part in (order[:1400], order[1400:1656])
    ]
    network = MLP((64, 64, 10), "silu")
    classifier = Network(lambda key: network.init(key, x[0]), network.apply)
    reference = normal_reference((64,), 1.0)
    chains = ChainSettings(num_chains=200, num_steps=10, step_size=0.01, restart=0.02)
    stage = jem.make_stage(classifier, reference, chains, Pace(600, 2e-3, "cosine"), 0.1)
    start = EBMParams(classifier.init(jax.random.key(0)), jnp.zeros(()))
    found = recipe.fit(jax.random.key(1), (stage,), start, *parts, Loop(100, ema_decay=0.9))
    assert not found.is_lost and found.records[-1]["accuracy"] > 0.95
