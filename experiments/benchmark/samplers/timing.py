"""Libraries taking turns: one process for each, one core for all, one run each in every round.

A busy machine slows whatever runs on it at the time. As the libraries alternate, a slow minute
falls on all of them, and the median over rounds of the ratio of two rates is steadier than either.
"""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["Child", "answer", "environment", "measure"]

OURS = "mnar_ebm"


def environment() -> dict[str, str]:
    """Return the environment in which every library has one thread, and the folder on the path."""
    root = pathlib.Path(__file__).parents[3]
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
    }


def answer(command: Sequence[str]) -> dict[str, Any]:
    """Return the line of JSON that a command prints last, run on one core with one thread."""
    core = max(os.sched_getaffinity(0))
    done = subprocess.run(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Child:
    """A library's process.

    Attributes:
        greeting: its version and device, or why it is ``missing``.
    """

    def __init__(self, name: str, share: float, core: int, log: pathlib.Path) -> None:
        """Start it and wait until the library is imported."""
        self.name = name
        with open(log, "w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", name, str(share), str(core)],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log
        self.greeting = self._read()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            OSError: the process has ended.
        """
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError(f"{self.name}: its process ended, {self._log} says why")
        return json.loads(line)

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()


def measure(
    children: Iterable[Child],
    benchmark: str,
    case: str,
    num_chains: int,
    num_rounds: int,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Check each library's methods, then time in turn those that passed.

    Returns:
        Of each method its library, its check and, unless it failed, ``seconds`` and ``amounts`` of
        each round.
    """
    results, entrants = [], []
    request = {"benchmark": benchmark, "case": case, "num_chains": num_chains}
    for child in children:
        progress(f"{benchmark} {case}: {child.name}")
        for index, told in enumerate(child.ask("prepare", **request)["measurements"]):
            result = {"library": child.name, **request, **told, "seconds": [], "amounts": []}
            results.append(result)
            if not result["reason"]:
                entrants.append((child, index, result))
    for seed in range(num_rounds):
        for child, index, result in entrants:
            answer = child.ask("time", index=index, seed=1000 + seed)
            result["seconds"].append(answer["seconds"])
            result["amounts"].append(answer["amount"])
    return results
