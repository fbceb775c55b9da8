"""The one place where functions are kept so that ``jit`` compiles each of them once.

``jit`` knows a program by the function object, and by its static arguments as they compare. What is
made by a function of settings, a model's closures or a jitted step, would be a new object, and so
a new program, at every call. Makers are therefore decorated by :func:`once`: equal settings get the
very same object. Nothing else depends on it, and nothing that is kept holds data or parameters.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")

MAX_KEPT = 32
"""Things that each maker keeps, the last that were asked for."""


def once(make: Callable[..., Made]) -> Callable[..., Made]:
    """Return a maker that gives the same object for equal arguments, which must be hashable."""
    return functools.lru_cache(maxsize=MAX_KEPT)(make)
