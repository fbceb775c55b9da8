"""What every command shares: flag files found from any folder, and errors told in one line."""

import contextlib
import importlib.resources
import os
import pathlib
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

import jax
from absl import app, flags, logging

from mnar_ebm import cache_compilations
from mnar_ebm.training import InterruptedTraining, NonFiniteLossError, checkpoints

from . import help

MATMUL_PRECISION = flags.DEFINE_enum(
    "matmul_precision",
    "float32",
    ["default", "bfloat16", "tensorfloat32", "float32"],
    "What matrix products of float32 read: all of it; or less, which is faster on a TPU or a GPU "
    "and shows in energies and weights; or the device's own default. A CPU reads all of it anyway.",
)

RUN_FILES = (
    *("run.cfg", "log.jsonl", "metrics.json", "imputed.csv"),
    *("training.png", "densities.png", "marginals.png", "latent.png"),
    *("filters.png", "chain.png", "states.png", "statistics.png", "draws.png"),
    *("reconstructions.png", "posterior.png"),
)
"""What a run writes into its folder, beside checkpoints."""

INTERRUPTED = 130
"""Exit status of a run that was asked to stop and can be resumed."""


def main(run: Callable[[], int | None]) -> None:
    """Parse the flags, call ``run`` and turn the errors that a person can make into one line."""

    def guarded(_: Sequence[str]) -> int | None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        logging.set_verbosity(logging.ERROR)  # the libraries below tell every step they take
        jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION.value)
        with contextlib.suppress(OSError):  # without the folder, all is compiled
            cache_compilations()
        try:
            for name in flags.FLAGS:
                _check_given(name, flags.FLAGS[name])
            return run()
        except (ValueError, TypeError, OSError, NonFiniteLossError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except InterruptedTraining as interruption:
            print(f"{interruption}; go on with --resume", file=sys.stderr)
            return INTERRUPTED
        except KeyboardInterrupt:
            print("stopped by a signal", file=sys.stderr)
            return INTERRUPTED

    app.run(guarded, flags_parser=parse)


def parse(argv: Sequence[str]) -> list[str]:
    """Parse flags, with flag files expanded; a wrong flag ends the program with one line."""
    asked = {"-help", "--help", "-?", "-helpfull", "--helpfull"} & set(argv[1:])
    if asked:
        flags.FLAGS.mark_as_parsed()
        doc = sys.modules["__main__"].__doc__ or ""
        print(help.text(argv[0], doc, any("full" in one for one in asked)), end="")
        sys.exit(0)
    try:
        rest = flags.FLAGS([argv[0], *expand(argv[1:])])
        if rest[1:]:
            raise flags.Error(f"expected --flag=value, got {rest[1]!r}")
    except (flags.Error, ValueError) as error:  # of a switch that is given a value, the latter
        print(f"error: {_plain(error)}", file=sys.stderr)
        sys.exit(2)
    return rest


def _check_given(name: str, flag: flags.Flag) -> None:
    """Refuse, before any work, what no command can do anything with.

    That is none of what there is some by default, a count below 1, and a page that is not there.

    Raises:
        ValueError: the flag's value is not as expected.
    """
    if flag.value is None or not flag.present:
        return
    is_count = name.startswith("num_") or name == "every"
    if is_count and isinstance(flag.default, int) and flag.value < 1 <= flag.default:
        raise ValueError(f"--{name}: expected at least 1, got {flag.value}")
    if name in ("readme", "docs", "page") and not os.path.isfile(flag.value):
        raise ValueError(f"--{name}: expected a file, found none at {flag.value}")
    if not (isinstance(flag.value, list) and flag.default):
        return
    if not all(map(str.strip, flag.value)) or not flag.value:
        raise ValueError(f"--{name}: expected some, separated by commas, got none or an empty one")
    if all(map(str.isdecimal, flag.default)):
        for value in flag.value:
            if not value.isdecimal() or int(value) < 1:
                raise ValueError(f"--{name}: expected whole numbers from 1 on, got {value!r}")


def _plain(error: Exception) -> str:
    """Return absl's message in one line, with Python's jargon put in words."""
    message = " ".join(str(error).split())
    message = re.sub(
        r"invalid literal for int\(\) with base \d+: ", "expected an integer, got ", message
    )
    return message.replace("could not convert string to float: ", "expected a number, got ")


def expand(args: Iterable[str], folder: str | None = None, seen: Sequence[str] = ()) -> list[str]:
    """Return the arguments with every ``--flagfile=F`` replaced in place by what F says.

    F is looked for in the working directory, beside the file that names it, then in
    ``configs`` beside this file. Later flags override earlier ones.

    Raises:
        flags.Error: a file is not found, or includes itself.
    """
    expanded: list[str] = []
    remaining = iter(args)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if not argument.startswith("-") or name.lstrip("-") != "flagfile":
            expanded.append(argument)
            continue
        path = _find(value if equals else next(remaining, ""), folder)
        if path in seen:
            raise flags.Error(f"--flagfile={path} includes itself")
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except UnicodeDecodeError:
            raise flags.Error(f"--flagfile={path}: expected text in UTF-8") from None
        lines = [line for line in lines if line and not line.startswith(("#", "//"))]
        expanded += expand(lines, os.path.dirname(path), (*seen, path))
    return expanded


def _find(name: str, folder: str | None) -> str:
    configs = importlib.resources.files(__package__) / "configs"
    for base in filter(None, (os.getcwd(), folder, os.fspath(configs))):  # type: ignore[call-overload]
        path = os.path.join(base, os.path.expanduser(name))
        if os.path.isfile(path):
            return os.path.abspath(path)
    known = ", ".join(sorted(path.name for path in configs.iterdir() if path.name.endswith(".cfg")))
    raise flags.Error(f"--flagfile={name}: expected a file or one of {known}, found none")


def check_output(path: pathlib.Path, overwrite: bool) -> None:
    """Refuse, before any work, an output file that exists or cannot be written.

    Raises:
        ValueError: it exists and ``overwrite`` is off, or it is a folder.
        OSError: its folder cannot be written.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a file to write, got a folder")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: expected a new file, or --overwrite")
    check_writable(path.parent)


def check_seed(seed: int) -> None:
    """Refuse a seed that is no 32-bit number.

    Raises:
        ValueError: it is negative or too large.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed: expected a number from 0 to {2**32 - 1}, got {seed}")


def check_writable(folder: pathlib.Path) -> None:
    """Make the folder and write a probe into it.

    Raises:
        OSError: it cannot be made or written.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{folder}: expected a folder that can be written, got: {reason}") from None


def open_run_folder(workdir: pathlib.Path, *, resume: bool, overwrite: bool) -> None:
    """Make the run folder ready: new, without the old run by ``overwrite``, or as it is.

    What no run wrote stays.

    Raises:
        ValueError: the folder holds something and neither flag says what to do with it, or it
            is not a run folder and so is not emptied.
        OSError: it cannot be written.
    """
    if resume and overwrite:
        raise ValueError("expected --resume or --overwrite, got both")
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir}: expected a folder, got a file")
    if workdir.is_dir() and any(workdir.iterdir()) and not resume:
        if not overwrite:
            raise ValueError(
                f"{workdir} exists: expected a new --workdir, --resume to go on, or --overwrite"
            )
        if not (workdir / "run.cfg").is_file():
            raise ValueError(f"{workdir}: expected a run folder to overwrite, found no run.cfg")
        for name in RUN_FILES:
            (workdir / name).unlink(missing_ok=True)
        shutil.rmtree(workdir / checkpoints.FOLDER, ignore_errors=True)
    check_writable(workdir)
