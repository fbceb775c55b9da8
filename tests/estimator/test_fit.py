"""What is trained once the mechanism is found, and with which columns bent."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from mnar_ebm import MNARImputer, data
from mnar_ebm.config import Config
from mnar_ebm.estimator import fit, selection
from mnar_ebm.estimator.selection import Mechanism
from mnar_ebm.estimator.settings import STRAIGHT, decoders
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.models import make_model
from mnar_ebm.screening import Evidence, Finding, Gain
from mnar_ebm.tilted.stages import make_stages
from mnar_ebm.training import NonFiniteLossError

DECODERS = {
    "linear": {"decoder": "linear", "proposal": "laplace", "latent_dim": 11},
    "linear_mlp": {"decoder": "linear_mlp"},
}


def choose(monkeypatch, found, decoders=DECODERS, lost=(), score=None, **settings):
    """Return what is trained, in turn, and the choice; decoders that are lost have no bound.

    ``score`` gives how well a config fills the cells of held-out rows; all do alike without it.
    """
    trained = []

    def train(config):
        trained.append(config)
        if config.model.decoder in lost:
            raise NonFiniteLossError(f"the loss of {config.model.decoder} is nan")
        return selection.Trained(SimpleNamespace(config=config), None, 1, np.zeros(9))

    def scores(fitted, table):
        return np.zeros(9) if score is None else score(fitted.config)

    monkeypatch.setattr(selection, "hidden_cell_scores", scores)
    config = Config(mechanism="mcar", **{"standardise": "yeo_johnson"} | settings)
    choice = fit.choose_model(config, Mechanism(found, "as told"), decoders, None, train)
    return trained, choice


@pytest.mark.parametrize("name", MECHANISMS)
def test_columns_are_bent_and_decoders_compared_where_no_hidden_value_is_read(monkeypatch, name):
    """Elsewhere there is nothing to compare decoders by, and a bend would follow the cut."""
    trained, choice = choose(monkeypatch, {"mechanism": name})
    is_ignorable = not MECHANISMS[name].reads_hidden
    bend = "yeo_johnson" if is_ignorable else "observed"
    names = list(DECODERS)[: 2 if is_ignorable else 1]
    assert [one.model.decoder for one in trained] == names
    assert {(one.model.mechanism, one.standardise) for one in trained} == {(name, bend)}
    assert choice.kept.fitted.config.model.decoder == "linear"
    assert choice.reason.startswith("decoder linear; its ranked" if is_ignorable else "") and (
        bool(choice.reason) == is_ignorable
    )


@pytest.mark.parametrize("standardise", ["observed", "none"])
def test_who_wants_no_bend_gets_none(monkeypatch, standardise):
    """Whatever the mechanism reads."""
    for name in ("ignorable", "selfmasking_probit"):
        trained, _ = choose(monkeypatch, {"mechanism": name}, standardise=standardise)
        assert {one.standardise for one in trained} == {standardise}


def test_what_was_found_is_what_is_trained(monkeypatch):
    """Slopes, without gap terms and with; a sign that was asked for goes before slopes."""
    found = {
        "mechanism": "selfmasking_probit",
        "own_slopes": (0.0, 1.0, -1.0),
        "gap_terms": True,
    }
    (without, config), choice = choose(monkeypatch, found)
    assert {name: config.flat()[name] for name in found} == found
    assert without == dataclasses.replace(config, gap_terms=False)
    assert choice.kept.fitted.config == without and choice.reason.startswith(
        "taken without gap terms; "
    )
    _, config = choose(monkeypatch, found, sign="high")[0]
    assert (config.model.own_slopes, config.model.sign, config.model.gap_terms) == (
        (),
        "high",
        True,
    )


@pytest.mark.parametrize("gain, expected", [(0.5, "with"), (0.01, "without"), (-1.0, "without")])
def test_gap_terms_are_taken_where_the_held_out_bound_is_clearly_above(gain, expected):
    """By two standard errors; else the simpler model is."""
    noise = np.random.default_rng(0).normal(size=(2, 100))
    trained = {
        name: selection.Trained(name, None, 1, bounds)
        for name, bounds in (("without", noise[0]), ("with", noise[0] + gain + 0.1 * noise[1]))
    }
    kept, words = selection.choose_gap_terms(trained)
    assert kept.fitted == expected and words.startswith(f"taken {expected}; its held-out bound is")


def test_columns_that_all_hide_themselves_alike_are_told_by_no_slopes(monkeypatch):
    """Then the start decides, as it does where self-masking is asked for."""
    evidence = make_evidence("self_masking", (-1.0, 0.0, 0.0, 0.0), gap_terms=False)
    assert find(monkeypatch, evidence)[0].settings["own_slopes"] == ()


def test_a_linear_decoder_goes_without_an_encoder(monkeypatch):
    """With the settings that go with it; few latents where a hidden value is read."""
    for name, num_latents in (("mcar", 11), ("linear", fit.MAX_LATENTS)):
        config = choose(monkeypatch, {"mechanism": name})[0][0]
        assert (config.model.decoder, config.model.proposal) == ("linear", "laplace")
        assert config.model.latent_dim == num_latents


@pytest.mark.parametrize("lost", [(), ("linear",)])
def test_a_deep_decoder_is_tried_before_it_is_trained_at_length(monkeypatch, lost):
    """By a quarter of the steps, and only if it is taken by all of them."""
    trained, choice = choose(monkeypatch, {"mechanism": "mcar"}, lost=lost, num_steps=1001)
    steps = [(one.model.decoder, one.optimisation.num_steps) for one in trained]
    expected = [("linear", 1001), ("linear_mlp", 251)]
    assert steps == expected + [("linear_mlp", 1001)] * bool(lost)
    assert choice.kept.fitted.config.optimisation.num_steps == 1001


def test_decoders_that_are_tried_longer_are_tried_alike(monkeypatch):
    """Where all have an encoder, none gains by more steps than another."""
    decoders = {name: {"decoder": name} for name in ("linear", "linear_mlp")}
    noise = np.array([1.0, -1.0] * 50)

    def score(config):
        return np.zeros(100) if config.model.decoder == "linear" else noise + 0.05

    found = {"mechanism": "mcar"}
    trained, _ = choose(monkeypatch, found, decoders, score=score, num_steps=1000)
    steps = [(one.model.decoder, one.optimisation.num_steps) for one in trained]
    tried = [(name, share) for share in (250, 500) for name in decoders]
    assert steps == [*tried, ("linear", 1000)]


@pytest.mark.parametrize("gain, takes_it", [(0.3, True), (0.05, False)])
def test_a_deep_decoder_that_is_better_but_not_clearly_is_tried_longer(monkeypatch, gain, takes_it):
    """By half of the steps; where it is still not clear, the simpler one is taken."""
    noise = np.array([1.0, -1.0] * 50)  # a standard error of 0.1

    def score(config):
        if config.model.decoder == "linear":
            return np.zeros(100)
        return noise + (gain if config.optimisation.num_steps > 251 else 0.05)

    trained, choice = choose(monkeypatch, {"mechanism": "mcar"}, score=score, num_steps=1001)
    steps = [one.optimisation.num_steps for one in trained if one.model.decoder == "linear_mlp"]
    assert steps == [251, 501] + [1001] * takes_it
    kept = choice.kept.fitted.config
    assert kept.model.decoder == ("linear_mlp" if takes_it else "linear")
    assert kept.optimisation.num_steps == 1001


@pytest.mark.parametrize(
    "shape, settings, expected",
    [
        ((20, 3), {}, [STRAIGHT, "linear", "linear_mlp"]),
        ((19, 3), {}, ["linear"]),
        ((50, 1), {}, ["linear"]),
        ((50, 3), {"decoder": "mlp"}, ["mlp"]),
        ((50, 3), {"standardise": "yeo_johnson"}, ["linear", "linear_mlp"]),
        ((50, 3), {"decoder_scale": "per_latent"}, [STRAIGHT, "linear", "linear_mlp"]),
        ((50, 3), {"proposal": "encoder"}, [STRAIGHT, "linear", "linear_mlp"]),
    ],
)
def test_decoders_go_with_settings_of_their_own(shape, settings, expected):
    """Few rows or one column show no curve; what was asked for goes before what goes with one."""
    table = data.make_table("t", range(shape[1]), np.random.default_rng(0).normal(size=shape))
    found = decoders(MNARImputer(settings={"latent_dim": 7} | settings), table)
    assert list(found) == expected and all("latent_dim" not in own for own in found.values())
    for name, own in found.items():
        has_encoder = own["decoder"] != "linear" or {"decoder_scale", "proposal"} & set(settings)
        assert own.get("proposal") == (None if has_encoder else "laplace")
        assert own.get("standardise") == ("observed" if name == STRAIGHT else None)
    assert decoders(MNARImputer(), table)["linear"]["latent_dim"] == max(1, shape[1] - 1)
    assert list(decoders(MNARImputer(mechanism="mcar"), table)) == ["linear"]


def test_one_decoder_alone_needs_no_reason(monkeypatch):
    """There was no choice."""
    for name in ("mcar", "linear"):
        trained, choice = choose(
            monkeypatch, {"mechanism": name}, decoders={"mlp": {"decoder": "mlp"}}
        )
        assert [one.model.decoder for one in trained] == ["mlp"] and choice.reason == ""


def test_a_decoder_without_a_finite_loss_is_left_out(monkeypatch):
    """And told by name; if none has one, the reason is that of the first."""
    found = {"mechanism": "ignorable"}
    trained, choice = choose(monkeypatch, found, lost=("linear",))
    assert len(trained) == 3 and choice.kept.fitted.config.model.decoder == "linear_mlp"
    assert list(choice.lost) == ["linear"]
    with pytest.raises(NonFiniteLossError, match="the loss of linear is nan"):
        choose(monkeypatch, found, lost=DECODERS)


def make_evidence(mechanism, slopes=(), gap_terms=True):
    """Return evidence of a table of 300 rows for a mechanism."""
    gains = (Gain(40.0, 7.5, 2), Gain(-1.25, 3.0, 2))
    names = ("self_masking", "no_self_censoring")
    is_clear = [mechanism == name for name in names]
    findings = tuple(
        Finding(name, "ignorable", *rest)
        for name, *rest in zip(names, gains, is_clear, strict=True)
    )
    return Evidence(mechanism, slopes, gap_terms, findings, 300, 0.8, np.zeros(4))


def find(monkeypatch, evidence, are_predictable=True, has_gaps=True):
    """Return the mechanism that is found where the screening gives this evidence."""
    x = np.random.default_rng(0).normal(size=(60, 4))
    x[::3, 0] = np.nan if has_gaps else 0.0
    asked = []

    def screen(table, seed, tell):
        asked.append(seed)
        return evidence

    monkeypatch.setattr(selection.gaps, "are_predictable", lambda table: are_predictable)
    monkeypatch.setattr(selection, "screen", screen)
    table = data.make_table("t", ("age", "pay", "rent", "debt"), x)
    return selection.find_mechanism(table, 7, lambda line: None), asked


@pytest.mark.parametrize(
    "case, words",
    [
        ({"has_gaps": False}, "no value is missing, so there is nothing to compare"),
        ({"are_predictable": False}, "nothing that was observed predicts which values are missing"),
    ],
    ids=["complete", "unpredictable"],
)
def test_nothing_is_screened_where_nothing_could_tell(monkeypatch, case, words):
    """Gaps that nothing predicts, and a table without any."""
    found, asked = find(monkeypatch, None, **case)
    assert found.settings == {"mechanism": "mcar"} and found.evidence is None and not asked
    assert found.reason.startswith(words)


@pytest.mark.parametrize(
    "name, settings, words",
    [
        (
            "ignorable",
            {"mechanism": "ignorable"},
            "no_self_censoring gains -1.2 ± 3.0 nats over ignorable in 300 rows, which is not",
        ),
        (
            "no_self_censoring",
            {"mechanism": "no_self_censoring", "gap_terms": True},
            "hidden values of other columns gain -1.2 ± 3.0 nats over gaps at random",
        ),
        (
            "self_masking",
            {
                "mechanism": "selfmasking_probit",
                "own_slopes": (1.0, 0.0, -1.0, 0.0),
                "gap_terms": True,
            },
            "values of age, rent hide themselves, beside gaps that go together: .* gains 40.0 ± "
            "7.5 nats over gaps at random",
        ),
    ],
)
def test_the_evidence_becomes_settings_and_a_reason(monkeypatch, name, settings, words):
    """Settings that a config takes; numbers of the comparison that decided."""
    slopes = settings.get("own_slopes", (0.0,) * 4)
    found, asked = find(monkeypatch, make_evidence(name, slopes))
    assert found.settings == settings and asked == [7]
    assert re.search(words, found.reason) and found.evidence.num_rows == 300
    config = dataclasses.replace(Config(mechanism="mcar"), **found.settings)
    assert config.model.hides_itself == tuple(
        float(slope != 0) for slope in config.model.own_slopes
    )


def test_where_nothing_could_be_refused_the_reason_says_so(monkeypatch):
    """Levels alone are missing, and no comparison of hidden values was made."""
    finding = Finding("bent columns", "straight ones", Gain(-1.0, 1.0, 2), False)
    evidence = make_evidence("ignorable", (0.0,) * 4)._replace(findings=(finding,))
    found, _ = find(monkeypatch, evidence)
    assert found.settings == {"mechanism": "ignorable"}
    assert found.reason.startswith("only levels are missing, and nothing that is assumed of them")


def test_gaps_that_do_not_go_together_have_no_terms(monkeypatch):
    """Where hidden values say all; the reason does not tell of such gaps."""
    evidence = make_evidence("self_masking", (1.0, 0.0, 0.0, 0.0), gap_terms=False)
    found, _ = find(monkeypatch, evidence)
    assert found.settings["gap_terms"] is False
    assert re.match("values of age hide themselves: .* gains 40.0 ± 7.5 nats", found.reason)


def stages_of(config):
    """Return the stages of a table of three columns, which are what is compiled."""
    return make_stages(config, make_model(config.model, 3, ()))


def test_a_bent_column_compiles_no_program_of_training_anew():
    """The programs are those of standard units."""
    bent, straight = (Config(mechanism="mcar", standardise=s) for s in ("yeo_johnson", "observed"))
    assert stages_of(bent) == stages_of(straight)


def test_other_slopes_to_start_with_compile_no_program_anew():
    """Which columns hide themselves is part of the program; where they start is not."""
    some, others, fewer = (
        Config(tilt="none", own_slopes=slopes)
        for slopes in ((1.0, -1.0, 0.0), (-2.0, 0.5, 0.0), (1.0, 0.0, 0.0))
    )
    assert stages_of(some) == stages_of(others) != stages_of(fewer)


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
