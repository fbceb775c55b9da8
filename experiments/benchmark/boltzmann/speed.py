r"""Gibbs sweeps a second beside thrml, rbms and scikit-learn, and rows a second of PCD-1 training.

python -m experiments.benchmark.boltzmann.speed --workdir=FOLDER \
    --peers=thrml=PYTHON --peers=rbms=PYTHON

Each library runs in a process of its own, in the interpreter that ``--peers`` says (rbms 0.6.0
needs Python 3.12), ours and scikit-learn in this one; one core, one thread, float32, seconds of
CPU, the least of five. First each draws a machine of 5 x 3 units, whose law is enumerated: a
library whose draws have another law is not timed. The libraries take turns within a case.
"""

import functools
import pathlib
import subprocess
import sys
from typing import Any

from absl import flags

from experiments import cli, markdown
from experiments.benchmark import runner
from experiments.benchmark.samplers import timing

PEERS = flags.DEFINE_multi_string("peers", [], "NAME=PYTHON: in which interpreter a library is.")
WORKDIR = flags.DEFINE_string("workdir", "runs/boltzmann", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")

BEGIN = "<!-- boltzmann speed: python -m experiments.benchmark.boltzmann.speed -->"
END = "<!-- end of boltzmann speed -->"

LIBRARIES = ("mnar_ebm", "thrml", "rbms", "scikit-learn")
CASES = {
    "law": ("law", 5, 3, 0, 0),
    "64 x 32, 64 chains": ("sweeps", 64, 32, 64, 1000),
    "64 x 32, 2000 chains": ("sweeps", 64, 32, 2000, 40),
    "784 x 500, 64 chains": ("sweeps", 784, 500, 64, 50),
    "784 x 500, 2000 chains": ("sweeps", 784, 500, 2000, 4),
    "784 x 500, PCD-1": ("training", 784, 500, 100, 0),
}
"""What is asked of the worker: units of both sides, chains, sweeps."""

TOO_LARGE = {"thrml": "784 x 500"}
"""What a library is not asked for: a graph of 392,000 edges is built in Python, one by one."""

MIN_P_VALUE = 1e-3


def main() -> None:
    """Time what is not yet timed, then make the table."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "boltzmann_speed.jsonl"
    pythons = read_pythons(PEERS.value)
    jobs = [
        runner.Job(f"{library}: {case}", functools.partial(measure, python, library, case))
        for case in CASES
        for library, python in pythons.items()
        if case == "law" or not case.startswith(TOO_LARGE.get(library, "none"))
    ]
    failed = runner.run_all(jobs, path, catch=(subprocess.CalledProcessError, ValueError))
    text = make_text(runner.done(path))
    print("\n".join([text, *failed]))
    if README.value is not None:
        markdown.replace_between(pathlib.Path(README.value), BEGIN, END, text)


def read_pythons(peers: list[str]) -> dict[str, str]:
    """Return the interpreter of each library."""
    told = dict(peer.partition("=")[::2] for peer in peers)
    unknown = sorted(set(told) - set(LIBRARIES))
    if unknown:
        raise ValueError(f"--peers: expected {', '.join(LIBRARIES)}, got {unknown[0]}")
    here = {"mnar_ebm": sys.executable, "scikit-learn": sys.executable}
    return {name: python for name in LIBRARIES if (python := {**here, **told}.get(name))}


def measure(python: str, library: str, case: str) -> dict[str, Any]:
    """Return what the worker says of a case, on one core."""
    worker = pathlib.Path(__file__).with_name("speed_worker.py")
    command = [python, str(worker), library, *map(str, CASES[case])]
    found = timing.answer(command)
    if found.get("p_value", 1.0) < MIN_P_VALUE:
        raise ValueError(f"{library}: its draws have another law, p = {found['p_value']:.1e}")
    return {"library": library, "case": case, **found}


def make_text(done: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table: rates, and how many times theirs ours is."""
    found = {(record["library"], record["case"]): record for record in done.values()}
    names = [name for name in LIBRARIES if (name, "law") in found]
    shown = [f"{name} {found[name, 'law']['version']}" for name in names]
    lines = ["| | " + " | ".join(shown) + " |", "|---" * (1 + len(names)) + "|"]
    p_values = [f"{found[name, 'law']['p_value']:.2f}" for name in names]
    lines.append("| law of 5 x 3 units, p | " + " | ".join(p_values) + " |")
    for case, (what, *_) in CASES.items():
        if what == "law":
            continue
        unit = "sweeps of a chain a second" if what == "sweeps" else "rows a second"
        cells = [f"{case}, {unit}"]
        for name in names:
            record, ours = found.get((name, case)), found.get(("mnar_ebm", case))
            if record is None or ours is None:
                cells.append("-")
                continue
            times = "" if name == "mnar_ebm" else f" ({ours['rate'] / record['rate']:.1f} x)"
            cells.append(f"{record['rate']:,.0f}{times}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(main)
