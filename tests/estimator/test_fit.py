"""What is trained to choose a model, and with which columns bent."""

import numpy as np
import pytest

from mnar_ebm.config import Config
from mnar_ebm.estimator import fit, selection
from mnar_ebm.training.stages import program_of

DECODERS = ("linear", "linear_mlp")
NAMES = ("mar", "selfmasking_probit", "linear")


def choose(monkeypatch, highest, names=NAMES, **settings):
    """Return what is trained, in turn, and what is taken; one mechanism has the highest bound."""
    trained = []

    def train(config):
        trained.append((config.mechanism, config.decoder, config.standardise))
        return selection.Trained(config, None, 1, np.full(9, float(config.mechanism == highest)))

    monkeypatch.setattr(selection, "candidate_mechanisms", lambda table: (names, ""))
    monkeypatch.setattr(selection, "hidden_cell_scores", lambda fitted, table: np.zeros(9))
    config = Config(mechanism="mcar", **{"standardise": "yeo_johnson"} | settings)
    choice = fit.choose_model(config, "auto", DECODERS, None, train)
    kept = choice.kept.fitted
    assert [one.mechanism for one in choice.candidates] == list(names)
    return trained, (kept.mechanism, kept.decoder, kept.standardise)


def test_a_mechanism_that_reads_no_hidden_value_is_compared_and_fitted_bent(monkeypatch):
    """What was compared is not trained again."""
    trained, kept = choose(monkeypatch, "mar")
    assert trained[0] == ("mar", "linear_mlp", "yeo_johnson")
    assert trained[1:3] == [(name, "linear_mlp", "observed") for name in NAMES[1:]]
    assert trained[3:] == [("mar", "linear", "yeo_johnson")]
    assert kept == ("mar", "linear", "yeo_johnson")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_mechanism_that_reads_hidden_values_is_never_fitted_bent(monkeypatch, name):
    """And what was compared is not trained again."""
    trained, kept = choose(monkeypatch, name)
    assert trained[3:] == [(name, "linear", "observed")] and kept == trained[3]


def test_one_mechanism_alone_is_fitted_bent_at_once(monkeypatch):
    """There is nothing to compare it with."""
    trained, kept = choose(monkeypatch, "mcar", names=("mcar",))
    assert trained == [("mcar", name, "yeo_johnson") for name in reversed(DECODERS)]
    assert kept == ("mcar", "linear", "yeo_johnson")


def test_a_bent_column_compiles_no_program_of_training_anew():
    """The programs are those of standard units."""
    bent, straight = (Config(mechanism="mcar", standardise=s) for s in ("yeo_johnson", "observed"))
    assert program_of(bent) == program_of(straight)


@pytest.mark.parametrize("standardise", ["observed", "none"])
def test_who_wants_no_bend_gets_none(monkeypatch, standardise):
    """Then what was compared can be kept."""
    trained, kept = choose(monkeypatch, "mar", standardise=standardise)
    assert len(trained) == 4 and kept == ("mar", "linear", standardise)
