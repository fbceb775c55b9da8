"""The figures of the samplers' page: one sampler, drawn and told."""

import jax
import numpy as np
import pytest

from experiments import sampler_demos, sampler_figures, sampler_targets


@pytest.mark.parametrize("name, fact", [("snis", "share"), ("ula", "rhat")])
def test_a_sampler_is_drawn_and_told(tmp_path, name, fact):
    """A picture of both targets, and lines with the numbers in it."""
    targets = (sampler_targets.banana(), sampler_targets.eight_gaussians())
    run = sampler_demos.SAMPLERS[name]
    outcomes = [run(jax.random.key(0), target, 40) for target in targets]
    outcomes[1].facts.update(sampler_demos.mode_facts(outcomes[1]))
    sampler_figures.draw_sampler(name, targets, outcomes, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    for target, outcome in zip(targets, outcomes, strict=True):
        assert outcome.draws.reshape(-1, 2).shape == (40, 2)
        cells = sampler_figures.row(name, target, outcome)
        assert cells[:2] == [name, target.name] and f"{outcome.facts[fact]:.2f}" in cells


def test_exact_draws_have_the_modes_and_their_width():
    """Half the distance of shares of 4000 draws, and the variance around the modes."""
    target = sampler_targets.eight_gaussians()
    draws = jax.vmap(target.sample_fn)(jax.random.split(jax.random.key(1), 4000))
    facts = sampler_demos.mode_facts(sampler_demos.Outcome(np.asarray(draws)[None], {}))
    weights = sampler_targets.WEIGHTS
    error = np.sqrt(weights * (1 - weights) / 4000)
    assert 0 < facts["tv"] < error.sum()  # twice its mean, about
    assert abs(facts["variance"] - 1) < 5 / np.sqrt(4000)
