"""Rows and chains over many devices, and what a TPU would be given: no TPU is needed for it."""

import dataclasses
import functools
import os
import pathlib
import re
import subprocess
import sys
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mnar_ebm
from mnar_ebm import data, devices, samplers
from mnar_ebm.config import Config
from mnar_ebm.inference import imputation, sample_by_chains, sample_by_weights
from mnar_ebm.inference.rows import Rows
from mnar_ebm.tilted import facts, fitted, stages
from mnar_ebm.training import chunks, loop, pad_rows

CONFIG = Config(
    latent_dim=2,
    hidden_dim=8,
    num_importance_samples=3,
    batch_size=16,
    num_negatives=32,
    num_steps=4,
    tilt_steps=4,
)
TABLE = data.load("linear_gaussian")


def model():
    """Return an untrained model of the toy."""
    return fitted.make_fitted(CONFIG, facts.table_facts(CONFIG, TABLE))


def lower(function, *args):
    """Return the program that a TPU would compile of a jitted function, as text."""
    return function.trace(*args).lower(lowering_platforms=("tpu",)).as_text()


def training_program(name):
    """Return the program of a chunk of steps, and the state that it moves."""
    one, settings = model(), stages.make_loop(CONFIG)
    (stage,) = [stage for stage in stages.make_stages(CONFIG, one.model) if stage.name == name]
    rows = pad_rows(fitted.make_batch(one, TABLE.x[:60]))
    key = jax.random.key(0)
    state = chunks.init_state(stage, one.params, key)
    steps = jnp.arange(loop.CHUNK_STEPS)
    plan = chunks.plan_steps(settings, key, steps, 60, 60)
    pace = stage.pace
    run = chunks.make_chunk(settings, stage, devices.data_mesh()).run
    args = (one.params, rows.batch, rows.batch, plan, pace.rates(steps), 4, pace.decays, 0.0)
    return lower(run, state, *args), state


def imputing_program(name):
    """Return the program that imputes a block of rows."""
    one = model()
    x, mask = one.standardise(TABLE.x[:64])
    imputer = imputation.make_imputer(one.model, 20, 2)
    rows = Rows(x, mask, np.zeros(64, np.uint32))
    return lower(imputer, jax.random.key(0), one.params, None, rows, 64), None


def sampling_program(name):
    """Return the program of chains with two adapted settings, on a density with a product."""

    @jax.jit
    def chains(key, starts):
        covariance = jnp.asarray(np.cov(TABLE.truth.T), jnp.float32)
        return samplers.hamiltonian(key, lambda x: -0.5 * x @ covariance @ x, starts, 10)

    return lower(chains, jax.random.key(0), jnp.zeros((8, 6))), None


PROGRAMS = {
    "base": training_program,
    "tilt": training_program,
    "impute": imputing_program,
    "sample": sampling_program,
}


@functools.cache
def in_float32(name):
    """Return a program and what it moves, if anything, as with ``--matmul_precision=float32``."""
    with jax.default_matmul_precision("float32"):
        return PROGRAMS[name](name)


def matrix_products(program):
    """Return the lines of a program that multiply matrices."""
    return [line for line in program.splitlines() if "stablehlo.dot_general" in line]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tpu_would_compute_in_float32(name):
    """It lowers for a TPU, every product asks for float32, and nothing calls back the host."""
    program, _ = in_float32(name)
    products = matrix_products(program)
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    assert "f64" not in program and "callback" not in program


def test_unless_told_a_tpu_would_round():
    """The check above bites."""
    products = matrix_products(sampling_program("sample")[0])
    assert products and not any("HIGHEST" in line for line in products)


def test_the_state_of_training_is_donated():
    """Each of its arrays gives its memory to that which takes its place."""
    program, state = in_float32("base")
    head = program[program.index("func.func public @main") :]
    arguments = head[: head.index(") -> ")]
    donated = re.findall(r"tf.aliasing_output|jax.buffer_donor", arguments)
    assert len(donated) == len(jax.tree.leaves(state))


