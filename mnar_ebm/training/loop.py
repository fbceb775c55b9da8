"""The loop of training, for any model: stages of jitted steps, early stopping, one iterator.

A stage (``training.stage``) says what moves and what is minimised. Here is how: chunks of steps in
one compiled loop, Adam, a running mean, and the parameters that held-out rows like best. So a
Boltzmann machine is trained, by chains that go on from step to step:

    stage = Stage("pcd", loss, evaluate, Pace(num_steps=2000, learning_rate=1e-2),
                  init_memory=lambda key: jax.random.bernoulli(key, shape=(100, 64)))
    rows, held_out = pad_rows(x_train), pad_rows(x_valid)
    for now in run_stages(Loop(batch_size=100), [stage], params, rows, held_out, keys):
        print(now.record)
    params = now.params
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.devices import data_mesh, replicate
from mnar_ebm.training.chunks import (
    Loop,
    TrainState,
    init_state,
    make_chunk,
    plan_steps,
)
from mnar_ebm.training.plan import Rows, pad_rows, some_rows
from mnar_ebm.training.stage import Stage
from mnar_ebm.types import Key

CHUNK_STEPS = 200
"""Steps between two looks at the held-out rows."""

MAX_HELD_OUT_ROWS = 256
"""Most held-out rows that are looked at on the way."""

Name = TypeVar("Name", bound=Hashable)
Given = TypeVar("Given")
Trained = TypeVar("Trained")


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite."""


class InterruptedTraining(RuntimeError):
    """Training was asked to stop; what it had done is in the last checkpoint."""


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


class Progress(NamedTuple):
    """Where training is, after a chunk of steps or at the end of a stage.

    It can be read until the next is asked for, which takes its arrays: copy what is to be kept.

    Attributes:
        number: of the stage, from 0.
        stage: the stage.
        started: the parameters that the stage started from.
        state: its state, of which it can go on.
        record: what was seen in the chunk; empty at the end of a stage.
        has_held_out: whether held-out rows judge the parameters.
    """

    number: int
    stage: Stage
    started: Any
    state: TrainState
    record: dict[str, Any]
    has_held_out: bool

    @property
    def is_end(self) -> bool:
        """Whether the stage has ended."""
        return not self.record

    @property
    def params(self) -> Any:
        """The parameters with the stage's best in place; if none was believed, as they were.

        Where no row is held out, the last are taken for the best.
        """
        if not self.has_held_out:
            return self.stage.merge(self.started, self.state.average)
        if not np.isfinite(float(self.state.best_bound)):
            return self.started
        return self.stage.merge(self.started, self.state.best)


def run_stages(
    loop: Loop,
    stages: Sequence[Stage],
    params: Any,
    rows: Rows,
    held_out: Rows,
    keys: Sequence[tuple[Key, Key]],
    first: int = 0,
    state: TrainState | None = None,
) -> Iterator[Progress]:
    """Run stages in turn; after every chunk, and at every end of a stage, yield where they are.

    The caller may stop at any of them, and save the state. A stage ends after its steps, when the
    score of held-out rows has not risen for ``loop.patience`` chunks, or when its verdict gives up.
    Where no row is held out nothing is judged, and a stage ends after its steps alone.

    Args:
        loop: settings.
        stages: what to do.
        params: the parameters that the first starts from.
        rows: rows to train on.
        held_out: rows to judge by.
        keys: of each stage, random keys of its steps and of what it remembers at first.
        first: the stage to begin with.
        state: its state, if it was begun before.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite.
    """
    has_held_out = held_out.num_real > 0
    for index in range(first, len(stages)):
        stage, (key, key_memory) = stages[index], keys[index]
        begun = state if state is not None else init_state(stage, params, key_memory)
        now = Progress(index, stage, params, begun, {}, has_held_out)
        for latest, record in _run_chunks(loop, stage, params, begun, rows, held_out, key):
            now = now._replace(state=latest, record=record)
            yield now
        now = now._replace(record={})
        yield now
        params, state = now.params, None


def stage_keys(key: Key, num_stages: int) -> list[tuple[Key, Key]]:
    """Return the random keys of each stage, of its steps and of what it remembers at first."""
    fold = jax.random.fold_in
    return [(fold(key, 1 + n), fold(key, 2 + num_stages + n)) for n in range(num_stages)]


def _run_chunks(
    loop: Loop,
    stage: Stage,
    params: Any,
    state: TrainState,
    rows: Rows,
    held_out: Rows,
    key: Key,
) -> Iterator[tuple[TrainState, dict[str, Any]]]:
    """Run a stage from ``state`` on; after every chunk yield the state and what was seen."""
    mesh, pace = data_mesh(), stage.pace
    chunk = make_chunk(loop, stage, mesh)
    some = some_rows(held_out.num_real, MAX_HELD_OUT_ROWS)
    watched = pad_rows(jax.tree.map(lambda leaf: leaf[some], held_out.batch))
    state, params, batch, refit, seen = replicate(
        mesh, (state, params, rows.batch, held_out.batch, watched.batch)
    )
    key_train, key_held_out = jax.random.split(key)
    has_held_out = held_out.num_real > 0
    if has_held_out and int(state.step) == 0:  # what the stage starts from is its first candidate
        state, _ = chunk.evaluate(state, params, seen, watched.num_real, key_held_out)
    while not is_finished(loop, stage, state):
        started = time.perf_counter()
        step = int(state.step)
        num_steps = min(CHUNK_STEPS - step % CHUNK_STEPS, pace.num_steps - step)
        steps = step + jnp.arange(CHUNK_STEPS)
        plan = plan_steps(loop, key_train, steps, rows.num_real, held_out.num_real)
        precision = pace.precision / rows.num_real
        rates = pace.rates(steps)
        state, means = chunk.run(
            state, params, batch, refit, plan, rates, num_steps, pace.decays, precision
        )
        infos = {name: float(value) for name, value in means.items()}
        if not np.isfinite(infos["loss"]):
            raise NonFiniteLossError(
                f"the loss of stage {stage.name} is {infos['loss']} between steps {step} and "
                f"{step + num_steps}: {stage.advice}; a checkpoint keeps what was before, if there "
                "is one"
            )
        seconds = time.perf_counter() - started
        if has_held_out:
            state, info = chunk.evaluate(state, params, seen, watched.num_real, key_held_out)
            infos |= {name: float(value) for name, value in info.items()}
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


def is_finished(loop: Loop, stage: Stage, state: TrainState) -> bool:
    """Return whether the stage has taken its steps or has lost its patience."""
    return int(state.step) >= stage.pace.num_steps or int(state.num_stale) >= loop.patience
