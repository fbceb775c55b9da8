"""The measures behind the table of the samplers' page."""

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

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


@pytest.mark.slow
def test_the_figures_are_drawn(load, tmp_path, monkeypatch, quick_compile, capsys):
    """The command draws its figures and fills in the page's table, at a size that takes seconds."""
    sampler_figures = load("sampler_figures")
    sampler_demos = sampler_figures.sampler_demos
    chosen = {name: sampler_demos.SAMPLERS[name] for name in ("snis",)}
    monkeypatch.setattr(sampler_demos, "SAMPLERS", chosen)
    monkeypatch.setattr(sampler_figures, "_NUM_TEMPERATURES", (2,))
    page = tmp_path / "page.md"
    page.write_text(f"a\n{sampler_figures.BEGIN}\nold\n{sampler_figures.END}\nb\n")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(
        (sampler_figures.OUTPUT, str(tmp_path)),
        (sampler_figures.PAGE, str(page)),
        (sampler_figures.NUM_DRAWS, 40),
        (sampler_figures.NUM_REPEATS, 2),
    ):
        sampler_figures.main()
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"samplers-snis.png", "samplers-log_z.png"}
    text = page.read_text()
    assert "old" not in text
    assert text.count("| SNIS, resampled | ") == 2
    assert capsys.readouterr().out.strip() in text