@pytest.mark.slow
def test_no_step_waits_for_numbers_of_the_host(monkeypatch):
    """A chunk is given arrays that lie on the devices, in 32 bits, and beside them few numbers."""
    seen = []
    make_chunk = chunks.make_chunk

    def recording(*args):
        chunk = make_chunk(*args)
        return chunk._replace(run=lambda *args: seen.append(args) or chunk.run(*args))

    monkeypatch.setattr(loop, "make_chunk", recording)
    monkeypatch.setattr(stages, "HELD_OUT_SAMPLES", 20)
    small = dataclasses.replace(TABLE, x=TABLE.x[:60], mask=TABLE.mask[:60], truth=None)
    mnar_ebm.train(CONFIG.replace(tilt="none"), small)
    leaves = jax.tree.leaves(seen)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    others = [leaf for leaf in leaves if not isinstance(leaf, jax.Array)]
    assert seen and all(isinstance(leaf, (int, float)) for leaf in others)
    assert len(others) <= 5
    assert {str(leaf.dtype) for leaf in arrays} <= {"float32", "int32", "bool", "key<fry>"}


def test_rounding_is_warned_of(monkeypatch):
    """On an accelerator, where no precision is set; nowhere else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        devices.warn_of_rounding()
        monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
        with jax.default_matmul_precision("float32"):
            devices.warn_of_rounding()
    with pytest.warns(UserWarning, match="jax_default_matmul_precision"):
        devices.warn_of_rounding()


@pytest.mark.slow
def test_the_precision_changes_no_number_on_a_cpu():
    """A model that is trained and imputes with it is, bit for bit, the one without."""
    small = dataclasses.replace(TABLE, x=TABLE.x[:60], mask=TABLE.mask[:60], truth=None)

    def run():
        one, _ = mnar_ebm.train(CONFIG, small)
        return one.params, one.impute(small.x, num_samples=50).mean

    plain = run()
    try:
        jax.config.update("jax_default_matmul_precision", "float32")
        jax.tree.map(np.testing.assert_array_equal, run(), plain)
    finally:
        jax.config.update("jax_default_matmul_precision", None)


def test_what_cannot_be_split_is_left():
    """On one device all is as it was."""
    x = jnp.zeros((7, 2))
    if jax.device_count() == 1:
        assert devices.split(x) is x


ON_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
import test_devices
assert jax.device_count() == int(sys.argv[3])
jax.config.update("jax_disable_most_optimizations", True)
np.savez(sys.argv[2], **test_devices.on_all_devices(sys.argv[4]))
"""


def on_all_devices(workdir):
    """Return chains, weights, chains of a model; and of one trained by chains, what it gives."""
    num_devices = jax.device_count()
    starts = devices.split(jax.random.normal(jax.random.key(1), (16, 2)))

    def ridge(x):
        return -0.5 * x[0] ** 2 - 0.5 * (x[1] - x[0] ** 2) ** 2

    found = {}
    for name in ("adjusted_langevin", "hamiltonian"):
        chains = getattr(samplers, name)(
            jax.random.key(2), ridge, starts, 5, num_adaptation_steps=30
        )
        found[name] = chains.draws
    one = model()
    params = one.params._replace(tilt_scale=jnp.ones(()))
    drawn = sample_by_weights(jax.random.key(3), one.model, params, 8, 64)
    found["log_w"] = drawn.log_w
    settings = {"method": "mala", "num_steps": 20, "thin": 1}
    own = sample_by_chains(jax.random.key(4), one.model, params, 8, 1, space="latent", **settings)
    found["chains"] = own.z
    for name, leaf in found.items():
        assert len(leaf.sharding.device_set) == num_devices, name
        assert leaf.sharding.is_fully_replicated == (num_devices == 1), name
    rows = dataclasses.replace(TABLE, x=TABLE.x[:60], mask=TABLE.mask[:60], truth=None)
    config = CONFIG.replace(negative_phase="cd", num_chain_steps=2, mechanism="none")
    trained, _ = mnar_ebm.train(config, rows, workdir)
    found["imputed"] = trained.impute(rows.x, num_samples=20).mean
    found["of_a_folder"] = mnar_ebm.load(workdir).sample(8, num_chains=8, **settings).z
    leaves = jax.tree_util.tree_leaves_with_path(trained.params.energy)
    return found | {f"energy{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(tmp_path):
    """Chains and draws, which lie on all of them, and parameters; to rounding."""
    tests, found = str(pathlib.Path(__file__).parent), {}
    for count in (1, 8):
        path = tmp_path / f"{count}.npz"
        result = subprocess.run(
            [
                sys.executable,
                "-c",
                ON_DEVICES,
                tests,
                *map(str, (path, count, tmp_path / f"run{count}")),
            ],
            env=os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        found[count] = dict(np.load(path))
    assert any(name.startswith("energy") for name in found[1])
    chex.assert_trees_all_close(found[8], found[1], rtol=1e-4, atol=1e-4)
