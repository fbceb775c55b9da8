"""How long, how fast and with what decay a stage goes: what its program is handed as arrays."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mnar_ebm.types import Array, PyTree


class Pace(NamedTuple):
    """How long and how fast a stage goes.

    Attributes:
        num_steps: its length.
        learning_rate: its peak learning rate.
        schedule: ``cosine`` or ``constant``, the rate warms up and decays to 0, or stays.
        decays: rates of decoupled weight decay, of ``Stage.decayed`` in turn.
        precision: 1/sd² of the normal prior of ``Stage.penalised``, a table's; 0: none.
    """

    num_steps: int = 1
    learning_rate: float = 1.0
    schedule: str = "constant"
    decays: tuple[float, ...] = ()
    precision: float = 0.0

    def rates(self, steps: Array) -> Array:
        """Return the learning rate of each step: constant, or warmed up, then decayed to 0. [S]."""
        if self.schedule == "constant":
            return jnp.full(steps.shape, self.learning_rate, float)
        warmup = min(100, self.num_steps // 10)
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=self.learning_rate,
            warmup_steps=warmup,
            decay_steps=max(self.num_steps, warmup + 1),
        )
        return jnp.asarray(schedule(steps), float)  # float: not weakly typed


def make_optimiser(
    decayed: Sequence[str],
    decays: Sequence[Array | float] = (),
    rate: Array | float = 0.0,
    direct: Callable[[], optax.GradientTransformation] = optax.scale_by_adam,
) -> optax.GradientTransformation:
    """Return Adam with decoupled weight decay; its state has one structure whatever the rates.

    Args:
        decayed: patterns of the paths of the parameters that are shrunk.
        decays: their rates of decay; 0 if none is told.
        rate: the learning rate.
        direct: makes what turns gradients into directions, in place of Adam.
    """
    shrunk = [
        optax.add_decayed_weights(decay, _is_on_path(pattern))
        for pattern, decay in zip(decayed, decays or (0.0,) * len(decayed), strict=True)
    ]
    return optax.chain(direct(), *shrunk, optax.scale_by_learning_rate(rate))


def add_prior(
    gradient: PyTree, trainable: PyTree, pattern: str, precision: Array | float
) -> PyTree:
    r"""Return the gradient of the loss less the log-density of N(0, 1/precision).

    Args:
        gradient: of the loss, a mean over rows.
        trainable: the parameters that move.
        pattern: of the paths of those that have the prior; empty: none.
        precision: of the prior, over the number of rows.
    """
    if not pattern:
        return gradient
    return jax.tree.map(
        lambda has_prior, value, own: own + precision * value * has_prior,
        _is_on_path(pattern)(trainable),
        trainable,
        gradient,
    )


def _is_on_path(pattern: str) -> Callable[[PyTree], PyTree]:
    """Return the function that marks the leaves whose path has the pattern."""

    def marks(trainable: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: bool(re.search(pattern, jax.tree_util.keystr(path))), trainable
        )

    return marks
