"""The contract of a chain sampler, and the one loop that runs it.

A sampler is two pure functions, ``init`` and ``step``, for one chain. Its state holds what the next
step needs; the info holds diagnostics. The contract is positional and is that of blackjax, so their
kernels run in this loop and ours in theirs.
"""

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from mnar_ebm.types import Array, Key, PyTree

__all__ = [
    "GradientState",
    "InitFn",
    "LogDensityFn",
    "SamplingAlgorithm",
    "StepFn",
    "check_at_least",
    "check_no_nan",
    "check_positive",
    "check_rank",
    "check_start",
    "sample",
]

LogDensityFn = Callable[[PyTree], Array]
"""Maps one position, any pytree of floating-point arrays, to a scalar."""


class InitFn(Protocol):
    """Makes the state of a chain that stands at a position."""

    def __call__(self, position: PyTree, key: Key | None = None, /) -> Any:
        """Return the state; ``key`` is for the few samplers whose state is random."""


class StepFn(Protocol):
    """Moves a chain by one step."""

    def __call__(self, key: Key, state: Any, /) -> tuple[Any, Any]:
        """Return the next state and the info about the move."""


class SamplingAlgorithm(NamedTuple):
    """A chain sampler, with its log-density and settings closed over.

    Attributes:
        init: ``init(position, key=None) -> state``.
        step: ``step(key, state) -> (state, info)``; it leaves the target invariant, or nearly so.
    """

    init: InitFn
    step: StepFn


class GradientState(NamedTuple):
    """The state of a chain that follows gradients: no density is computed twice at one place.

    Attributes:
        position: any pytree of floating-point arrays.
        logdensity: log p(position), up to a constant. []
        logdensity_grad: its gradient, shaped as the position.
    """

    position: PyTree
    logdensity: Array
    logdensity_grad: PyTree


def sample(
    key: Key,
    algorithm: SamplingAlgorithm,
    position: PyTree,
    num_steps: int,
    *,
    burn_in: int = 0,
    thin: int = 1,
    transform: Callable[[Any, Any], PyTree] = lambda state, info: (state.position, info),
) -> tuple[Any, PyTree]:
    """Run one chain and stack what ``transform`` keeps of every draw.

    With x_t the chain after t steps, draw n = 1..N is x_(burn_in + n thin). ``num_steps`` is N: it
    counts the draws that are *kept*, and the chain makes ``burn_in + num_steps * thin`` steps. A
    step that is not kept is never stored. Step t takes its key from t alone, so burn-in and
    thinning choose among the draws of one chain and do not change it.

    Args:
        key: a random key.
        algorithm: the sampler, ours or one of blackjax.
        position: where the chain starts: any pytree of arrays.
        num_steps: N, kept draws.
        burn_in: steps before the first that can be kept.
        thin: steps from one kept draw to the next.
        transform: ``(state, info) -> pytree``, of a kept step; by default position and info.

    Returns:
        The final state, with which ``algorithm.step`` can go on, and the kept values, each leaf
        with a leading axis of draws. [N, ...]

    Raises:
        TypeError: one of the numbers is not whole.
        ValueError: ``num_steps`` or ``thin`` is below 1, or ``burn_in`` below 0; or the chain
            starts where the density is 0 or not known, and would stay there.

    Examples:
        >>> import jax
        >>> from mnar_ebm.samplers import sample, ula
        >>> normal = ula(lambda x: -0.5 * x**2, step_size=0.1)
        >>> state, (x, _) = sample(jax.random.key(0), normal, 0.0, 50, burn_in=20, thin=4)
        >>> x.shape, bool(x[-1] == state.position)
        ((50,), True)

    References:
        Charles J. Geyer, "Practical Markov Chain Monte Carlo", Statistical Science 7(4), 1992,
        https://doi.org/10.1214/ss/1177011137, section 3 (burn-in and subsampling).
    """
    for name, value, minimum in (
        ("num_steps", num_steps, 1),
        ("burn_in", burn_in, 0),
        ("thin", thin, 1),
    ):
        check_at_least(name, value, minimum)
    key_init, key_steps = jax.random.split(key)

    def step(state: Any, t: Array) -> tuple[Any, Any]:
        return algorithm.step(jax.random.fold_in(key_steps, t), state)

    def skip(state: Any, first: Any, count: int) -> Any:
        if count == 0:  # saves tracing the step
            return state
        return jax.lax.fori_loop(0, count, lambda i, state: step(state, first + i)[0], state)

    def draw(state: Any, first: Array) -> tuple[Any, PyTree]:
        state = skip(state, first, thin - 1)
        state, info = step(state, first + thin - 1)
        return state, transform(state, info)

    state = algorithm.init(position, key_init)
    check_start(getattr(state, "logdensity", None))
    state = skip(state, 0, burn_in)
    return jax.lax.scan(draw, state, burn_in + thin * jnp.arange(num_steps))


