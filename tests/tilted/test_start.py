"""Where self-masking slopes start: who decides, and what a resumed run keeps."""

import dataclasses

import numpy as np
import oracles
import pytest

import mnar_ebm
from mnar_ebm import data, tilted, training
from mnar_ebm.config import Config
from mnar_ebm.missingness.selfmasking import slope
from mnar_ebm.settings import SLOPES
from mnar_ebm.tilted import start, tilt_scale
from mnar_ebm.training import loop

CONFIG = Config(
    tilt="latent",
    slope_start="best",
    latent_dim=2,
    hidden_dim=16,
    num_importance_samples=3,
    batch_size=16,
    num_steps=600,
    tilt_steps=2,
    num_negatives=32,
)


@pytest.mark.parametrize("best", ["flat", "high", "low"])
def test_the_start_with_the_highest_bound_is_taken(best):
    """Each is trained without a tilt for a sixth of the steps; the rest of the config is kept."""
    asked = []

    def bounds_of(config):
        asked.append(config)
        bound = {"flat": -2.0, "high": -3.0, "low": -4.0}[config.optimisation.slope_start]
        return np.full(5, bound + 9.0 * (config.optimisation.slope_start == best))

    config = dataclasses.replace(CONFIG, num_steps=12_000)
    chosen = start.choose_start(config, bounds_of)
    assert chosen == dataclasses.replace(config, slope_start=best)
    short = {"tilt": "none", "joint_steps": 0, "num_steps": 2000}
    expected = [dataclasses.replace(config, slope_start=name, **short) for name in SLOPES]
    assert asked == expected


@pytest.mark.parametrize("loss, decay", [((0.4, 0.4), 10.0), ((0.9, 0.4), 1.0), ((0.9, 0.8), 0.0)])
def test_a_linear_mechanism_reads_as_little_of_other_columns_as_the_bound_allows(loss, decay):
    """Of paired differences d ± 0.15, the largest decay is taken with at most three errors."""
    noise = np.array([-1.0, 1.0]) * 0.15  # and so an error of 0.15
    losses = {10.0: loss[0] + noise, 1.0: loss[1] + noise, 0.0: np.zeros(2)}
    asked = []

    def bounds_of(config):
        asked.append(
            (
                config.optimisation.slope_start,
                config.optimisation.mechanism_weight_decay,
                config.optimisation.num_steps,
            )
        )
        return (
            -(config.optimisation.slope_start != "high")
            - losses[config.optimisation.mechanism_weight_decay]
        )

    config = dataclasses.replace(CONFIG, mechanism="linear", num_steps=6000)
    chosen = start.choose_start(config, bounds_of)
    assert (
        chosen.optimisation.slope_start,
        chosen.optimisation.mechanism_weight_decay,
    ) == ("high", decay)
    tried = [(name, 0.0, 1000) for name in SLOPES]
    assert asked == tried + [("high", decay, 3000) for decay in start.DECAYS]
    given = dataclasses.replace(config, mechanism_weight_decay=1.0)
    assert start.choose_start(given, bounds_of).optimisation.mechanism_weight_decay == 1.0


def test_a_start_without_a_finite_loss_is_left_out():
    """The best of the others is taken; if there is none, the reason is told."""
    lost = ["high"]

    def bounds_of(config):
        if config.optimisation.slope_start in lost:
            raise loop.NonFiniteLossError("the loss of stage base is nan")
        return np.full(5, {"flat": -2.0, "low": -1.0}[config.optimisation.slope_start])

    assert start.choose_start(CONFIG, bounds_of).optimisation.slope_start == "low"
    lost += ["flat", "low"]
    with pytest.raises(loop.NonFiniteLossError, match="the loss of stage base is nan"):
        start.choose_start(CONFIG, bounds_of)


@pytest.mark.parametrize(
    "change",
    [
        {"mechanism": "nonlinear"},
        {"mechanism": "no_self_censoring"},
        {"mechanism": "ignorable"},
        {"sign": "high"},
    ],
    ids=str,
)
def test_where_there_is_no_start_to_choose_nothing_is_trained(change):
    """A mechanism without a slope of its own, or a slope whose sign is known."""
    config = start.choose_start(dataclasses.replace(CONFIG, **change), bounds_of=None)
    assert config == dataclasses.replace(CONFIG, **change, slope_start="flat")


def test_slopes_that_are_told_multiply_the_start():
    """Of each column; as many are expected as columns are there."""
    for gap_terms in (False, True):
        config = dataclasses.replace(
            CONFIG, slope_start="high", own_slopes=(-2.0, 0.0), gap_terms=gap_terms
        )
        facts = tilted.table_facts(config, hidden_below())
        params = tilted.make_fitted(config, facts).params.mechanism
        own = params["own"] if gap_terms else params
        np.testing.assert_allclose(slope(own, "unknown"), [-2.0, 0.0], rtol=1e-6)
    config = dataclasses.replace(config, own_slopes=(1.0,))
    with pytest.raises(ValueError, match="own_slopes: expected one for each of 2 .* got 1"):
        tilted.table_facts(config, hidden_below())


