"""What ``--help`` and ``--helpfull`` say: what matters first, the rest in groups."""

import re
import textwrap
from collections.abc import Iterable

from absl import flags

from mnar_ebm.config import settings_by_group

FIRST = (
    *("system", "data_path", "dataset", "unbiased", "workdir", "resume", "overwrite"),
    *("tilt", "mechanism", "likelihood", "decoder", "num_steps", "seed"),
)
"""Flags of training that matter most, in the order in which they do."""

FEW = 25
"""Flags of a command up to which it tells of all at once."""


def text(command: str, doc: str, is_full: bool) -> str:
    """Return the help of a command.

    Args:
        command: the module that defines its flags.
        doc: what it is for.
        is_full: whether to tell of all flags, and not only of those that matter first.
    """
    names = sorted({flag.name for flag in flags.FLAGS.get_key_flags_for_module(command)})
    if len(names) <= FEW:
        return _joined(doc, {"flags": names})
    first = [name for name in FIRST if name in flags.FLAGS]
    if not is_full:
        return (
            _joined(doc, {"flags that matter first": first}) + "\n--helpfull tells of all flags\n"
        )
    groups = {name: group for name, (group, _) in settings_by_group().items()}
    parts: dict[str, list[str]] = {"of the command": []}
    for name in names:
        group, other = (
            groups.get(name),
            re.search(r"\((--system=\w+)\)", str(flags.FLAGS[name].help)),
        )
        title = "of the command" if group is None else f"of {group or 'the run'}"
        title = f"of {other.group(1)}" if other else title
        parts.setdefault(title, []).append(name)
    return _joined(doc, parts)


def _joined(doc: str, parts: dict[str, Iterable[str]]) -> str:
    lines = [doc.strip()]
    for title, names in parts.items():
        lines += ["", f"{title}:", *(_line(name) for name in names)]
    return "\n".join(lines) + "\n"


def _line(name: str) -> str:
    flag = flags.FLAGS[name]
    default = "" if flag.default in (None, []) else f" Default: {flag.default_as_str}."
    told = f"--{name}: {' '.join(str(flag.help).split())}{default}"
    return textwrap.fill(
        told, 100, initial_indent="  ", subsequent_indent="      ", break_long_words=False
    )
