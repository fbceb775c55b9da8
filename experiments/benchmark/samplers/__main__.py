"""Speed of samplers beside their peers, each checked before it is timed.

python -m experiments.benchmark.samplers --workdir=FOLDER --docs=docs/samplers.md

Each library runs in a process of its own, on one thread of one core, and they take turns. A cell
of the first table is the best rate and, of a peer, how many times as fast ours is (median over
rounds). On an accelerator the same command measures wall time; ``--num_chains=10000,100000`` fills
it.
"""

import contextlib
import itertools
import json
import os
import pathlib
import platform
import sys
import time
from typing import Any

from absl import flags

from experiments import cli, markdown
from experiments.benchmark import records
from experiments.benchmark.samplers import benchmarks, scaling, table, timing, worker

WORKDIR = flags.DEFINE_string(
    "workdir",
    "runs/benchmark-samplers",
    "Folder for results.json, and for records; what is there is not measured again.",
)
DOCS = flags.DEFINE_string(
    "docs", None, "File whose lines between the two markers are replaced; printed if not given."
)
FIGURE = flags.DEFINE_string("figure", None, "File for the figure; by default in --workdir.")
LIBRARIES = flags.DEFINE_list("libraries", list(worker.LIBRARIES), "Libraries to run.")
BENCHMARKS = flags.DEFINE_list(
    "benchmarks", [*benchmarks.BENCHMARKS, "scaling"], "Benchmarks to run."
)
NUM_CHAINS = flags.DEFINE_list("num_chains", ["64"], "Chains on the Gaussian and of block Gibbs.")
NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 5, "Times that each method is timed.")
SHARE = flags.DEFINE_float("share", 1.0, "Share of the steps and draws to take, for a trial.")
CORE = flags.DEFINE_integer("core", None, "Core to run on; by default the last that is allowed.")

BEGIN = "<!-- benchmark: python -m experiments.benchmark.samplers -->"
END = "<!-- end of benchmark -->"


def main() -> None:
    """Measure, write the results, and print the tables or put them into a file."""
    _check("libraries", LIBRARIES.value, worker.LIBRARIES)
    _check("benchmarks", BENCHMARKS.value, (*benchmarks.BENCHMARKS, "scaling"))
    if not 0 < SHARE.value <= 1:
        raise ValueError(f"--share: expected a share in (0, 1], got {SHARE.value}")
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    if DOCS.value is not None:
        markdown.around(pathlib.Path(DOCS.value), BEGIN, END)  # before, rather than after, the work
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        children = []
        for name in LIBRARIES.value:
            child = timing.Child(name, SHARE.value, _core(), workdir / f"{name}.log")
            stack.callback(child.close)
            children.append(child)
        libraries = {child.name: child.greeting for child in children}
        children = [child for child in children if "missing" not in child.greeting]
        results = _measure(children, workdir / "records.jsonl")
        points = _scale(children) if "scaling" in BENCHMARKS.value else []
    if points:
        scaling.draw(points, pathlib.Path(FIGURE.value or workdir / "samplers-cost.png"))
    text = table.render(results, libraries, points, timing.OURS)
    seconds = time.perf_counter() - started
    record = {
        "libraries": libraries,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "share": SHARE.value,
        "results": results,
        "scaling": points,
        "wall_seconds": seconds,
    }
    (workdir / "results.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    if DOCS.value is None:
        print(text)
    else:
        markdown.replace_between(pathlib.Path(DOCS.value), BEGIN, END, text)
    print(f"{seconds:.0f} seconds; {workdir / 'results.json'}")


def _measure(children: list[timing.Child], path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the results of all benchmarks, each written down when it is done."""
    asked = {
        "libraries": [child.name for child in children],
        "share": SHARE.value,
        "num_rounds": NUM_ROUNDS.value,
    }
    found = [one for one in records.read(path) if {key: one.get(key) for key in asked} == asked]
    done = {(one["benchmark"], one["case"], one["num_chains"]): one["results"] for one in found}
    results = []
    for name in BENCHMARKS.value:
        if name == "scaling":
            continue
        benchmark = benchmarks.BENCHMARKS[name]
        counts = NUM_CHAINS.value if name in benchmarks.OVER_CHAINS else ["0"]
        for key in itertools.product([name], benchmark.cases, map(int, counts)):
            if key not in done:
                done[key] = timing.measure(children, *key, NUM_ROUNDS.value, _progress)
                of_key = dict(zip(("benchmark", "case", "num_chains"), key, strict=True))
                records.append(path, asked | of_key | {"results": done[key]})
            results += done[key]
    return results


def _scale(children: list[timing.Child]) -> list[dict[str, Any]]:
    for child in children:
        if child.name == timing.OURS:
            _progress("scaling")
            return child.ask("scale")["points"]
    return []


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _core() -> int:
    """Return the core for all, or -1 where processes cannot be held to one."""
    if not hasattr(os, "sched_setaffinity"):
        return -1
    return max(os.sched_getaffinity(0)) if CORE.value is None else CORE.value


def _check(flag: str, values: list[str], known: Any) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"--{flag}: expected one of {', '.join(known)}, got {value}")


if __name__ == "__main__":
    cli.main(main)
