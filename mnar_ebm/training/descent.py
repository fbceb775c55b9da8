r"""Steps of Adam on a loss of all rows as one loop, which a program may map over candidates.

The engine (``training.loop``) trains one model: it reads batches, judges, saves, goes on. Where a
table is small and its candidates are many, each is fitted to all rows at every step,

    g_t = ∇_\theta loss(t, \theta_t, m_t),      \theta_(t+1) = \theta_t - r_t Adam(g_t)

with m_t what a step leaves to the next. Nothing leaves the loop but its end, so that it may stand
under ``jit`` and ``vmap``.
"""

from collections.abc import Callable

import jax
import optax

from mnar_ebm.training.optimiser import make_optimiser
from mnar_ebm.types import Array, PyTree


def descend(
    loss: Callable[[Array, PyTree, PyTree], tuple[Array, PyTree]],
    params: PyTree,
    memory: PyTree,
    num_steps: Array | int,
    rate: Callable[[Array], Array],
    direct: Callable[[], optax.GradientTransformation] = optax.scale_by_adam,
) -> PyTree:
    r"""Return the parameters after so many steps.

    Args:
        loss: ``(index, params, memory) -> (loss [], memory)``, of the step with this index.
        params: to start from, \theta_0.
        memory: what the first step is given, m_0.
        num_steps: steps; it may be traced.
        rate: ``index -> rate []``, the learning rate of a step, r_t.
        direct: makes what turns gradients into directions.

    Examples:
        >>> import jax.numpy as jnp
        >>> def loss(index, x, memory):
        ...     return ((x - 3.0) ** 2).sum(), memory
        >>> found = descend(loss, jnp.zeros(2), (), 200, lambda index: jnp.asarray(0.1))
        >>> found.round(2).tolist()
        [3.0, 3.0]
    """

    def step(index: Array, carry: tuple[PyTree, PyTree, PyTree]) -> tuple[PyTree, PyTree, PyTree]:
        params, state, memory = carry
        optimiser = make_optimiser((), (), rate(index), direct)
        gradient, memory = jax.grad(lambda params: loss(index, params, memory), has_aux=True)(
            params
        )
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, memory

    start = (params, make_optimiser((), direct=direct).init(params), memory)
    return jax.lax.fori_loop(0, num_steps, step, start)[0]