@pytest.mark.parametrize("change", [{"sign": "high"}, {"mechanism": "linear"}], ids=str)
def test_slopes_that_are_told_need_self_masking_of_unknown_sign(change):
    """The setting is named."""
    with pytest.raises(ValueError, match="own_slopes: expected none but for self-masking of unkn"):
        dataclasses.replace(CONFIG, own_slopes=(1.0, 0.0), **change)


def test_a_model_without_its_mechanism_has_no_slopes_of_its_own():
    """So that rows whose gaps say nothing can be imputed by it, whatever it was fitted under."""
    config = dataclasses.replace(CONFIG, own_slopes=(1.0, 0.0), gap_terms=True, slope_start="flat")
    facts = tilted.table_facts(config, hidden_below())
    fitted = tilted.make_fitted(config, facts)
    plain = fitted.without_mechanism()
    assert plain.config.model.mechanism == "none" and plain.params.mechanism == {}
    assert oracles.bits(plain.params.base) == oracles.bits(fitted.params.base)
    rows = hidden_below().x[:5]
    assert np.isfinite(plain.impute(rows, num_samples=20).mean).all()


def test_a_start_needs_held_out_rows():
    """The setting is named, and what was expected."""
    with pytest.raises(ValueError, match="expected above 0 with slope_start best, .* got 0"):
        dataclasses.replace(CONFIG, tilt="none", validation_fraction=0)


def hidden_below():
    """Return two strongly related columns, the first without what is below its mean."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1)) + 0.3 * rng.normal(size=(200, 2))
    shown = np.where((x > 0) | (np.arange(2) == 1), x, np.nan)
    return data.make_table("toy", ("hidden", "seen"), shown, x)


@pytest.mark.slow
def test_the_bound_finds_the_start_and_a_resumed_run_keeps_it(tmp_path, monkeypatch, quick_compile):
    """Low values are hidden, and low is found; a finished run is not searched again."""
    monkeypatch.setattr("mnar_ebm.tilted.stages.HELD_OUT_SAMPLES", 50)
    monkeypatch.setattr(tilt_scale, "NUM_SAMPLES", 200)
    monkeypatch.setattr(tilt_scale, "NUM_NEGATIVES", 64)
    stages = []
    fitted, _ = mnar_ebm.train(
        CONFIG, hidden_below(), tmp_path, report=lambda record: stages.append(record["stage"])
    )
    assert list(dict.fromkeys(stages)) == ["start flat", "start high", "start low", "base", "tilt"]
    assert fitted.config.optimisation.slope_start in ("flat", "low")
    assert slope(fitted.params.mechanism, "unknown")[0] < 0
    stages.clear()
    again, _ = mnar_ebm.train(
        CONFIG, hidden_below(), tmp_path, resume=True, report=lambda r: stages.append(r["stage"])
    )
    assert not stages and oracles.bits(again.params) == oracles.bits(fitted.params)


@pytest.mark.slow
def test_a_linear_mechanism_is_resumed_with_the_start_and_the_decay_that_it_had(
    tmp_path, monkeypatch, quick_compile
):
    """Killed within the stage ``base``, it goes on there, and ends as if it had not been."""
    monkeypatch.setattr("mnar_ebm.tilted.stages.HELD_OUT_SAMPLES", 50)
    monkeypatch.setattr(loop, "CHUNK_STEPS", 20)
    config = dataclasses.replace(CONFIG, tilt="none", mechanism="linear", num_steps=60)
    seen = []

    def run(workdir, **settings):
        seen.clear()
        return mnar_ebm.train(
            config, hidden_below(), workdir, report=lambda r: seen.append(r["stage"]), **settings
        )[0]

    whole = run(tmp_path / "whole")
    assert whole.config.optimisation.mechanism_weight_decay in start.DECAYS
    starts = [f"start {name}" for name in SLOPES]
    decays = [
        f"start {whole.config.optimisation.slope_start}" + f", decay {decay:g}" * (decay > 0)
        for decay in start.DECAYS
    ]
    assert list(dict.fromkeys(seen)) == list(dict.fromkeys([*starts, *decays, "base"]))
    with pytest.raises(training.InterruptedTraining):
        run(tmp_path / "killed", should_stop=lambda: "base" in seen)
    resumed = run(tmp_path / "killed", resume=True)
    assert set(seen) == {"base"} and resumed.config == whole.config
    assert oracles.bits(resumed.params) == oracles.bits(whole.params)
