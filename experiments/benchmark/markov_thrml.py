"""thrml: its block Gibbs on an Ising model, as states 0 and 1."""

import importlib.metadata
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.types import Array, Key


def version() -> str:
    """Return that of the installed package."""
    return importlib.metadata.version("thrml")


def make_draw(
    num_nodes: int,
    edges: Sequence[tuple[int, int]],
    coupling: float,
    colours: Sequence[Sequence[int]],
) -> Callable[[Key, Array, int], Array]:
    """Return ``(key, states [C, N], number of sweeps) -> states``, jitted.

    Raises:
        ImportError: thrml is not installed.
    """
    import thrml
    from thrml.models.ising import IsingEBM, IsingSamplingProgram

    nodes = [thrml.SpinNode() for _ in range(num_nodes)]
    bonds = [(nodes[one], nodes[other]) for one, other in edges]
    weights = jnp.full(len(edges), coupling)
    model = IsingEBM(nodes, bonds, jnp.zeros(num_nodes), weights, jnp.array(1.0))
    blocks = [thrml.Block([nodes[node] for node in colour]) for colour in colours]
    program = IsingSamplingProgram(model, blocks, clamped_blocks=[])
    order = np.concatenate(colours)

    def draw(key: Key, x: Array, num_sweeps: int) -> Array:
        schedule = thrml.SamplingSchedule(num_sweeps, 1, 1)  # all sweeps before the one sample

        def chain(key: Key, x: Array) -> Array:
            start = [x[np.array(colour)].astype(bool) for colour in colours]
            return thrml.sample_states(key, program, schedule, start, [], blocks)

        found = jax.vmap(chain)(jax.random.split(key, len(x)), x)
        last = jnp.concatenate([each[:, -1] for each in found], axis=1)
        return last[:, np.argsort(order)].astype(int)

    return jax.jit(draw, static_argnums=2)
