"""``mnar-ebm COMMAND``, or ``python -m mnar_ebm COMMAND``: the commands under one name.

In a wheel they are ``mnar_ebm.commands``. In a clone the same files are in ``experiments/``, where
``python -m experiments.COMMAND`` runs them, too.
"""

import ast
import importlib.util
import pathlib
import runpy
import sys
import types

import mnar_ebm

COMMANDS = ("train", "impute", "sample", "evaluate", "sensitivity", "results")
"""In the order in which a person meets them."""

PACKAGE = "mnar_ebm.commands"


def main() -> int | None:
    """Run the command that ``sys.argv`` names, with the flags that follow.

    Returns:
        The exit status where no command was run; a command that runs exits by itself.
    """
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("--version", "-version"):
        print(f"mnar-ebm {mnar_ebm.__version__}")
        return None
    if name.lstrip("-") in ("help", "h", "?", "helpfull"):
        print(overview())
        name, rest = "train", ["--helpfull" if name.endswith("full") else "--help"]
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"error: expected one of {known} or --help, got {name!r}", file=sys.stderr)
        return 2
    find_commands()
    sys.argv[1:] = rest
    runpy.run_module(f"{PACKAGE}.{name}", run_name="__main__", alter_sys=True)
    return None


def overview() -> str:
    """Return what each command is for, in a line."""
    lines = [
        "mnar-ebm COMMAND --flag=value ...; --help after a command tells of it",
        "",
        "commands:",
    ]
    for name in COMMANDS:
        code = (folder() / f"{name}.py").read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(code)) or "").partition("\n")[0]
        lines.append(f"  {name:12}{first}")
    return "\n".join([*lines, ""])


def folder() -> pathlib.Path:
    """Return where the commands are: beside this file or, in a clone, in ``experiments/``."""
    here = pathlib.Path(__file__).parent
    return next(path for path in (here / "commands", here.parent / "experiments") if path.is_dir())


def find_commands() -> types.ModuleType:
    """Return the package of the commands, under the one name that it has in a wheel."""
    if PACKAGE not in sys.modules:
        where = folder()
        spec = importlib.util.spec_from_file_location(
            PACKAGE, where / "__init__.py", submodule_search_locations=[str(where)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[PACKAGE] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[PACKAGE]


if __name__ == "__main__":
    sys.exit(main())
