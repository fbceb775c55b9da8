"""The jobs of the benchmark: a file for each, in this process or in several."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark.imputation import methods
from mnar_ebm import data, metrics


class Job(NamedTuple):
    """One method on one table with one seed.

    Attributes:
        dataset: a name, or NAME=PATH.
        mask: one of ``data.MASKS``.
        method: one of ``methods.METHODS``.
        seed: of the mask and of the method.
        path: the file of its result.
    """

    dataset: str
    mask: str
    method: str
    seed: int
    path: pathlib.Path


def make_jobs(
    datasets: Sequence[str],
    masks: Sequence[str],
    names: Sequence[str],
    num_seeds: int,
    workdir: pathlib.Path,
) -> list[Job]:
    """Return all jobs, cheap methods first.

    Raises:
        ValueError: a name is unknown.
    """
    for mask in masks:
        if mask not in data.MASKS:
            raise ValueError(f"--masks: expected some of {', '.join(data.MASKS)}, got {mask!r}")
    for name in names:
        if name not in methods.METHODS:
            known = ", ".join(methods.METHODS)
            raise ValueError(f"--methods: expected some of {known}, got {name!r}")
    if num_seeds < 1:
        raise ValueError(f"--num_seeds: expected at least 1, got {num_seeds}")
    return [
        Job(dataset, mask, name, seed, workdir / f"{_label(dataset)}-{mask}-{name}-{seed}.json")
        for name in sorted(names, key=list(methods.METHODS).index)
        for mask in masks
        for dataset in datasets
        for seed in range(num_seeds)
    ]


def _label(dataset: str) -> str:
    return dataset.partition("=")[0]


def load_table(job: Job, data_dir: str | None) -> data.Table:
    """Return the job's table: standardised over all true values, then masked.

    Raises:
        ValueError: there is no such data set, or it is not complete.
    """
    name, is_file, path = job.dataset.partition("=")
    if is_file:
        csv = data.read_csv(path)
        columns, truth = csv.columns, csv.x
    else:
        table = data.load(name, data_dir)
        columns, truth = table.columns, table.truth
    if truth is None or np.isnan(truth).any():
        raise ValueError(f"--datasets: expected complete values in {name}, got missing ones")
    standard = data.Standardiser.fit(truth, np.ones_like(truth, bool)).apply(truth)
    mask = data.hide(job.mask, job.seed, standard)
    return data.make_table(name, columns, np.where(mask, standard, np.nan), standard)


def run_all(todo: Sequence[Job], options: methods.Options) -> None:
    """Run every job whose file is not there.

    Raises:
        ValueError: a file is there that was made with other settings.
    """
    for job in todo:
        expected = methods.describe(job.method, options)
        if job.path.exists():
            _check_same(job, expected)
            continue
        record = run(job, options)
        text = json.dumps(record | {"settings": expected}, indent=2) + "\n"
        part = job.path.with_suffix(f".{os.getpid()}.part")
        part.write_text(text)
        part.replace(job.path)  # whole or not at all
        for name, result in record["results"].items():
            print(
                f"{record['dataset']:10} {job.mask:12} {name:24} seed {job.seed}: "
                f"RMSE {result['rmse']:.3f}, {record['seconds']:.0f} s",
                flush=True,
            )


def _check_same(job: Job, expected: dict[str, Any]) -> None:
    expected = json.loads(json.dumps(expected))
    for name, value in json.loads(job.path.read_text())["settings"].items():
        if expected.get(name) != value:
            raise ValueError(
                f"{job.path}: was made with {name}={value}, got {expected.get(name)}; "
                "expected the same settings or another --workdir"
            )


def run(job: Job, options: methods.Options) -> dict[str, Any]:
    """Run a job and return what its file holds, less the settings."""
    table = load_table(job, options.data_dir)
    started = time.perf_counter()
    completed = methods.METHODS[job.method].run(job.method, table, job.seed, options)
    seconds = time.perf_counter() - started
    return {
        "dataset": table.name,
        "mask": job.mask,
        "method": job.method,
        "seed": job.seed,
        "rows": len(table.x),
        "columns": len(table.columns),
        "missing": float(1.0 - table.mask.mean()),
        "seconds": seconds,
        "results": {name: judge(table, answer) for name, answer in completed.items()},
    }


def judge(table: data.Table, answer: methods.Completed) -> dict[str, Any]:
    """Return the metrics of a completed table, all in standard units."""
    assert table.truth is not None
    result: dict[str, Any] = {
        "rmse": metrics.imputation_rmse(answer.mean, table.truth, table.mask),
        "crps": None,
        "coverage_90": None,
        "bound": answer.bound,
    }
    if answer.draws is not None:
        cells = (answer.draws, table.truth, table.mask)
        result["crps"] = metrics.crps(*cells)
        if answer.draws.shape[1] >= 19:  # fewer have no central interval of 90 %
            result["coverage_90"] = metrics.interval_coverage(*cells, level=0.9)
    return result


def run_in_processes(todo: Sequence[Job], num_processes: int, workdir: pathlib.Path) -> None:
    """Run jobs in processes of this same command, one for each data set, mask and method.

    The seeds of a group are in one process, which compiles once. Each process keeps to its share
    of the cores, where one thread for each of several jobs does more than several for one.

    Raises:
        ValueError: a process failed; its log is named.
    """
    groups: dict[tuple[str, str, str], bool] = {}
    for job in todo:
        groups.setdefault((job.dataset, job.mask, job.method), False)
        groups[job.dataset, job.mask, job.method] |= not job.path.exists()
    waiting = [group for group, is_due in groups.items() if is_due]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    shares = [cores[index::num_processes] or cores for index in range(num_processes)]
    (workdir / "logs").mkdir(exist_ok=True)

    def work(share: list[int], group: tuple[str, str, str]) -> pathlib.Path | None:
        dataset, mask, method = group
        log = workdir / "logs" / f"{_label(dataset)}-{mask}-{method}.log"
        only = [f"--datasets={dataset}", f"--masks={mask}", f"--methods={method}", "--nopeers"]
        command = [sys.executable, "-m", "experiments.benchmark.imputation", *sys.argv[1:], *only]
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, "--num_processes=1", "--only_run"],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            if share:
                os.sched_setaffinity(process.pid, share)  # before it has started its threads
            status = process.wait()
        print(f"{' '.join(group)}: {'done' if status == 0 else f'failed, see {log}'}", flush=True)
        return None if status == 0 else log

    def work_through(share: list[int]) -> list[pathlib.Path]:
        failed = []
        while waiting:
            log = work(share, waiting.pop(0))
            failed += [log] if log else []
        return failed

    with concurrent.futures.ThreadPoolExecutor(num_processes) as pool:
        failed = [log for logs in pool.map(work_through, shares) for log in logs]
    if failed:
        raise ValueError(f"{len(failed)} groups of jobs failed, the first in {failed[0]}")
