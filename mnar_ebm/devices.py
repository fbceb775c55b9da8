"""Where arrays lie: one mesh of all devices, with one axis ``data``, of rows or of chains.

A step of training splits its batch over that axis, and chains are split over it by :func:`split`;
parameters have a copy on every device. On one device all this is the identity. Random numbers do
not depend on where they are drawn, so that eight devices give what one gives, to rounding.
"""

import warnings

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mnar_ebm.types import PyTree


def data_mesh() -> Mesh:
    """Return the mesh of all devices, with one axis ``data``."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicate(mesh: Mesh, tree: PyTree) -> PyTree:
    """Return the arrays with a copy on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split(tree: PyTree) -> PyTree:
    """Return the arrays split over all devices along their first axis, in or out of a ``jit``.

    On one device, or where the first axis is no multiple of their number, they are as they were.

    Args:
        tree: rows or chains, each leaf [C, ...].

    Examples:
        >>> import jax
        >>> from mnar_ebm import devices, samplers
        >>> starts = devices.split(jax.numpy.zeros((64, 2)))
        >>> key = jax.random.key(0)
        >>> chains = samplers.adjusted_langevin(key, lambda x: -0.5 * (x**2).sum(), starts, 100)
        >>> chains.draws.sharding.device_set == starts.sharding.device_set
        True
    """
    num_devices = jax.device_count()
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(tree)}
    if num_devices == 1 or any(size % num_devices for size in sizes):
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(data_mesh(), PartitionSpec("data")))


def warn_of_rounding() -> None:
    """Warn once where products of float32 matrices are rounded, as a TPU or a GPU does unasked.

    Energies and log-weights are sums of large terms, and what is lost in them shows in ESS and
    log Z. The precision is JAX's own setting, of the whole process, and is left to the person.
    """
    told = getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009 (an untyped name)
    if jax.default_backend() != "cpu" and told is None:
        warnings.warn(
            f"a {jax.default_backend()} may round what float32 matrix products read; for exact "
            "energies and weights call "
            'jax.config.update("jax_default_matmul_precision", "float32") first, or name another '
            "precision",
            stacklevel=3,
        )
