"""What is trained to choose a model, and with which columns bent."""

from types import SimpleNamespace

import numpy as np
import pytest

from mnar_ebm.config import Config
from mnar_ebm.estimator import fit, selection
from mnar_ebm.training.stages import program_of

DECODERS = ("linear", "linear_mlp")
NAMES = ("mar", "selfmasking_probit", "linear")


def choose(monkeypatch, bounds, names=NAMES, **settings):
    """Return what is trained, in turn, what is taken and why; bounds that are not told are 0."""
    trained = []

    def train(config):
        trained.append((config.mechanism, config.decoder, config.standardise))
        bound = bounds.get((config.mechanism, config.standardise), 0.0)
        return selection.Trained(config, None, 1, np.full(9, bound))

    monkeypatch.setattr(selection, "candidate_mechanisms", lambda table: (names, ""))
    monkeypatch.setattr(selection, "hidden_cell_scores", lambda fitted, table: np.zeros(9))
    config = Config(mechanism="mcar", **{"standardise": "yeo_johnson"} | settings)
    choice = fit.choose_model(config, "auto", DECODERS, None, train)
    kept = choice.kept.fitted
    assert [one.mechanism for one in choice.candidates] == list(names)
    return trained, (kept.mechanism, kept.decoder, kept.standardise), choice.reason


def test_mechanisms_are_compared_straight_and_one_that_reads_no_hidden_value_is_fitted_bent(
    monkeypatch,
):
    """What was compared is not what is kept, so both decoders are trained."""
    trained, kept, _ = choose(monkeypatch, {("mar", "observed"): 1.0})
    assert trained[:3] == [(name, "linear_mlp", "observed") for name in NAMES]
    assert trained[3:] == [("mar", decoder, "yeo_johnson") for decoder in DECODERS]
    assert kept == ("mar", "linear", "yeo_johnson")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_mechanism_that_reads_hidden_values_is_fitted_straight(monkeypatch, name):
    """Where a bend without it does no better; what was compared is not trained again."""
    bounds = {(name, "observed"): 1.0, ("mar", "yeo_johnson"): 0.9}
    trained, kept, reason = choose(monkeypatch, bounds)
    assert trained[3:] == [("mar", "linear_mlp", "yeo_johnson"), (name, "linear", "observed")]
    assert kept == trained[4]
    assert "; that of mar with columns bent towards normal is no higher; decoder" in reason


@pytest.mark.parametrize(("gain", "expected"), [(0.0, "mar"), (0.5, "linear")])
def test_the_skew_of_a_column_does_not_pass_for_a_cut(monkeypatch, gain, expected):
    """Where bent columns fit better, a mechanism has to be better with them."""
    bounds = {("linear", "observed"): 1.0, ("mar", "yeo_johnson"): 2.0}
    trained, kept, reason = choose(monkeypatch, bounds | {("linear", "yeo_johnson"): 2.0 + gain})
    assert trained[3:5] == [(name, "linear_mlp", "yeo_johnson") for name in ("mar", "linear")]
    assert kept == (expected, "linear", "yeo_johnson" if expected == "mar" else "observed")
    assert reason.startswith("with columns bent towards normal, where bounds are higher, ")


def test_one_mechanism_alone_is_fitted_bent_at_once(monkeypatch):
    """There is nothing to compare it with."""
    trained, kept, _ = choose(monkeypatch, {}, names=("mcar",))
    assert trained == [("mcar", name, "yeo_johnson") for name in reversed(DECODERS)]
    assert kept == ("mcar", "linear", "yeo_johnson")


def test_a_bent_column_compiles_no_program_of_training_anew():
    """The programs are those of standard units."""
    bent, straight = (Config(mechanism="mcar", standardise=s) for s in ("yeo_johnson", "observed"))
    assert program_of(bent) == program_of(straight)


@pytest.mark.parametrize("standardise", ["observed", "none"])
def test_who_wants_no_bend_gets_none(monkeypatch, standardise):
    """Then what was compared can be kept."""
    bounds = {("mar", standardise): 1.0}
    trained, kept, _ = choose(monkeypatch, bounds, standardise=standardise)
    assert len(trained) == 4 and kept == ("mar", "linear", standardise)


def test_the_steps_of_every_training_count(monkeypatch):
    """Of short ones for a start too, with whatever names; each begins where steps do not go on."""
    trainings = [("start flat", 130), ("start low", 200), ("start flat", 330), ("base", 400)]

    def train(config, table, unbiased, report):
        for stage, num_steps in trainings:
            for step in (*range(200, num_steps, 200), num_steps):
                report({"stage": stage, "step": step, "num_steps": num_steps, "held_out": 0.0})
        facts = SimpleNamespace(log_derivative=lambda x: np.zeros(len(x)))
        return SimpleNamespace(facts=facts), None

    bounds = SimpleNamespace(bound=np.zeros(1))
    monkeypatch.setattr(selection, "train", train)
    monkeypatch.setattr(selection, "impute_held_out", lambda fitted, table: ([0], bounds))
    table, told = SimpleNamespace(x=np.zeros((1, 2))), []
    trained = selection.train_candidate(Config(), table, told.append)
    assert trained.num_steps == sum(num_steps for _, num_steps in trainings)
    assert len(told) == 6
