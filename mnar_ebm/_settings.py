"""Settings that say of themselves what they are for and what they may be.

A group of settings is a frozen dataclass whose fields are made by :func:`setting`. What is checked
when a group is made, and the flags of the commands with their help, are read off its fields.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable
from typing import Any

from mnar_ebm import _checks


def setting(
    default: Any,
    text: str,
    *,
    choices: Collection[str] = (),
    at_least: float | None = None,
    between: tuple[float, float] | None = None,
    is_positive: bool = False,
) -> Any:
    """Return a field of a group of settings.

    Args:
        default: its value, unless another is told; its type is that of all values.
        text: what it is for: the help of its flag.
        choices: all values that a text may have; a table may grow.
        at_least: the least that a number may be.
        between: the least and the largest that a number may be.
        is_positive: whether a number must be above 0 and finite.
    """
    checks: list[Callable[[str, Any], None]] = []
    if choices:
        checks.append(lambda name, value: _checks.check_choice(name, value, choices))
    if at_least is not None:
        checks.append(lambda name, value: _checks.check_at_least(name, value, at_least))
        checks.append(_checks.check_finite)
    if between is not None:
        checks.append(lambda name, value: _checks.check_between(name, value, *between))
    if is_positive:
        checks.append(_checks.check_positive)
    metadata = {"help": text, "choices": choices, "checks": tuple(checks)}
    return dataclasses.field(default=default, metadata=metadata)


def check_settings(group: Any, fields: Iterable[dataclasses.Field[Any]] | None = None) -> None:
    """Raise the ``TypeError`` or ``ValueError`` of the first setting of a group that may not be.

    Args:
        group: the settings.
        fields: those to check; by default all.
    """
    for field in dataclasses.fields(group) if fields is None else fields:
        value = getattr(group, field.name)
        _checks.check_type(field.name, value, field.type)  # type: ignore[arg-type]
        for check in field.metadata["checks"]:
            check(field.name, value)
