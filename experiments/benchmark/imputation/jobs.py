"""The jobs of the benchmark, in this process or in several."""

import functools
import hashlib
import itertools
import json
import pathlib
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark import processes, runner
from experiments.benchmark.imputation import methods
from mnar_ebm import Config, MNARImputer, data, metrics, training


class Job(NamedTuple):
    """One method on one table with one seed.

    Attributes:
        dataset: a name, or NAME=PATH.
        mask: one of ``data.MASKS``.
        method: one of ``methods.METHODS``.
        seed: of the mask and of the method.
    """

    dataset: str
    mask: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """What it is called in the file of the records."""
        return f"{_label(self.dataset)}-{self.mask}-{self.method}-{self.seed}"


def make_jobs(
    datasets: Sequence[str],
    masks: Sequence[str],
    names: Sequence[str],
    num_seeds: int,
) -> list[Job]:
    """Return all jobs, cheap methods first.

    Raises:
        ValueError: a name is unknown, or told twice.
    """
    for flag, told in (("datasets", [_label(name) for name in datasets]), ("masks", masks)):
        if len(set(told)) < len(told):
            raise ValueError(f"--{flag}: expected distinct names, got {', '.join(told)}")
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
        Job(dataset, mask, name, seed)
        for name in sorted(names, key=list(methods.METHODS).index)
        for mask in masks
        for dataset in datasets
        for seed in range(num_seeds)
    ]


def _label(dataset: str) -> str:
    return dataset.partition("=")[0]


@functools.cache
def read_dataset(dataset: str, data_dir: str | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the columns and the true values. [N, D].

    Raises:
        ValueError: there is no such data set, or it is not complete.
    """
    name, is_file, path = dataset.partition("=")
    if is_file:
        csv = data.read_csv(path)
        columns, truth = csv.columns, csv.x
    elif name in data.names():
        table = data.load(name, data_dir)
        columns, truth = table.columns, table.truth
    else:
        known = ", ".join(data.names())
        raise ValueError(f"--datasets: expected some of {known}, or NAME=PATH.csv, got {name!r}")
    if truth is None or np.isnan(truth).any():
        raise ValueError(f"--datasets: expected complete values in {name}, got missing ones")
    return columns, truth


def load_table(job: Job, data_dir: str | None) -> data.Table:
    """Return the job's table: standardised over all true values, then masked.

    Raises:
        ValueError: there is no such data set, or it is not complete.
    """
    columns, truth = read_dataset(job.dataset, data_dir)
    standard = data.Standardiser.fit(truth, np.ones_like(truth, bool)).apply(truth)
    mask = data.hide(job.mask, job.seed, standard)
    return data.make_table(_label(job.dataset), columns, np.where(mask, standard, np.nan), standard)


@functools.cache
def _digest(dataset: str, data_dir: str | None) -> str:
    """Return the SHA-256 of the names and the true values."""
    columns, truth = read_dataset(dataset, data_dir)
    digest = hashlib.sha256(json.dumps(columns).encode())
    digest.update(np.ascontiguousarray(truth).tobytes())
    return digest.hexdigest()


def run_all(todo: Sequence[Job], options: methods.Options, path: pathlib.Path) -> list[str]:
    """Run every job that has no record.

    Returns:
        The jobs whose loss was no longer finite: they leave no record, the others are run all the
        same.
    """
    jobs = [runner.Job(job.name, functools.partial(run, job, options)) for job in todo]
    return runner.run_all(jobs, path, tell, catch=(training.NonFiniteLossError,))


def tell(record: Mapping[str, Any]) -> str:
    """Return a line about each result of a record."""
    return "\n".join(
        f"{record['dataset']:10} {record['mask']:12} {name:24} seed {record['seed']}: "
        f"RMSE {result['rmse']:.3f}, {record['seconds']:.0f} s"
        for name, result in record["results"].items()
    )


def check_done(
    todo: Sequence[Job], options: methods.Options, done: Mapping[str, dict[str, Any]]
) -> None:
    """Check what is done; a setting that a record of before does not name had its default then.

    Raises:
        ValueError: a record is there that was made with other settings.
    """
    later = {name: str(getattr(MNARImputer(), name)) for name in ("two_valued", "passthrough")}
    defaults = json.loads(json.dumps(Config().flat() | later))
    for job in todo:
        if job.name not in done:
            continue
        found = done[job.name]["settings"]
        for name, wanted in json.loads(json.dumps(methods.describe(job.method, options))).items():
            value = found.get(name, defaults.get(name))
            if value != wanted:
                raise ValueError(
                    f"{job.name}: was made with {name}={value}, got {wanted}; "
                    "expected the same settings or another --workdir"
                )


def check_datasets(
    todo: Sequence[Job], data_dir: str | None, done: Mapping[str, dict[str, Any]]
) -> None:
    """Read every data set once, before any job is run; what a record does not tell is not compared.

    A data set by name is not read where all is done.

    Raises:
        ValueError: a data set cannot be read, or a record is there that was made of other values.
    """
    due = {job.dataset for job in todo if job.name not in done}
    for job in todo:
        if job.dataset not in due and "=" not in job.dataset:
            continue
        columns, truth = read_dataset(job.dataset, data_dir)
        if job.name not in done:
            continue
        found = done[job.name]
        wanted = {"rows": len(truth), "columns": len(columns)}
        wanted["digest"] = _digest(job.dataset, data_dir)
        for name, value in wanted.items():
            if found.get(name, value) != value:
                raise ValueError(
                    f"{job.name}: was made of another {_label(job.dataset)} ({name} "
                    f"{found[name]}, got {value}); expected the same or another --workdir"
                )


def tell_datasets(due: Sequence[Job], data_dir: str | None) -> None:
    """Print what is hidden, with the first seed, in each data set of which a job is to be run."""
    first: dict[tuple[str, str], Job] = {}
    for job in due:
        first.setdefault((job.dataset, job.mask), job)
    for job in first.values():
        table = load_table(job, data_dir)
        hidden = itertools.compress(table.columns, ~table.mask.all(axis=0))
        print(
            f"{table.name}: {len(table.x)} rows, {len(table.columns)} columns; {job.mask} hides "
            f"{1 - table.mask.mean():.0%} of the cells, in "
            + textwrap.shorten(", ".join(hidden), 200, placeholder=" ..."),
            flush=True,
        )


def run(job: Job, options: methods.Options) -> dict[str, Any]:
    """Run a job and return its record."""
    table = load_table(job, options.data_dir)
    started, started_cpu = time.perf_counter(), time.process_time()
    completed = methods.METHODS[job.method].run(job.method, table, job.seed, options)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    return {
        "dataset": table.name,
        "mask": job.mask,
        "method": job.method,
        "seed": job.seed,
        "rows": len(table.x),
        "columns": len(table.columns),
        "missing": float(1.0 - table.mask.mean()),
        "digest": _digest(job.dataset, options.data_dir),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "results": {name: judge(table, answer) for name, answer in completed.items()},
        "settings": methods.describe(job.method, options),
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


def run_in_processes(due: Sequence[Job], num_processes: int, workdir: pathlib.Path) -> list[str]:
    """Run jobs in processes of this same command, one for each data set, mask and method.

    The seeds of a group are in one process, which compiles once.

    Returns:
        The groups whose process failed, with its log.
    """
    more = {
        f"{_label(dataset)} {mask} {method}": [
            *(f"--datasets={dataset}", f"--masks={mask}", f"--methods={method}", "--nopeers")
        ]
        for dataset, mask, method in dict.fromkeys(job[:3] for job in due)
    }
    return processes.run("experiments.benchmark.imputation", more, num_processes, workdir)
