"""The jobs of the benchmark: each leaves one JSON file, so that a killed run goes on."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Record = dict[str, Any]


class Options(NamedTuple):
    """What the command line says to all tasks.

    Attributes:
        data_dir: folder with the source files of named data sets.
        num_seeds: seeds of each task, from 0.
        figures: folder for figures.
    """

    data_dir: str | None
    num_seeds: int
    figures: pathlib.Path


class Job(NamedTuple):
    """A piece of work whose result is a record.

    Attributes:
        name: of its file, unique among all tasks.
        run: returns what JSON can hold.
    """

    name: str
    run: Callable[[], Record]


def run_all(jobs: Iterable[Job], workdir: pathlib.Path) -> None:
    """Run every job whose file is not there; a file is written whole or not at all."""
    for job in jobs:
        path = workdir / f"{job.name}.json"
        if path.exists():
            continue
        started, started_cpu = time.perf_counter(), time.process_time()
        record = job.run()
        record |= {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - started_cpu,
        }
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(record, indent=2) + "\n")
        part.replace(path)
        print(f"{job.name}: {record['seconds']:.0f} s", flush=True)


def collect(jobs: Iterable[Job], workdir: pathlib.Path) -> list[Record]:
    """Return the records of the jobs that are done."""
    paths = [workdir / f"{job.name}.json" for job in jobs]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def mean_and_error(values: Sequence[float], digits: int = 2) -> str:
    """Return mean ± standard error, or what there is."""
    if not len(values):
        return "-"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}"
    return text
