"""Training: what is kept, what is refused, and that a stopped run goes on as if it had not been."""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import mnar_ebm
from mnar_ebm import data, run, tilted, training
from mnar_ebm.config import Config
from mnar_ebm.likelihoods import ON_UNIT_INTERVAL
from mnar_ebm.models import without_tilt
from mnar_ebm.settings import LIKELIHOODS, MECHANISMS, NEGATIVE_PHASES
from mnar_ebm.tilted import stages, tilt_scale
from mnar_ebm.training import checkpoints, chunks, loop, optimiser, plan, run_folder
from mnar_ebm.types import Batch

# The readers that orbax drops when a file is damaged tell of it whenever they are collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("quick_compile_all"),
]

CONFIG = Config(
    mechanism="mcar",
    latent_dim=2,
    hidden_dim=16,
    num_importance_samples=3,
    batch_size=16,
    num_steps=4,
    tilt_steps=4,
    num_negatives=32,
    num_chain_steps=2,
    replay_size=48,
    ema_decay=0.5,
)


@pytest.fixture(scope="module", autouse=True)
def quick_training():
    """Train in small chunks, with few samples between them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHUNK_STEPS", 2)
        patch.setattr(stages, "HELD_OUT_SAMPLES", 20)
        patch.setattr(stages, "HELD_OUT_NEGATIVES", 64)
        patch.setattr(tilt_scale, "NUM_SAMPLES", 20)
        patch.setattr(tilt_scale, "NUM_NEGATIVES", 64)
        yield


@functools.cache
def table(num_rows=60):
    """Return the first rows of the linear-Gaussian toy."""
    full = data.load("linear_gaussian")
    parts = {name: getattr(full, name)[:num_rows] for name in ("x", "mask", "truth")}
    return dataclasses.replace(full, **parts)


def train(workdir=None, config=CONFIG, **settings):
    """Train on the toy."""
    return mnar_ebm.train(config, table(), workdir, **settings)


def log_of(workdir):
    """Return the records of a run's log, less how fast it was."""
    records = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "steps_per_second"} for record in records]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Train without a break: the fitted model, its report and its folder."""
    workdir = tmp_path_factory.mktemp("full")
    return *train(workdir), workdir


def assert_same_run(actual, expected):
    """Hold that two runs ended with the same model, report and log, bit for bit."""
    (fitted, report, workdir), (full_fitted, full_report, full_workdir) = actual, expected
    assert oracles.bits(fitted.params) == oracles.bits(full_fitted.params)
    assert oracles.bits(report) == oracles.bits(full_report)
    assert log_of(workdir) == log_of(full_workdir)
    assert oracles.bits(mnar_ebm.load(workdir).params) == oracles.bits(full_fitted.params)


def test_a_run_logs_every_chunk_and_loads_again(full):
    """Stage, step and finite numbers; the loaded model is the trained one."""
    fitted, _, workdir = full
    steps = [(record["stage"], record["step"]) for record in log_of(workdir)]
    assert steps == [("base", 2), ("base", 4), ("tilt", 2), ("tilt", 4)]
    for record in log_of(workdir):
        assert np.isfinite([v for v in record.values() if not isinstance(v, str)]).all()
    loaded = mnar_ebm.load(workdir)
    assert loaded.config == fitted.config
    assert loaded.facts.to_json() == fitted.facts.to_json()
    assert oracles.bits(loaded.params) == oracles.bits(fitted.params)
    moved = oracles.bits(tilted.make_fitted(CONFIG, fitted.facts).params)
    assert moved != oracles.bits(fitted.params)


def test_the_same_seed_gives_the_same_run_and_another_does_not(full):
    """With or without a folder."""
    fitted, _, _ = full
    assert oracles.bits(train()[0].params) == oracles.bits(fitted.params)
    other, _ = train(config=dataclasses.replace(CONFIG, seed=1))
    assert oracles.bits(other.params) != oracles.bits(fitted.params)


def train_and_stop(workdir, config, num_chunks):
    """Train, and stop after some chunks."""
    seen = []
    with pytest.raises(training.InterruptedTraining, match="stopped at step . of stage"):
        train(workdir, config, report=seen.append, should_stop=lambda: len(seen) == num_chunks)
    assert len(log_of(workdir)) == num_chunks


@pytest.mark.parametrize("num_chunks", [1, 2, 3])
def test_a_stopped_run_goes_on_bit_for_bit(full, tmp_path, num_chunks):
    """Stopped after any chunk, within a stage or at its end, then resumed."""
    train_and_stop(tmp_path, CONFIG, num_chunks)
    assert_same_run((*train(tmp_path, resume=True), tmp_path), full)


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_its_chains(tmp_path, monkeypatch):
    """Bit for bit too, for the replay buffer is in the checkpoint; if it is lost, that is seen."""
    config = dataclasses.replace(CONFIG, negative_phase="pcd")
    unbroken = *train(tmp_path / "full", config), tmp_path / "full"
    train_and_stop(tmp_path / "stopped", config, 3)
    shutil.copytree(tmp_path / "stopped", tmp_path / "forgetful")

    def resume(name):
        return *train(tmp_path / name, config, resume=True), tmp_path / name

    assert_same_run(resume("stopped"), unbroken)
    load_arrays = checkpoints.load_arrays

    def forget(*args):
        state = load_arrays(*args)["state"]
        chains = jax.tree.map(jnp.zeros_like, state.chains)
        return load_arrays(*args) | {"state": state._replace(chains=chains)}

    monkeypatch.setattr(checkpoints, "load_arrays", forget)
    with pytest.raises(AssertionError):
        assert_same_run(resume("forgetful"), unbroken)


def killed_after(num_chunks):
    """Return a reporter that dies in the given chunk, after its record was logged."""
    seen = []

    def report(record):
        seen.append(record)
        if len(seen) == num_chunks:
            raise KeyboardInterrupt

    return report


def test_a_run_killed_before_its_first_checkpoint_starts_again(full, tmp_path):
    """Its log too."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, report=killed_after(2))
    assert not checkpoints.has_checkpoint(tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"stage": "ba')  # it died in the middle of a line
    assert_same_run((*train(tmp_path, resume=True), tmp_path), full)


def test_a_killed_run_goes_on_from_its_last_checkpoint(full, tmp_path, monkeypatch):
    """What was logged since is done, and logged, again; two checkpoints are kept."""
    monkeypatch.setattr(run_folder, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, report=killed_after(3))
    assert len(log_of(tmp_path)) == 3
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"stage": "ti')
    assert_same_run((*train(tmp_path, resume=True), tmp_path), full)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_finished_run_has_nothing_left_to_do(full, tmp_path):
    """To resume it returns the model as it is."""
    workdir = tmp_path / "copy"
    shutil.copytree(full[2], workdir)
    fitted, _ = train(workdir, resume=True)
    assert oracles.bits(fitted.params) == oracles.bits(full[0].params)
    assert log_of(workdir) == log_of(full[2])


def test_a_new_run_in_an_old_folder_does_not_leave_the_old_model(full, tmp_path):
    """What ``load`` returns is what was trained last, or the folder is refused."""
    workdir = tmp_path / "copy"
    shutil.copytree(full[2], workdir)
    try:
        fitted, _ = train(workdir, config=dataclasses.replace(CONFIG, seed=1))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert mnar_ebm.load(workdir).config.seed == 1
        assert oracles.bits(mnar_ebm.load(workdir).params) == oracles.bits(fitted.params)


def test_every_program_of_a_stage_is_traced_once(monkeypatch):
    """The steps, and the evaluation between them, of both stages; by a second run not again.

    Another seed, gaps in other places, some rows less, another pace and a last chunk of any length
    are no other program.
    """
    for cached in (chunks._make_chunk, stages._make_stage):
        cached.cache_clear()
    calls = {"apply_updates": 0, "held_out_bound": 0}

    def count(module, name):
        function = getattr(module, name)

        def counted(*args):
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(module, name, counted)

    count(chunks.optax, "apply_updates")
    count(stages, "held_out_bound")
    train()
    assert calls == {"apply_updates": 2, "held_out_bound": 2}
    moved = data.make_table("moved", table().columns, np.roll(table().x, 1, axis=0)[:, ::-1])
    other = dataclasses.replace(CONFIG, seed=7)
    assert not np.array_equal(moved.mask.all(axis=0), table().mask.all(axis=0))
    mnar_ebm.train(other, moved)
    mnar_ebm.train(other, table(50))
    changes = {"learning_rate": 1e-4, "weight_decay": 1e-3, "num_steps": 7, "schedule": "constant"}
    mnar_ebm.train(dataclasses.replace(CONFIG, **changes), table())
    assert calls == {"apply_updates": 2, "held_out_bound": 2}


def test_all_rows_are_trained_on_by_the_program_of_most(monkeypatch):
    """There is room for the rows that were held out, so that no step is traced for them."""
    config = dataclasses.replace(CONFIG, tilt="none", joint_steps=0)
    most, all_of_them = 64, 80
    assert plan.padded_size(most) < plan.padded_size(all_of_them)
    rows = table(all_of_them)
    fitted, _ = mnar_ebm.train(dataclasses.replace(config, validation_fraction=0.2), rows)
    monkeypatch.setattr(chunks.optax, "apply_updates", None)  # called where a step is traced
    moved = tilted.train_on_all_rows(fitted, rows)
    assert oracles.bits(moved.params) != oracles.bits(fitted.params)


def test_a_report_without_held_out_rows_is_of_those_that_were_selected(monkeypatch):
    """Unbiased rows, which are trained on too, no mechanism chose: it must not score them."""
    judged = []

    def choose(key, model, params, rows, bend):
        judged.append(rows)
        return tilt_scale.choose_tilt_scale(key, model, params, rows, bend)

    monkeypatch.setattr(run, "choose_tilt_scale", choose)
    config = dataclasses.replace(CONFIG, tilt="none", joint_steps=0, validation_fraction=0.0)
    train(config=config, unbiased=table(20))
    assert judged[0].x.shape == table().x.shape and judged[0].is_selected is None


def test_what_a_step_is_given_is_told_by_its_number():
    """Whatever chunk it is in; every row is met once an epoch, in another order each time."""
    key, size = jax.random.key(0), {"num_rows": 70, "num_held_out": 9}
    whole = plan.draw_plan(key, jnp.arange(20), **size, batch_size=10, refit_size=3)
    later = plan.draw_plan(key, 9 + jnp.arange(11), **size, batch_size=10, refit_size=3)
    for ours, theirs in zip(whole, later, strict=True):
        assert (ours[9:] == theirs).all()
    epochs = [whole.rows[start : start + 7].ravel().tolist() for start in (0, 7)]
    assert all(sorted(epoch) == list(range(70)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert whole.held_out.shape == (20, 3) and set(whole.held_out.ravel().tolist()) <= set(range(9))


def test_rows_that_only_pad_are_never_read():
    """A pass over the real rows meets each once; the held-out bound is that of real rows."""
    rows = plan.pad_rows(Batch(jnp.ones((70, 3)), jnp.ones((70, 3), bool)))
    assert rows.batch.x.shape == (128, 3) and rows.num_real == 70
    order = plan.random_order(jax.random.key(0), 128, 70)
    assert sorted(order[:70].tolist()) == list(range(70))
    other = plan.random_order(jax.random.key(1), 128, 70)
    assert order[:70].tolist() != other[:70].tolist()
    fitted = tilted.make_fitted(CONFIG, tilted.table_facts(CONFIG, table()))
    x, mask = fitted.standardise(table().x[:5])
    padded = plan.pad_rows(Batch(jnp.asarray(x), jnp.asarray(mask)))
    bounds_of = [
        stages.held_out_bound(
            fitted.base().model,
            fitted.base().params,
            Batch(
                jnp.where(jnp.arange(64)[:, None] < 5, padded.batch.x, filler), padded.batch.mask
            ),
            jnp.arange(64) < padded.num_real,
            jax.random.key(0),
            20,
            64,
        )["held_out"]
        for filler in (0.0, 1e3)
    ]
    assert bounds_of[0] == bounds_of[1] and np.isfinite(bounds_of[0])


def assert_refused_or_unharmed(workdir, fitted):
    """Hold that a folder does not load, for a reason in one line, or loads as it was written."""
    try:
        loaded = mnar_ebm.load(workdir)
    except ValueError as error:
        assert "\n" not in str(error) and str(workdir) in str(error)
        return True
    assert oracles.bits(loaded.params) == oracles.bits(fitted.params)
    assert loaded.config == fitted.config
    assert loaded.facts.to_json() == fitted.facts.to_json()
    return False


def files_of(workdir):
    """Return every non-empty file of a run's newest checkpoint."""
    steps = (path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    newest = max(steps, key=lambda path: int(path.name))
    return sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)


def test_a_damaged_checkpoint_is_refused(full, tmp_path):
    """A flipped byte or a lost end, in any file: refused in one line, or without effect."""
    workdir, refused = tmp_path / "copy", []
    shutil.copytree(full[2], workdir)
    for path in files_of(workdir):
        whole = path.read_bytes()
        middle = len(whole) // 2
        for broken in (
            whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
            whole[:middle],
        ):
            path.write_bytes(broken)
            if assert_refused_or_unharmed(workdir, full[0]):
                refused.append(path)
        path.write_bytes(whole)
    assert not assert_refused_or_unharmed(workdir, full[0])
    assert any("arrays" in path.parts for path in refused)
    assert any("record" in path.parts for path in refused)


@pytest.mark.parametrize("field", ["mean", "scale", "missing_rate", "seed"])
def test_a_changed_number_in_the_record_is_refused(full, tmp_path, field):
    """A wrong standardiser would impute wrong values without a word."""
    workdir = tmp_path / "copy"
    shutil.copytree(full[2], workdir)
    (path,) = (path for path in files_of(workdir) if path.match("record/metadata"))
    before, after = path.read_text().split(f'"{field}":', 1)
    place = next(i for i, letter in enumerate(after) if letter in "012345678")
    after = after[:place] + str(int(after[place]) + 1) + after[place + 1 :]
    path.write_text(f'{before}"{field}":{after}')
    assert assert_refused_or_unharmed(workdir, full[0])


def test_a_folder_without_a_finished_run_does_not_load(tmp_path):
    """Neither an empty one nor one that was stopped."""
    with pytest.raises(ValueError, match="expected a checkpoint, found none"):
        mnar_ebm.load(tmp_path)
    with pytest.raises(training.InterruptedTraining):
        train(tmp_path, should_stop=lambda: True)
    with pytest.raises(ValueError, match="expected a finished run, got one in stage base"):
        mnar_ebm.load(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"learning_rate": 1e-4}, "was started with learning_rate=0.003, got 0.0001"),
        ({"hidden_dim": 8}, "was started with hidden_dim=16, got 8"),
        ({"tilt": "data"}, "was started with tilt=latent, got data"),
        ({"seed": 1}, "was started with seed=0, got 1"),
    ],
)
def test_a_run_is_not_resumed_with_another_config(full, change, message):
    """The setting is named."""
    config = dataclasses.replace(CONFIG, **change)
    with pytest.raises(ValueError, match=message) as error:
        mnar_ebm.train(config, table(), full[2], resume=True)
    assert "\n" not in str(error.value)


