"""One stage of training, of any model: what moves, what is minimised, and what is watched.

The parameters, the rows and what a stage remembers from step to step are any pytrees; the functions
of a stage are pure. So anything with a loss trains by one loop: a table's tilted autoencoder, or a
Boltzmann machine with its persistent chains.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from mnar_ebm.training.optimiser import Pace
from mnar_ebm.types import Array, Key, PyTree

Info = dict[str, Array]

Loss = tuple[Array, tuple[Info, PyTree]]
"""A loss [], and beside it what was seen and what is remembered."""


class Verdict(NamedTuple):
    """What held-out rows say of parameters.

    Attributes:
        score: the higher the better; minus infinity if it cannot be believed. []
        gives_up: whether the stage should end here. []
        info: what was seen, by name.
    """

    score: Array
    gives_up: Array
    info: Info


class Stage(NamedTuple):
    """One stage of training.

    Attributes:
        name: what it is called in records.
        loss: ``(key, params, batch, held_out, memory) -> (loss, (info, memory))``. Rows that are
            held out may move an amortised posterior, which is no part of a model, nothing else.
        evaluate: ``(key, params, batch, is_row) -> Verdict`` of held-out rows, some of which only
            pad the batch; the same key at every call.
        pace: how long and how fast it goes.
        select: ``(params) -> trainable``, the part that moves.
        merge: ``(params, trainable) -> params``.
        init_memory: ``(key) -> memory``, what is carried from step to step, as chains are.
        is_lost: ``(memory) -> []``, whether what is carried tells that the stage should end where
            it is looked at, as chains do that have run away from the data.
        decayed: patterns of the paths of the parameters that weight decay shrinks, one for each
            of ``pace.decays``.
        penalised: pattern of the paths that have a normal prior, of ``pace.precision``.
        direct: makes what turns gradients into directions: ``optax.trace(decay)`` for momentum.
        advice: what to try if the loss is not finite.
    """

    name: str
    loss: Callable[[Key, Any, Any, Any, PyTree], Loss]
    evaluate: Callable[[Key, Any, Any, Array], Verdict]
    pace: Pace = Pace()
    select: Callable[[Any], PyTree] = lambda params: params
    merge: Callable[[Any, PyTree], Any] = lambda params, trainable: trainable
    init_memory: Callable[[Key], PyTree] = lambda key: ()
    is_lost: Callable[[PyTree], Array] = lambda memory: jnp.zeros((), bool)
    decayed: tuple[str, ...] = ()
    penalised: str = ""
    direct: Callable[[], optax.GradientTransformation] = optax.scale_by_adam
    advice: str = "try a lower learning rate"


def verdict(score: Array, **info: Array) -> Verdict:
    """Return the verdict of a score that is always believed, and what was seen beside it."""
    return Verdict(score, jnp.zeros((), bool), {"held_out": score, **info})
