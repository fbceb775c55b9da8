"""The measures behind the table of the samplers' page."""

import jax
import numpy as np

from experiments import sampler_demos, sampler_targets


def test_exact_draws_have_the_modes_and_their_width():
    """Half the distance of shares of 4000 draws, and the variance around the modes."""
    target = sampler_targets.eight_gaussians()
    draws = jax.vmap(target.sample_fn)(jax.random.split(jax.random.key(1), 4000))
    facts = sampler_demos.mode_facts(sampler_demos.Outcome(np.asarray(draws)[None], {}))
    weights = sampler_targets.WEIGHTS
    error = np.sqrt(weights * (1 - weights) / 4000)
    assert 0 < facts["tv"] < error.sum()  # twice its mean, about
    assert abs(facts["variance"] - 1) < 5 / np.sqrt(4000)