def test_a_run_is_not_resumed_on_another_table_nor_without_a_folder(full):
    """In words."""
    with pytest.raises(ValueError, match="was started on another table"):
        mnar_ebm.train(CONFIG, table(50), full[2], resume=True)
    with pytest.raises(ValueError, match="was started on other rows, or unbiased rows"):
        mnar_ebm.train(CONFIG, table(), full[2], unbiased=table(20), resume=True)
    with pytest.raises(ValueError, match="resume: expected a workdir, got none"):
        train(resume=True)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    """In words; the last checkpoint is still there, and finite."""
    monkeypatch.setattr(run_folder, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop, "CHUNK_STEPS", 1)
    # The rate warms up from 0 at the first step, so that there is a chunk before the explosion.
    config = dataclasses.replace(CONFIG, learning_rate=1e30, num_steps=20)
    with pytest.raises(training.NonFiniteLossError, match="the loss of stage base is .*: try a"):
        train(tmp_path, config=config)
    assert log_of(tmp_path)
    with checkpoints.open_manager(tmp_path) as manager:
        assert checkpoints.load_record(manager, tmp_path)["stage"] == "base"
        fitted = tilted.make_fitted(config, tilted.table_facts(config, table()))
        (base, *_) = stages.make_stages(config, fitted.model)
        state = chunks.init_state(base, fitted.params, jax.random.key(0))
        like = {"params": fitted.params, "state": state}
        arrays = checkpoints.load_arrays(manager, tmp_path, like)
    assert arrays["state"].step == len(log_of(tmp_path))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays["state"].trainable))


