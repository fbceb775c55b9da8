"""A chunk of steps of one stage as one compiled loop, and the look at held-out rows after it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from mnar_ebm.programs import once
from mnar_ebm.training.optimiser import Pace, add_prior, make_optimiser
from mnar_ebm.training.plan import Plan, draw_plan
from mnar_ebm.training.stage import Stage
from mnar_ebm.types import Array, Key, PyTree


class Loop(NamedTuple):
    """Settings of the loop, shared by all stages.

    Attributes:
        batch_size: rows in a step; those of fewer come more than once.
        refit_size: held-out rows in a step, for a loss that reads them.
        ema_decay: decay of the running mean of parameters that is judged; 0: none.
        patience: evaluations without a better score before a stage stops.
    """

    batch_size: int
    refit_size: int = 0
    ema_decay: float = 0.0
    patience: int = 20


class TrainState(NamedTuple):
    """What a stage needs to go on.

    Attributes:
        step: steps taken in this stage. []
        trainable: the parameters that move.
        opt_state: the optimiser's.
        average: exponential moving average of ``trainable``; itself where the decay is 0.
        best: the average with the highest score of held-out rows so far.
        best_bound: that score. []
        num_stale: evaluations since then. []
        chains: what the stage remembers from step to step.
    """

    step: Array
    trainable: PyTree
    opt_state: PyTree
    average: PyTree
    best: PyTree
    best_bound: Array
    num_stale: Array
    chains: PyTree


def init_state(stage: Stage, params: Any, key: Key) -> TrainState:
    """Return the state before the first step of ``stage``; ``key`` draws what it remembers."""
    trainable = jax.tree.map(jnp.array, stage.select(params))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        trainable=trainable,
        opt_state=make_optimiser(stage.decayed, direct=stage.direct).init(trainable),
        average=jax.tree.map(jnp.array, trainable),
        best=jax.tree.map(jnp.array, trainable),
        best_bound=jnp.full((), -jnp.inf, float),  # float: not weakly typed
        num_stale=jnp.zeros((), jnp.int32),
        chains=stage.init_memory(key),
    )


class Chunk(NamedTuple):
    """The jitted functions of one stage."""

    run: Callable[..., tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[..., tuple[TrainState, dict[str, Array]]]


def make_chunk(loop: Loop, stage: Stage, mesh: jax.sharding.Mesh) -> Chunk:
    """Return the jitted ``run`` and ``evaluate`` of a stage; the same ones but for its pace.

    A step is a pure function of what its plan gives it and of its learning rate, so that a resumed
    run repeats an unbroken one bit for bit. Its rows are split over the mesh's axis ``data``.
    """
    return _make_chunk(loop.ema_decay, loop.patience, stage._replace(pace=Pace()), mesh)


@once
def _make_chunk(ema_decay: float, patience: int, stage: Stage, mesh: jax.sharding.Mesh) -> Chunk:
    batch_sharding = NamedSharding(mesh, PartitionSpec("data"))

    def take_step(
        state: TrainState,
        params: Any,
        batch: PyTree,
        held_out: PyTree,
        key: Key,
        optimiser: optax.GradientTransformation,
        precision: Array | float,
    ) -> tuple[TrainState, dict[str, Array]]:
        def loss(trainable: PyTree) -> tuple[Array, tuple[dict[str, Array], PyTree]]:
            return stage.loss(key, stage.merge(params, trainable), batch, held_out, state.chains)

        (value, (info, chains)), gradient = jax.value_and_grad(loss, has_aux=True)(state.trainable)
        gradient = add_prior(gradient, state.trainable, stage.penalised, precision)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        average = optax.incremental_update(trainable, state.average, 1.0 - ema_decay)
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
        params: Any,
        rows: PyTree,
        held_out: PyTree,
        plan: Plan,
        rates: Array,
        num_steps: Array,
        decays: tuple[float, ...],
        precision: float = 0.0,
    ) -> tuple[TrainState, dict[str, Array]]:
        @jax.jit  # traced once, for its shapes and for the loop
        def step(state: TrainState, index: Array) -> tuple[TrainState, dict[str, Array]]:
            now = jax.tree.map(lambda leaf: leaf[index], plan)
            batch = jax.tree.map(lambda leaf: leaf[now.rows], rows)
            batch = jax.lax.with_sharding_constraint(batch, batch_sharding)
            refit = jax.tree.map(lambda leaf: leaf[now.held_out], held_out)
            optimiser = make_optimiser(stage.decayed, decays, rates[index], stage.direct)
            return take_step(state, params, batch, refit, now.key, optimiser, precision)

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
        state: TrainState, params: Any, batch: PyTree, num_real: Array, key: Key
    ) -> tuple[TrainState, dict[str, Array]]:
        is_row = jnp.arange(jax.tree.leaves(batch)[0].shape[0]) < num_real
        verdict = stage.evaluate(key, stage.merge(params, state.average), batch, is_row)
        is_lost = stage.is_lost(state.chains)
        better = (verdict.score > state.best_bound) & ~is_lost
        num_stale = jnp.where(better, 0, state.num_stale + 1)

        def keep(new: Array, old: Array) -> Array:
            return jnp.where(better, new, old)

        return state._replace(
            best=jax.tree.map(keep, state.average, state.best),
            best_bound=keep(verdict.score, state.best_bound),
            num_stale=jnp.where(verdict.gives_up | is_lost, patience, num_stale),
        ), verdict.info

    return Chunk(run, evaluate)


def plan_steps(loop: Loop, key: Key, steps: Array, num_rows: int, num_held_out: int) -> Plan:
    """Return what each step of a stage is given.

    Args:
        loop: settings.
        key: random key of the stage.
        steps: numbers of the steps, one after the other. [S]
        num_rows: how many rows are trained on.
        num_held_out: how many are held out.
    """
    return draw_plan(key, steps, num_rows, num_held_out, loop.batch_size, loop.refit_size)
