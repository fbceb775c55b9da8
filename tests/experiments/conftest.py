"""One tiny training run, and a way to call commands in this process, for all files here."""

import contextlib
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest
from absl import app, flags, logging

TINY = (
    "--latent_dim=2",
    "--hidden_dim=16",
    "--num_steps=20",
    "--tilt_steps=20",
    "--num_imputation_samples=50",
    "--batch_size=16",
    "--seed=1",
)
"""Settings with which a run is over as soon as it is compiled, and a seed that keeps its tilt."""


class Run(NamedTuple):
    """A finished run: its folder, its data, and what it printed."""

    workdir: pathlib.Path
    csv: pathlib.Path
    stdout: str
    stderr: str


class Said(NamedTuple):
    """What a command left behind: its exit status and what it printed."""

    status: int
    out: str
    err: str


def people() -> str:
    """Return a CSV file: mixed formats, marks of gaps, empty rows, a constant column."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=60)
    height = 170 + 10 * size + rng.normal(size=60)
    weight = 70 + 8 * size + rng.normal(size=60)
    dose = 100 * np.exp(0.3 * size)
    formats = ("{:.0f}", "{:.2f}", "{:.0e}", "{:+.3f}")
    lines = ["height,weight,group,dose"]
    for row in range(60):
        cells = [
            "" if height[row] > 172 and row % 2 else formats[row % 4].format(height[row]),
            "NA" if row % 5 == 0 else f"{weight[row]:.2f}",
            "5.0" if row % 3 else "5",
            " ? " if row % 7 == 0 else formats[(row + 1) % 4].format(dose[row]),
        ]
        lines.append(",,," if row in (3, 30) else ",".join(cells))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def people_csv(tmp_path_factory):
    """Write the CSV file and return its path."""
    path = tmp_path_factory.mktemp("data") / "people.csv"
    path.write_text(people())
    return path


def start(name: str, *args: object, cwd: pathlib.Path) -> subprocess.Popen:
    """Start a command in a process of its own that compiles fast, in the folder ``cwd``."""
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{name}", *map(str, args)],
        cwd=cwd,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def spawn():
    """Return :func:`start`; what it started and still runs is killed at the end."""
    with contextlib.ExitStack() as stack:

        def spawn(*args: object, cwd: pathlib.Path) -> subprocess.Popen:
            process = stack.enter_context(start(*args, cwd=cwd))
            stack.callback(process.kill)
            return process

        yield spawn


@pytest.fixture(scope="session")
def trained(tmp_path_factory, people_csv, spawn):
    """Train the one run of all these tests, from an empty folder, at the default --workdir."""
    cwd = tmp_path_factory.mktemp("cwd")
    data_path = os.path.relpath(people_csv, cwd)
    process = spawn("train", "--flagfile=smoke.cfg", *TINY, f"--data_path={data_path}", cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Run(cwd / "runs" / "people-latent-seed1", people_csv, out, err)


@pytest.fixture
def load():
    """Return a function that imports a command as a new process would: with its flags alone."""
    app.define_help_flags()
    known, verbosity = flags.FLAGS, logging.get_verbosity()
    modules, state = _own_modules(), dict(known.__dict__)
    foreign = {
        name: known[name]
        for name in known
        if name == known[name].name  # the short names follow
        and not str(known.find_module_defining_flag(name)).startswith("experiments")
    }

    def load(name):
        fresh = flags.FlagValues()
        for flag_name, flag in foreign.items():
            fresh[flag_name] = flag
        _replace(known.__dict__, fresh.__dict__)
        for module in _own_modules():
            del sys.modules[module]
        __import__(f"experiments.{name}")
        return sys.modules[f"experiments.{name}"]

    yield load
    for module in _own_modules():
        del sys.modules[module]
    sys.modules.update(modules)
    _replace(known.__dict__, state)
    logging.set_verbosity(verbosity)


def _own_modules():
    return {
        name: module for name, module in sys.modules.items() if name.split(".")[0] == "experiments"
    }


def _replace(old, new):
    old.clear()
    old.update(new)


@pytest.fixture
def call(load, quick_compile, monkeypatch, capsys, tmp_path):
    """Return a function that runs a command in this process, in an empty working directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(name, *args):
        command = load(name)
        monkeypatch.setattr(sys, "argv", [f"experiments.{name}", *map(str, args)])
        results = []
        monkeypatch.setattr(
            app, "run", lambda main, flags_parser: results.append(main(flags_parser(sys.argv)))
        )
        capsys.readouterr()
        try:
            command.cli.main(command.main)
        except SystemExit as end:
            results.append(end.code)
        return Said(results[0] or 0, *capsys.readouterr())

    precision = jax.config.jax_default_matmul_precision
    yield call
    jax.config.update("jax_default_matmul_precision", precision)


@pytest.fixture
def refused(call):
    """Return a function that runs a command and returns the one line with which it is refused."""

    def refused(name, *args):
        said = call(name, *args)
        assert said.status, said
        assert said.out == "" and said.err.count("\n") == 1, said
        assert "Traceback" not in said.err
        return said.err

    return refused