def test_checkpoints_of_another_run_are_not_dropped_unasked(tmp_path):
    """Neither resumed nor overwritten, they are refused before any work, and stay."""
    before, _ = train(tmp_path)
    other = dataclasses.replace(CONFIG, seed=5)
    with pytest.raises(ValueError, match="expected no checkpoints, resume=True or overwrite=True"):
        mnar_ebm.train(other, table(), tmp_path)
    assert oracles.bits(mnar_ebm.load(tmp_path).params) == oracles.bits(before.params)
    after, _ = mnar_ebm.train(other, table(), tmp_path, overwrite=True)
    assert oracles.bits(mnar_ebm.load(tmp_path).params) == oracles.bits(after.params)
    assert oracles.bits(after.params) != oracles.bits(before.params)


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    """The second is refused in one line; when the first has ended, whatever ended it, it runs."""
    pytest.importorskip("fcntl", reason="no file locks on this system")
    seen = []

    def try_another(record):
        with pytest.raises(ValueError, match="another run is writing into it"):
            mnar_ebm.train(CONFIG, table(), tmp_path, resume=True)
        seen.append(record)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mnar_ebm.train(CONFIG, table(), tmp_path, report=try_another)
    assert len(seen) == 1
    mnar_ebm.train(CONFIG, table(), tmp_path, resume=True)


