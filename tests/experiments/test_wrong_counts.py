"""Counts, lists and pages that no command can do anything with are told before any work."""

import signal
import subprocess
import sys
import types

import jax
import pytest
from absl import flags

from experiments import cli, help, settings, train


@pytest.fixture
def parsed(monkeypatch):
    """Let a command be called without a command line."""
    monkeypatch.setattr(cli, "MATMUL_PRECISION", types.SimpleNamespace(value="float32"))
    yield
    jax.config.update("jax_default_matmul_precision", None)


def told(name, default, given, define=flags.DEFINE_integer):
    """Return what is told of a flag of a command that is given so."""
    values = flags.FlagValues()
    define(name, default, "A flag.", flag_values=values)
    values(["command", *given])
    try:
        cli._check_given(name, values[name])
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "name", ["num_processes", "num_repeats", "num_rounds", "num_imputations", "num_models", "every"]
)
def test_counts_are_at_least_one(name):
    """Given as 0 or less; a default that says otherwise is none."""
    for value in ("0", "-3"):
        assert told(name, 5, [f"--{name}={value}"]) == (
            f"--{name}: expected at least 1, got {value}"
        )
    assert (
        told(name, 5, [f"--{name}=1"]) == told(name, 5, []) == told(name, 0, [f"--{name}=0"]) == ""
    )


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (["16", "64"], "x", "expected whole numbers from 1 on, got 'x'"),
        (["16", "64"], "8,0", "expected whole numbers from 1 on, got '0'"),
        (["16", "64"], "8,32", ""),
        (["red"], "", "expected some, separated by commas, got none or an empty one"),
        (["red"], "red,,wine", "expected some, separated by commas, got none or an empty one"),
        (["red"], "red", ""),
        ([], "", ""),
    ],
)
def test_lists_have_what_is_expected(default, value, expected):
    """Numbers where the default has them, and one at least."""
    found = told("sizes", default, [f"--sizes={value}"], flags.DEFINE_list)
    assert found == (f"--sizes: {expected}" if expected else "")


@pytest.mark.parametrize("name", ["readme", "docs", "page"])
def test_pages_are_there(name, tmp_path):
    """Hours of work are not for a page that cannot be written."""
    define, path = flags.DEFINE_string, tmp_path / "page.md"
    assert told(name, None, [f"--{name}={path}"], define).endswith(f"found none at {path}")
    path.write_text("")
    assert told(name, None, [f"--{name}={path}"], define) == ""


def test_commands_look_at_their_flags(monkeypatch, capsys, parsed):
    """In one line, with status 1, before they run."""
    monkeypatch.setattr(cli.app, "run", lambda guarded, flags_parser: guarded([]))
    monkeypatch.setattr(cli, "_check_given", lambda name, flag: cli.check_seed(-1))
    main = cli.main(lambda: pytest.fail("the work began"))
    assert main is None and capsys.readouterr().err.count("\n") == 1


def test_help_tells_what_matters_first(load, capsys, monkeypatch):
    """A screen of it; all flags, and each once, by --helpfull; a command of few flags at once."""
    load("train")
    said = {
        name: help.text("experiments.settings", "Doc.", name == "full") for name in ("", "full")
    }
    assert said[""].startswith("Doc.\n\nflags that matter first:\n  --system: ")
    assert said[""].count("\n") < 40 and "--helpfull" in said[""]
    for name in set().union(*settings.SETTINGS.values()):
        assert said["full"].count(f"\n  --{name}:") == 1
    assert "of negatives:\n" in said["full"] and "of --system=rbm:\n" in said["full"]
    with pytest.raises(SystemExit, match="0"):
        cli.parse(["command", "--help"])
    assert capsys.readouterr().out


def test_a_switch_with_a_value_is_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.parse(["command", "--noshow_mask=1"])
    assert capsys.readouterr().err == "error: --noshow_mask=1 does not take an argument\n"


def test_signals_are_told_in_one_line(monkeypatch, capsys, parsed):
    """In any part of a command; and one that comes after the last chunk of training."""
    monkeypatch.setattr(cli.app, "run", lambda guarded, flags_parser: guarded([]))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    for number in before:
        cli.main(lambda number=number: signal.raise_signal(number))
        assert capsys.readouterr().err == "stopped by a signal\n"

    def late():
        with train.StopOnSignal():
            signal.raise_signal(signal.SIGTERM)

    cli.main(late)
    assert capsys.readouterr().err == "stopped after the last stage; go on with --resume\n"
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_while_a_command_imports_is_told_in_one_line():
    """Python's own word of it would be a traceback."""
    code = "import sys; sys.argv = ['-m']; import experiments; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "stopped by a signal\n" and done.returncode != 0
