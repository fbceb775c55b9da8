"""One stage of training as a few jitted scans: the state, a chunk of steps, early stopping."""

import functools
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from mnar_ebm.config import Config
from mnar_ebm.models import Params
from mnar_ebm.training.held_out import some_rows
from mnar_ebm.training.pace import Pace, add_slope_prior, make_optimiser
from mnar_ebm.training.plan import Plan, Rows, draw_plan, pad_rows
from mnar_ebm.training.stages import Stage, held_out_bound, program_of
from mnar_ebm.types import Array, Batch, Key, PyTree

CHUNK_STEPS = 200
"""Steps between two looks at the held-out bound."""

HELD_OUT_SAMPLES = 500
HELD_OUT_NEGATIVES = 8192
MAX_HELD_OUT_ROWS = 256

ESS_GUARD = 0.02
"""Smallest effective share of base draws at which log Z, and so the bound, is believed: about
160 of the draws, a standard error of 0.08 nats."""

Name = TypeVar("Name", bound=Hashable)
Given = TypeVar("Given")
Trained = TypeVar("Trained")


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite."""


def try_all(
    train: Callable[[Given], Trained], candidates: Mapping[Name, Given]
) -> tuple[dict[Name, Trained], dict[Name, NonFiniteLossError]]:
    """Return what training gives of each candidate, and what it raised if a loss was not finite."""
    trained: dict[Name, Trained] = {}
    lost: dict[Name, NonFiniteLossError] = {}
    for name, given in candidates.items():
        try:
            trained[name] = train(given)
        except NonFiniteLossError as error:
            lost[name] = error
    return trained, lost


class TrainState(NamedTuple):
    """What a stage needs to go on.

    Attributes:
        step: steps taken in this stage. []
        trainable: the parameters that move.
        opt_state: Adam's.
        average: exponential moving average of ``trainable``; itself where the decay is 0.
        best: the average with the highest held-out bound so far.
        best_bound: that bound. []
        num_stale: evaluations since then. []
        chains: what the stage's negative phase carries; empty but for ``pcd``.
    """

    step: Array
    trainable: PyTree
    opt_state: PyTree
    average: PyTree
    best: PyTree
    best_bound: Array
    num_stale: Array
    chains: PyTree


def init_state(stage: Stage, params: Params, key: Key) -> TrainState:
    """Return the state before the first step of ``stage``; ``key`` draws its chains."""
    trainable = jax.tree.map(jnp.array, stage.select(params))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        trainable=trainable,
        opt_state=make_optimiser(stage.decayed).init(trainable),
        average=jax.tree.map(jnp.array, trainable),
        best=jax.tree.map(jnp.array, trainable),
        best_bound=jnp.full((), -jnp.inf, float),  # float: not weakly typed
        num_stale=jnp.zeros((), jnp.int32),
        chains=stage.init_chains(key),
    )


def data_mesh() -> jax.sharding.Mesh:
    """Return the mesh of all devices, with one axis ``data``."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def replicate(mesh: jax.sharding.Mesh, tree: PyTree) -> PyTree:
    """Return the arrays with a copy on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


class Chunk(NamedTuple):
    """The jitted functions of one stage."""

    run: Callable[..., tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[..., tuple[TrainState, dict[str, Array]]]


def make_chunk(config: Config, stage: Stage, mesh: jax.sharding.Mesh) -> Chunk:
    """Return the jitted ``run`` and ``evaluate`` of a stage; the same ones but for its pace.

    A step is a pure function of what its plan gives it and of its learning rate, so that a resumed
    run repeats an unbroken one bit for bit. Its rows are split over the mesh's axis ``data``.
    """
    return _make_chunk(program_of(config), stage._replace(pace=Pace()), mesh)


@functools.lru_cache(maxsize=32)
def _make_chunk(config: Config, stage: Stage, mesh: jax.sharding.Mesh) -> Chunk:
    batch_sharding = NamedSharding(mesh, PartitionSpec("data"))

    def take_step(
        state: TrainState,
        params: Params,
        batch: Batch,
        held_out: Batch,
        key: Key,
        optimiser: optax.GradientTransformation,
        slope_precision: Array | float,
    ) -> tuple[TrainState, dict[str, Array]]:
        def loss(trainable: PyTree) -> tuple[Array, tuple[dict[str, Array], PyTree]]:
            return stage.loss(key, stage.merge(params, trainable), batch, held_out, state.chains)

        (value, (info, chains)), gradient = jax.value_and_grad(loss, has_aux=True)(state.trainable)
        gradient = add_slope_prior(gradient, state.trainable, slope_precision)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        average = optax.incremental_update(trainable, state.average, 1.0 - config.ema_decay)
        state = state._replace(
            step=state.step + 1,
            trainable=trainable,
            opt_state=opt_state,
            average=average,
            chains=chains,
        )
        return state, {"loss": value, **info}

    @functools.partial(jax.jit, donate_argnums=0)
    def run(
        state: TrainState,
        params: Params,
        rows: Batch,
        held_out: Batch,
        plan: Plan,
        rates: Array,
        num_steps: Array,
        decays: tuple[float, ...],
        slope_precision: float = 0.0,
    ) -> tuple[TrainState, dict[str, Array]]:
        @jax.jit  # traced once, for its shapes and for the loop
        def step(state: TrainState, index: Array) -> tuple[TrainState, dict[str, Array]]:
            now = jax.tree.map(lambda leaf: leaf[index], plan)
            batch = jax.tree.map(lambda leaf: leaf[now.rows], rows)
            batch = jax.lax.with_sharding_constraint(batch, batch_sharding)
            refit = jax.tree.map(lambda leaf: leaf[now.held_out], held_out)
            optimiser = make_optimiser(stage.decayed, decays, rates[index])
            return take_step(state, params, batch, refit, now.key, optimiser, slope_precision)

        def add_step(
            index: Array, carry: tuple[TrainState, dict[str, Array]]
        ) -> tuple[TrainState, dict[str, Array]]:
            state, sums = carry
            state, info = step(state, index)
            return state, jax.tree.map(jnp.add, sums, info)

        shapes = jax.eval_shape(step, state, 0)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        state, sums = jax.lax.fori_loop(0, num_steps, add_step, (state, sums))
        return state, jax.tree.map(lambda total: total / num_steps, sums)

    @jax.jit
    def evaluate(
        state: TrainState, params: Params, data: Rows, key: Key
    ) -> tuple[TrainState, dict[str, Array]]:
        merged = stage.merge(params, state.average)
        info = held_out_bound(
            stage.model,
            merged,
            data.batch,
            jnp.arange(data.batch.x.shape[0]) < data.num_real,
            key,
            HELD_OUT_SAMPLES,
            HELD_OUT_NEGATIVES,
        )
        believed = info["ess_fraction"] >= ESS_GUARD
        better = believed & (info["held_out"] > state.best_bound)
        give_up = ~believed & (stage.name == "joint")
        num_stale = jnp.where(give_up, config.patience, state.num_stale + 1)

        def keep(new: Array, old: Array) -> Array:
            return jnp.where(better, new, old)

        return state._replace(
            best=jax.tree.map(keep, state.average, state.best),
            best_bound=keep(info["held_out"], state.best_bound),
            num_stale=keep(jnp.zeros_like(num_stale), num_stale),
        ), info

    return Chunk(run, evaluate)


def plan_steps(config: Config, key: Key, steps: Array, num_rows: int, num_held_out: int) -> Plan:
    """Return what each step of a stage is given: of the held-out rows, their share of a batch.

    Args:
        config: settings.
        key: random key of the stage.
        steps: numbers of the steps, one after the other. [S]
        num_rows: how many rows are trained on.
        num_held_out: how many are held out.
    """
    share = config.validation_fraction
    refit_size = max(1, round(config.batch_size * share / (1.0 - share))) if share else 0
    return draw_plan(key, steps, num_rows, num_held_out, config.batch_size, refit_size)


def run_stage(
    config: Config,
    stage: Stage,
    params: Params,
    state: TrainState,
    train_data: Batch,
    held_out: Batch,
    key: Key,
    room: int = 0,
) -> Iterator[tuple[TrainState, dict[str, Any]]]:
    """Run a stage from ``state`` on; after every chunk yield the state and what was seen.

    The caller may stop between two chunks, at any of which the state can be saved. A stage ends
    after its steps, when the held-out bound has not risen for ``config.patience`` chunks, or,
    in the stage ``joint``, when the effective share of base draws falls below ``ESS_GUARD``.
    Where no row is held out nothing is evaluated, and a stage ends after its steps alone.

    Args:
        config: settings.
        stage: what to do.
        params: the parameters that it starts from.
        state: the first state, or one that was yielded.
        train_data: rows to train on. [N, D]
        held_out: rows to judge by. [H, D]
        key: random key.
        room: rows that the compiled program is to have room for, at least: as many as a later
            stage will train on.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite; the last state yielded is unharmed.
    """
    mesh, pace = data_mesh(), stage.pace
    chunk = make_chunk(config, stage, mesh)
    some = some_rows(held_out.x.shape[0], MAX_HELD_OUT_ROWS)
    watched = pad_rows(jax.tree.map(lambda leaf: leaf[some], held_out))
    state, params, rows, refit, watched = replicate(
        mesh,
        (state, params, pad_rows(train_data, room).batch, pad_rows(held_out).batch, watched),
    )
    key_train, key_held_out = jax.random.split(key)
    num_rows, num_held_out = train_data.x.shape[0], held_out.x.shape[0]
    has_held_out = num_held_out > 0
    if has_held_out and int(state.step) == 0:  # what the stage starts from is its first candidate
        state, _ = chunk.evaluate(state, params, watched, key_held_out)
    while not is_finished(config, stage, state):
        started = time.perf_counter()
        step = int(state.step)
        num_steps = min(CHUNK_STEPS - step % CHUNK_STEPS, pace.num_steps - step)
        steps = step + jnp.arange(CHUNK_STEPS)
        plan = plan_steps(config, key_train, steps, num_rows, num_held_out)
        state, means = chunk.run(
            state,
            params,
            rows,
            refit,
            plan,
            pace.rates(steps),
            num_steps,
            pace.decays,
            pace.slope_precision / num_rows,
        )
        infos = {name: float(value) for name, value in means.items()}
        if not np.isfinite(infos["loss"]):
            raise NonFiniteLossError(
                f"the loss of stage {stage.name} is {infos['loss']} between steps {step} and "
                f"{step + num_steps}: try a lower learning rate, a smaller latent_dim, or "
                "decoder_scale=per_feature; a checkpoint keeps what was before, if there is one"
            )
        seconds = time.perf_counter() - started
        if has_held_out:
            state, evaluation = chunk.evaluate(state, params, watched, key_held_out)
            infos |= {name: float(value) for name, value in evaluation.items()}
        yield (
            state,
            {
                "stage": stage.name,
                "step": step + num_steps,
                "num_steps": pace.num_steps,
                **infos,
                "steps_per_second": num_steps / seconds,
            },
        )


def is_finished(config: Config, stage: Stage, state: TrainState) -> bool:
    """Return whether the stage has taken its steps or has lost its patience."""
    return int(state.step) >= stage.pace.num_steps or int(state.num_stale) >= config.patience


def finish(config: Config, stage: Stage, params: Params, state: TrainState) -> Params:
    """Return the parameters with the stage's best in place; if none was believed, as they were.

    Where no row is held out, the last are taken for the best.
    """
    if config.validation_fraction == 0:
        return stage.merge(params, state.average)
    if not np.isfinite(float(state.best_bound)):
        return params
    return stage.merge(params, state.best)