def test_a_stage_ends_when_its_patience_does():
    """A rate that moves nothing never beats the start, which is then what is kept."""
    seen = []
    config = dataclasses.replace(CONFIG, tilt="none", learning_rate=1e-30, num_steps=20, patience=2)
    fitted, _ = train(config=config, report=seen.append)
    assert [record["step"] for record in seen] == [2, 4]
    start = tilted.make_fitted(config, fitted.facts)
    assert oracles.bits(fitted.params.base) == oracles.bits(start.params.base)


def test_without_held_out_rows_every_row_is_trained_on_and_the_last_iterate_is_kept():
    """Nothing is evaluated on the way, and the bound that is told is that of the training rows."""
    seen = []
    config = dataclasses.replace(CONFIG, tilt="none", validation_fraction=0.0, ema_decay=0.0)
    rows_train, rows_held_out = tilted.held_out.split_rows(config, 60)
    assert list(rows_train) == list(range(60)) and not len(rows_held_out)
    fitted, report = train(config=config, report=seen.append)
    assert [record["step"] for record in seen] == [2, 4]
    assert not any("held_out" in record for record in seen)
    shorter, _ = train(config=dataclasses.replace(config, patience=1))
    assert oracles.bits(shorter.params) == oracles.bits(fitted.params)  # no patience to lose
    assert np.isfinite(report.bound_base) and report.bound_tilted == report.bound_base
    start = tilted.make_fitted(config, fitted.facts)
    assert oracles.bits(start.params.base) != oracles.bits(fitted.params.base)


def test_a_rate_warms_up_and_decays_or_is_constant():
    """From 0 to its peak within a tenth of the steps, or 100 of them, and to 0 at the last."""
    steps = jnp.arange(2001)
    rates = optimiser.Pace(2000, 3.0, "cosine").rates(steps)
    np.testing.assert_allclose(rates[jnp.array([0, 50, 100, 2000])], [0, 1.5, 3, 0], atol=1e-6)
    assert (jnp.diff(rates)[100:] < 0).all()
    np.testing.assert_allclose(rates[1050], 1.5, rtol=1e-5)  # half of what is left of the way
    np.testing.assert_array_equal(optimiser.Pace(2000, 3.0, "constant").rates(steps), 3.0)


@pytest.mark.parametrize("schedule, moves", [("constant", True), ("cosine", False)])
def test_a_constant_rate_does_not_decay(schedule, moves):
    """Beyond the stage's last step a decayed rate moves nothing; a constant one still does."""
    config = dataclasses.replace(CONFIG, tilt="none", schedule=schedule)
    fitted = tilted.make_fitted(config, tilted.table_facts(config, table()))
    (base,) = stages.make_stages(config, fitted.model)
    params = base.select(fitted.params)
    gradient, state = (
        jax.tree.map(jnp.ones_like, params),
        chunks.init_state(base, fitted.params, jax.random.key(0)).opt_state,
    )
    for rate in base.pace.rates(jnp.arange(config.optimisation.num_steps + 1)):
        adam = optimiser.make_optimiser(base.decayed, base.pace.decays, rate)
        updates, state = adam.update(gradient, state, params)
    sizes = np.concatenate([np.abs(leaf).ravel() for leaf in jax.tree.leaves(updates)])
    np.testing.assert_allclose(
        sizes, config.optimisation.learning_rate * moves, rtol=1e-4, atol=1e-12
    )


def test_what_a_linear_mechanism_reads_of_other_columns_decays_alone():
    """Without a gradient it moves by -rate decay w; nothing else moves."""
    config = dataclasses.replace(
        CONFIG, tilt="none", mechanism="linear", schedule="constant", mechanism_weight_decay=2.0
    )
    fitted = tilted.make_fitted(config, tilted.table_facts(config, table()))
    (base,) = stages.make_stages(config, fitted.model)
    adam = optimiser.make_optimiser(
        base.decayed, base.pace.decays, config.optimisation.learning_rate
    )
    params = jax.tree.map(jnp.ones_like, base.select(fitted.params))
    gradient = jax.tree.map(jnp.zeros_like, params)
    updates, _ = adam.update(gradient, adam.init(params), params)
    others = updates[1].pop("others")
    np.testing.assert_allclose(others, -2.0 * config.optimisation.learning_rate, rtol=1e-6)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(updates))