def check_at_least(name: str, value: int, minimum: int = 1) -> None:
    """Raise ``ValueError`` for a number of things that is too small, ``TypeError`` if not whole.

    Args:
        name: the argument's name, for the message.
        value: the number.
        minimum: the smallest that is allowed.

    Raises:
        TypeError: ``value`` is no whole number.
        ValueError: ``value`` is below ``minimum``.
    """
    try:
        operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {value!r}") from None
    if value < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {value}")


def check_positive(name: str, value: float | Array, *, or_zero: bool = False) -> None:
    """Raise ``ValueError`` for a setting that is not positive and finite, ``TypeError`` for none.

    Only a plain number is looked at. An array may be traced, and passes: a step size can be
    adapted, mapped over or differentiated.

    Args:
        name: the argument's name, for the message.
        value: the setting, a number or a scalar array. []
        or_zero: whether zero is allowed too.

    Raises:
        TypeError: ``value`` is neither a number nor an array.
        ValueError: ``value`` is a number and is negative, zero (unless allowed), infinite or NaN.
    """
    if not isinstance(value, numbers.Real) and not hasattr(value, "dtype"):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if isinstance(value, numbers.Real):
        if not (0 < value < float("inf") or (or_zero and value == 0)):
            allowed = "a positive number or zero" if or_zero else "a positive number"
            raise ValueError(f"{name}: expected {allowed}, got {value}")


def check_rank(name: str, value: Any, rank: int = 1) -> None:
    """Raise ``ValueError`` unless an array has so many axes.

    Args:
        name: the argument's name, for the message.
        value: the array.
        rank: how many axes are expected.

    Raises:
        ValueError: it has more or fewer.
    """
    shape = jnp.shape(value)
    if len(shape) != rank:
        raise ValueError(f"{name}: expected an array of {rank} axes, got one of shape {shape}")


def check_no_nan(name: str, log_w: Array) -> None:
    """Raise ``ValueError`` if a log-weight is NaN; traced ones pass.

    Args:
        name: the argument's name, for the message.
        log_w: log-weights. [N]

    Raises:
        ValueError: one is NaN.
    """
    if isinstance(log_w, jax.core.Tracer):
        return
    told = jax.device_get(log_w)  # what jnp makes of it within a jit would be traced
    if (told != told).any():
        raise ValueError(f"{name}: expected no NaN, got {(told != told).sum()} among {told.size}")


def check_start(logdensity: Any) -> None:
    """Raise ``ValueError`` if a chain starts where log p is not finite; a traced one passes.

    Args:
        logdensity: log p where chains start, an array [...]; what is none passes.

    Raises:
        ValueError: one of them is infinite or NaN.
    """
    if isinstance(logdensity, jax.core.Tracer) or not hasattr(logdensity, "dtype"):
        return
    for told in jax.device_get(logdensity).ravel().tolist():  # jnp would trace within a jit
        if not math.isfinite(told):
            raise ValueError(f"position: expected a start of finite log-density, got {told}")