def test_when_all_move_together_each_part_has_its_own_decay():
    """The encoder, and the kernels of the energy; the decoder and the energy's biases have none."""
    config = dataclasses.replace(CONFIG, joint_steps=1, weight_decay=2.0, tilt_weight_decay=3.0)
    fitted = tilted.make_fitted(config, tilted.table_facts(config, table()))
    joint = stages.make_stages(config, fitted.model)[-1]
    adam = optimiser.make_optimiser(joint.decayed, joint.pace.decays, rate=0.1)
    params = jax.tree.map(jnp.ones_like, joint.select(fitted.params))
    gradient = jax.tree.map(jnp.zeros_like, params)
    updates, _ = adam.update(gradient, adam.init(params), params)
    seen = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        name = jax.tree_util.keystr(path)
        is_kernel = "['energy']" in name and "'kernel'" in name
        decay = 2.0 if "encoder" in name else 3.0 if is_kernel else 0.0
        np.testing.assert_allclose(leaf, -0.1 * decay, rtol=1e-6, err_msg=name)
        seen.add(decay)
    assert seen == {0.0, 2.0, 3.0}


def test_an_encoder_that_is_not_shown_the_mask_reads_the_row_alone():
    """Zeros in the gaps look like observed zeros to it, and to no other."""
    x, mask = jnp.zeros(6), jnp.arange(6) < 2
    for show_mask in (True, False):
        config = dataclasses.replace(CONFIG, show_mask=show_mask)
        fitted = tilted.make_fitted(config, tilted.table_facts(config, table()))
        encode = functools.partial(fitted.model.vae.encode, fitted.params.base, x)
        assert (oracles.bits(encode(mask)) == oracles.bits(encode(~mask))) is not show_mask


def test_columns_have_a_gain_unless_they_shall_have_none():
    """It is learned, and mean and scale are in proportion to it."""
    for column_gain in (True, False):
        config = dataclasses.replace(CONFIG, column_gain=column_gain)
        fitted = tilted.make_fitted(config, tilted.table_facts(config, table()))
        vae, base = fitted.model.vae, fitted.params.base
        weights = base["decoder"]["params"]
        assert ("log_gain" in weights) is column_gain
        if column_gain:
            twice = base | {
                "decoder": {
                    "params": weights | {"log_gain": jnp.full(vae.num_features, jnp.log(2))}
                }
            }
            z = jnp.arange(2.0)
            one, two = vae.decode(base, z), vae.decode(twice, z)
            np.testing.assert_allclose(two.loc, 2 * one.loc, rtol=1e-6)
            np.testing.assert_allclose(two.scale - 0.01, 2 * (one.scale - 0.01), rtol=1e-5)


def test_training_goes_on_with_all_rows():
    """A base that was lost is found again; held-out rows move it; one with a tilt is refused."""
    config = dataclasses.replace(
        CONFIG, tilt="none", num_steps=200, learning_rate=0.02, ema_decay=0.0
    )
    fitted, _ = mnar_ebm.train(config, table())
    lost = fitted.params._replace(base=jax.tree.map(jnp.zeros_like, fitted.params.base))
    steps = []
    tilted.train_on_all_rows(fitted._replace(params=lost), table(), report=steps.append)
    assert [record["stage"] for record in steps] == ["all rows"] * len(steps) and len(steps) > 1
    assert steps[-1]["held_out"] > steps[0]["held_out"] + 0.1
    rows = tilted.held_out.split_rows(config, len(table().x))[1]
    x = table().x.copy()
    x[rows] += 1.0  # which moves the encoder alone in training before
    shifted = tilted.train_on_all_rows(fitted, data.make_table("x", table().columns, x))
    same = tilted.train_on_all_rows(fitted, table())
    decoders = [one.params.base["decoder"]["params"]["log_gain"] for one in (shifted, same)]
    assert np.abs(decoders[0] - decoders[1]).max() > 0.01
    with pytest.raises(ValueError, match="expected a model without a tilt, got tilt=latent"):
        has_tilt = fitted._replace(config=dataclasses.replace(config, tilt="latent"))
        tilted.train_on_all_rows(has_tilt, table())


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("seed", 1.5, "seed: expected a whole number, got 1.5"),
        ("seed", True, "seed: expected a whole number, got True"),
        ("show_mask", "no", "show_mask: expected True or False, got 'no'"),
        ("learning_rate", "a", "learning_rate: expected a number, got 'a'"),
        ("tilt", None, "tilt: expected text, got None"),
        ("weight_decay", np.inf, "weight_decay: expected a finite number, got inf"),
        ("slope_precision", -1.0, "slope_precision: expected at least 0, got -1.0"),
    ],
)
def test_a_setting_of_another_type_is_refused(field, value, message):
    """By its name, and what is expected."""
    with pytest.raises((TypeError, ValueError), match=message):
        Config(**{field: value})


def test_arguments_of_another_type_are_refused():
    """An array is no table, nor a table a config."""
    for wrong in (
        ((CONFIG, table().x), "table: expected a Table, as data.make_table makes, got n"),
        ((table(), CONFIG), "config: expected a Config, got Table"),
    ):
        for function in (mnar_ebm.train, mnar_ebm.check):
            with pytest.raises(TypeError, match=wrong[1]):
                function(*wrong[0])


def test_training_goes_on_with_rows_drawn_of_the_rows():
    """By the seed alone; each seed draws others, and none leaves the start where it was."""
    config = dataclasses.replace(CONFIG, tilt="none", proposal="laplace", num_steps=80)
    fitted, _ = mnar_ebm.train(config, table())

    def drawn(seed):
        return tilted.train_on_bootstrap(fitted, table(), seed).params.base["decoder"]["params"]

    one, again, other = (drawn(seed)["linear_loc"]["bias"] for seed in (1, 1, 2))
    assert oracles.bits(one) == oracles.bits(again)
    start = fitted.params.base["decoder"]["params"]["linear_loc"]["bias"]
    assert np.abs(one - other).max() > 1e-4 and np.abs(one - start).max() > 1e-4
    with pytest.raises(ValueError, match="expected a model without a tilt, got tilt=latent"):
        has_tilt = fitted._replace(config=dataclasses.replace(config, tilt="latent"))
        tilted.train_on_bootstrap(has_tilt, table(), 1)


def test_without_an_encoder_rows_that_are_held_out_move_nothing():
    """There is nothing to refit to them: the loss is that of the batch, to the last bit."""
    config = dataclasses.replace(CONFIG, proposal="laplace")
    facts = tilted.table_facts(config, table())
    fitted = tilted.make_fitted(config, facts)
    assert "encoder" not in fitted.params.base
    batch, held_out = (tilted.make_batch(fitted, rows) for rows in (table().x[:40], table().x[40:]))
    arguments = (fitted.model, 3, config.negatives, jax.random.key(0), fitted.params, batch)
    with_them = stages.refit_loss(*arguments, held_out, ())[0]
    nothing = jax.tree.map(lambda leaf: leaf[:0], held_out)
    assert float(with_them) == float(stages.refit_loss(*arguments, nothing, ())[0])


@pytest.mark.parametrize("precision", [0.0, 1e6])
def test_a_prior_of_slopes_holds_them(precision):
    """Near 0, whatever the table says; over as many rows as there are."""
    config = dataclasses.replace(
        CONFIG,
        tilt="none",
        proposal="laplace",
        mechanism="selfmasking_probit",
        slope_start="high",
        slope_precision=precision,
        learning_rate=0.03,
        num_steps=200,
    )
    slopes = np.asarray(mnar_ebm.train(config, table())[0].params.mechanism["slope"])
    assert (np.abs(slopes) < 0.3).all() == (precision > 0)


def test_columns_can_be_taken_as_they_are():
    """Without standardisation a row is shown in the units in which it came."""
    as_is = dataclasses.replace(CONFIG, standardise="none")
    shifted = data.make_table("shifted", table().columns, 3.0 + 2.0 * table().x)
    for config, expected in ((as_is, shifted.x), (CONFIG, None)):
        fitted = tilted.make_fitted(config, tilted.table_facts(config, shifted))
        standard, mask = fitted.standardise(shifted.x)
        if expected is None:
            np.testing.assert_allclose(standard.sum(axis=0), 0.0, atol=1e-3)
        else:
            np.testing.assert_array_equal(standard[mask], expected[mask].astype(np.float32))


@pytest.mark.slow
def test_skewed_columns_can_be_bent():
    """What is imputed, drawn and sampled is in units of the table again, and skewed as it is."""
    x = np.exp(np.random.default_rng(0).normal(size=(200, 2)))
    skewed = data.make_table("skewed", ("a", "b"), np.where(np.eye(200, 2) > 0, np.nan, x))
    config = dataclasses.replace(CONFIG, standardise="yeo_johnson", num_steps=300, tilt="none")
    fitted, _ = mnar_ebm.train(config, skewed)
    bent, mask = fitted.standardise(skewed.x)
    straight = fitted.facts.standardiser.straight().apply(skewed.x)
    for before, after in zip(straight.T, np.where(mask, bent, np.nan).T, strict=True):
        assert np.nanmean(after**3) < 0.5 * np.nanmean(before**3)
    imputed = fitted.impute(skewed.x[:2], num_imputations=400, num_samples=4000)  # with gaps
    for row, column in np.argwhere(~mask):
        drawn = imputed.draws[row, :, column]
        error = drawn.std() * np.sqrt(1 / 400 + 1 / imputed.ess[row])
        assert abs(drawn.mean() - imputed.mean[row, column]) < 4 * error
    sampled = fitted.sample(2000).x
    assert (np.median(sampled, axis=0) < sampled.mean(axis=0) - 0.1).all()


def test_rows_are_split_by_the_seed():
    """Every row is trained on or held out."""
    config = dataclasses.replace(CONFIG, validation_fraction=0.25)
    kept, held_out = tilted.held_out.split_rows(config, 60)
    assert len(held_out) == 15 and sorted([*kept, *held_out]) == list(range(60))
    again = tilted.held_out.split_rows(config, 60)
    assert np.array_equal(again[1], held_out)
    other = tilted.held_out.split_rows(dataclasses.replace(config, seed=1), 60)
    assert not np.array_equal(other[1], held_out)
    with pytest.raises(ValueError, match="table: expected at least 2 rows, got 1"):
        tilted.held_out.split_rows(config, 1)


def test_the_tilt_of_a_run_is_never_below_its_base(full):
    """On held-out rows, as the report says; its log Z is the model's."""
    fitted, report, _ = full
    assert report.bound_tilted >= report.bound_base
    assert fitted.params.tilt_scale == np.float32(report.tilt_scale)
    assert fitted.params.log_z == np.float32(report.log_z)


def choose_scale(energy, law, num_rows=400):
    """Choose the scale of a tilt on complete rows of a law, under an exact encoder."""
    linear = oracles.DISJOINT
    model, params = oracles.make_linear_model(linear, energy=energy)
    rows = oracles.rows_of(linear, law)
    x = np.random.default_rng(3).multivariate_normal(rows.mean, rows.covariance, num_rows)
    batch = Batch(jnp.asarray(x, jnp.float32), jnp.ones(x.shape, bool))
    params, report = tilt_scale.choose_tilt_scale(jax.random.key(1), model, params, batch)
    return x, params, report


@pytest.fixture
def many_negatives(monkeypatch):
    """Estimate log Z well."""
    monkeypatch.setattr(tilt_scale, "NUM_NEGATIVES", 20_000)


def test_a_tilt_that_the_rows_have_is_kept(many_negatives):
    """Its scale is near 1; bounds and log Z are the exact ones."""
    energy, linear = oracles.quadratic("data"), oracles.DISJOINT
    x, params, report = choose_scale(energy, oracles.tilted_joint(linear, energy)[1])
    assert 0.5 < report.tilt_scale <= 1
    log_z, law = oracles.tilt(oracles.joint(linear), energy, report.tilt_scale)
    assert abs(report.log_z - log_z) < 5 * report.log_z_standard_error
    base = oracles.rows_of(linear, oracles.joint(linear)).log_prob(x).mean()
    np.testing.assert_allclose(report.bound_base, base, rtol=1e-5)
    tilted = oracles.rows_of(linear, law).log_prob(x).mean()
    assert abs(report.bound_tilted - tilted) < 5 * report.log_z_standard_error
    assert report.bound_tilted > report.bound_base
    assert params.tilt_scale == np.float32(report.tilt_scale)
    np.testing.assert_allclose(
        jax.scipy.special.logsumexp(report.log_weights) - np.log(20_000), report.log_z, atol=1e-5
    )


def test_a_tilt_that_the_rows_do_not_have_is_dropped(many_negatives):
    """Rows of the base: a scale of 0, log Z 0, and the base's bound."""
    energy = oracles.quadratic("latent")
    opposite = oracles.Quadratic(energy.curvature, -3 * energy.slope)
    law = oracles.tilted_joint(oracles.DISJOINT, energy)[1]
    _, params, report = choose_scale(opposite, law)
    assert report.tilt_scale == params.tilt_scale == params.log_z == report.log_z == 0
    assert report.bound_tilted == report.bound_base
    np.testing.assert_allclose(report.ess_fraction, 1.0, rtol=1e-5)


def test_a_scale_whose_log_z_cannot_be_believed_is_passed_over(many_negatives):
    """However high its bound: the effective share of base draws stays above the least."""
    far = oracles.Quadratic(np.zeros((6, 6)), np.array([-6.0, 0, 0, 0, 0, 0]))
    law = oracles.tilted_joint(oracles.DISJOINT, far)[1]
    _, _, report = choose_scale(far, law)
    assert 0 < report.tilt_scale < 0.5
    assert report.ess_fraction >= tilt_scale.MIN_ESS_FRACTION


PAIRS = [(m, p) for m in MECHANISMS for p in LIKELIHOODS]


def config_of(**settings):
    """Return a config that differs from ``CONFIG`` and trains the base alone."""
    return dataclasses.replace(CONFIG, **{"tilt": "none", "num_steps": 3} | settings)


def table_of(likelihood, has_full_column=True):
    """Return a table that a likelihood allows."""
    x = table().x
    if likelihood in ON_UNIT_INTERVAL:
        x = np.where(table().mask, table().x > 0, np.nan)
    if likelihood == "two_part":
        x = np.maximum(x, np.nanmedian(x, axis=0))
    if not has_full_column:
        x = np.where(np.eye(*x.shape, dtype=bool), np.nan, x)
    return data.make_table("toy", table().columns, x)


def assert_trains(config, rows, index, loss=None):
    """Hold that three plain steps of a stage move its parameters and leave them finite.

    Return them, and where they started.
    """
    fitted = tilted.make_fitted(config, tilted.table_facts(config, rows))
    stage = stages.make_stages(config, fitted.model)[index]
    model = fitted.model if index else without_tilt(fitted.model)
    batch = Batch(*(jnp.asarray(part) for part in fitted.standardise(rows.x)))

    @jax.jit
    def three_steps(params):
        def step(carry, key):
            def value(trainable):
                moved = stage.merge(params, trainable)
                if loss is not None:
                    return loss(model, 3, config.negatives, key, moved, batch, chains)
                return stage.loss(key, moved, batch, batch, chains)

            trainable, chains = carry
            (loss_now, (_, chains)), gradient = jax.value_and_grad(value, has_aux=True)(trainable)
            moved = jax.tree.map(lambda v, g: v - 1e-3 * g, trainable, gradient)
            return (moved, chains), loss_now

        carry = (stage.select(params), stage.init_memory(jax.random.key(1)))
        (trained, _), losses = jax.lax.scan(step, carry, jax.random.split(jax.random.key(0), 3))
        return trained, losses

    trained, losses = three_steps(fitted.params)
    assert np.isfinite(losses).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    assert oracles.bits(trained) != oracles.bits(stage.select(fitted.params))
    return trained, stage.select(fitted.params)


@pytest.mark.slow
@pytest.mark.parametrize("mechanism, likelihood", PAIRS)
def test_every_mechanism_trains_under_every_likelihood(mechanism, likelihood):
    """Three steps of the base, all finite."""
    config = config_of(mechanism=mechanism, likelihood=likelihood)
    assert_trains(config, table_of(likelihood), 0, stages.bound_loss)


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "none"])
def test_every_mechanism_trains_with_gap_terms(mechanism):
    """Three steps, all finite; slopes that are to stay 0 do, and so does the order of columns."""
    is_self_masking = mechanism.startswith("selfmasking")
    slopes = (1.0, 0.0) + (-1.0,) * (table().x.shape[1] - 2) if is_self_masking else ()
    config = config_of(mechanism=mechanism, gap_terms=True, own_slopes=slopes)
    trained, start = assert_trains(config, table_of("gaussian"), 0, stages.bound_loss)
    gaps, gaps_at_start = (params["gaps"] for params in (trained[1], start[1]))
    assert (gaps["earlier"] == gaps_at_start["earlier"]).all()
    assert (gaps["coefficients"] != 0).any()
    if is_self_masking:
        slope = trained[1]["own"]["slope"]
        assert ((slope != 0) == (np.array(slopes) != 0)).all()


@pytest.mark.slow
def test_every_pair_of_mechanism_and_likelihood_is_accepted():
    """Also what is too slow to train here."""
    for mechanism, likelihood in PAIRS:
        mnar_ebm.check(config_of(mechanism=mechanism, likelihood=likelihood), table_of(likelihood))


@pytest.mark.slow
@pytest.mark.parametrize("space", ["data", "latent", "joint"])
@pytest.mark.parametrize("phase", NEGATIVE_PHASES)
def test_every_tilt_trains_with_every_negative_phase(space, phase):
    """Three steps of the tilt, all finite."""
    config = config_of(tilt=space, mechanism="none", negative_phase=phase, tilt_steps=3)
    assert_trains(config, table_of("gaussian"), 1)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["snis", "nce", "pcd"])
def test_base_and_tilt_train_together(phase):
    """Three steps of the stage ``joint``, all finite."""
    config = config_of(
        tilt="joint", mechanism="none", negative_phase=phase, tilt_steps=3, joint_steps=3
    )
    assert_trains(config, table_of("gaussian"), 2)


@pytest.mark.parametrize(
    "settings, rows, message",
    [
        ({"mechanism": "mar"}, {"has_full_column": False}, "mar needs a column without any gap"),
        ({"likelihood": "bernoulli"}, {}, "bernoulli expects values from 0 to 1, got .* in toy"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused(settings, rows, message):
    """In one line, by ``check`` and by ``train``."""
    for function in (mnar_ebm.check, mnar_ebm.train):
        with pytest.raises(ValueError, match=message) as error:
            function(config_of(**settings), table_of("gaussian", **rows))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"tilt": "pixel"}, "tilt: expected one of none, data, latent, joint, got 'pixel'"),
        ({"mechanism": "mnar"}, "mechanism: expected one of none, mcar"),
        ({"negative_phase": "sm"}, "negative_phase: expected one of snis, .*, cd, pcd, got 'sm'"),
        (
            {"negative_phase": "cd", "tilt": "data", "likelihood": "bernoulli"},
            "negative_phase: expected one of snis, jensen, nce for the data tilt .*, got 'cd'",
        ),
        (
            {"negative_phase": "pcd", "replay_size": 99, "num_negatives": 100},
            "replay_size: expected at least num_negatives=100, got 99",
        ),
        ({"num_chain_steps": 0}, "num_chain_steps: expected at least 1, got 0"),
        ({"chain_step_size": 0.0}, "chain_step_size: expected a positive number, got 0.0"),
        ({"restart_share": 1.5}, "restart_share: expected a value from 0 to 1, got 1.5"),
        (
            {"likelihood": "poisson"},
            "likelihood: expected one of gaussian, two_part, student_t, bernoulli",
        ),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a positive number, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a positive number, got nan"),
        ({"validation_fraction": 0.9}, "validation_fraction: expected a value from 0 to 0.5"),
        ({"validation_fraction": 0}, "validation_fraction: expected above 0 with a tilt, .* got 0"),
        ({"schedule": "step"}, "schedule: expected one of cosine, constant, got 'step'"),
        (
            {"standardise": "yes"},
            "standardise: expected one of observed, yeo_johnson, none, got 'yes'",
        ),
        ({"ema_decay": 1.0}, "ema_decay: expected a value from 0 to 0.9999, got 1.0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, message):
    """By name, with what is allowed."""
    with pytest.raises(ValueError, match=message):
        Config(**settings)


MANY_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import jax
import test_run
from mnar_ebm.training import loop
from mnar_ebm.tilted import stages, tilt_scale
assert jax.device_count() == 8
jax.config.update("jax_disable_most_optimizations", True)
loop.CHUNK_STEPS, stages.HELD_OUT_SAMPLES, stages.HELD_OUT_NEGATIVES = 2, 20, 64
tilt_scale.NUM_SAMPLES, tilt_scale.NUM_NEGATIVES = 20, 64
test_run.train(sys.argv[2], test_run.BASE_ALONE)
"""
BASE_ALONE = dataclasses.replace(CONFIG, tilt="none", mechanism="none", ema_decay=0.0)


@pytest.mark.slow
def test_many_devices_train_the_same_model(tmp_path):
    """Eight devices: the same parameters, and a checkpoint that one device loads."""
    tests = str(pathlib.Path(__file__).parent)
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    result = subprocess.run(
        [sys.executable, "-c", MANY_DEVICES, tests, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    expected, _ = train(config=BASE_ALONE)
    start = tilted.make_fitted(BASE_ALONE, expected.facts)
    assert oracles.bits(start.params) != oracles.bits(expected.params)
    chex.assert_trees_all_close(
        mnar_ebm.load(tmp_path).params, expected.params, rtol=1e-4, atol=1e-4
    )
