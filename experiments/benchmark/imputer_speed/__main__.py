"""Seconds of ``MNARImputer`` by its defaults, beside a build of before and beside peers.

python -m experiments.benchmark.imputer_speed --data_dir=FOLDER --workdir=FOLDER \
    --before=TREE --peers_python=PYTHON

Each method runs on each table in a process of its own, on one thread of one core: imports,
compilation, fit and transform. CPU seconds are compared, which other work on the machine changes
less than the clock. They take turns, and one round is one seed. ``--before`` is a checkout of the
build of before (``git worktree add --detach TREE COMMIT``); ``--peers_python`` has miceforest and
scikit-learn. ``now, warm`` is the build of now again, with what it had compiled before kept.
One line in imputer_speed.jsonl for each job; what is there is not done again.
"""

import functools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import cli, markdown, settings
from experiments.benchmark import processes, runner
from experiments.benchmark.imputation import jobs
from experiments.benchmark.imputer_speed import worker
from mnar_ebm import _checks, metrics

DATASETS = flags.DEFINE_list("datasets", ["banknote", "concrete", "red", "breast"], "Named sets.")
MASKS = flags.DEFINE_list("masks", ["above_mean", "mcar", "mar"], "What is hidden.")
NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 3, "Rounds, each with a seed of its own, from 0.")
BEFORE = flags.DEFINE_string("before", None, "Checkout of the build of before, if there is one.")
PEERS_PYTHON = flags.DEFINE_string("peers_python", None, "Python that has the peers installed.")
METHODS = flags.DEFINE_list("methods", [], "Only these columns of the table; by default all.")
WORKDIR = flags.DEFINE_string("workdir", "runs/imputer_speed", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- imputer speed: python -m experiments.benchmark.imputer_speed -->"
END = "<!-- end of imputer speed -->"
ROOT = pathlib.Path(__file__).parents[3]


class Method(NamedTuple):
    """A column of the table.

    Attributes:
        name: in the worker.
        python: that runs it.
        tree: whose packages it imports, if they are not installed.
        is_warm: whether the folder of compiled programs is kept from the job before.
    """

    name: str
    python: str
    tree: pathlib.Path | None
    is_warm: bool = False


def main() -> None:
    """Run what is not yet done, then make the table of all that is."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    _checks.check_at_least("--num_rounds", NUM_ROUNDS.value, 1)
    todo = [
        runner.Job(
            f"{dataset}-{mask}-{name.replace(', ', '_')}-{seed}",
            functools.partial(run, jobs.Job(dataset, mask, name, seed), method, workdir),
        )
        for seed in range(NUM_ROUNDS.value)
        for dataset in DATASETS.value
        for mask in MASKS.value
        for name, method in methods().items()
    ]
    path = workdir / "imputer_speed.jsonl"
    failed = runner.run_all(todo, path, _tell, catch=(subprocess.CalledProcessError,))
    text = make_text(list(runner.done(path).values()))
    print(text)
    if README.value is not None:
        markdown.replace_between(pathlib.Path(README.value), BEGIN, END, text)
    if failed:
        raise ValueError(f"{len(failed)} failed, the first of them {failed[0]}")


def methods() -> dict[str, Method]:
    """Return the columns of the table, by name."""
    found = {"now": Method("imputer", sys.executable, ROOT)}
    found["now, warm"] = found["now"]._replace(is_warm=True)
    if BEFORE.value is not None:
        found["before"] = Method("imputer", sys.executable, pathlib.Path(BEFORE.value).resolve())
    if PEERS_PYTHON.value is not None:
        found |= {name: Method(name, PEERS_PYTHON.value, None) for name in worker.METHODS}
        del found["imputer"]
    for name in METHODS.value:
        _checks.check_choice("--methods", name, found)
    return {name: found[name] for name in METHODS.value or found}


def run(job: jobs.Job, method: Method, workdir: pathlib.Path) -> dict[str, Any]:
    """Run one method on one table in a new process; return what it took and its error."""
    table = jobs.load_table(job, settings.DATA_DIR.value)
    cache = workdir / "compiled"
    if not method.is_warm:
        shutil.rmtree(cache, ignore_errors=True)
    paths = [str(method.tree)] if method.tree else []
    environment = os.environ | processes.one_thread()
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "JAX_COMPILATION_CACHE_DIR": str(cache)}
    with tempfile.TemporaryDirectory() as folder:
        given, completed = pathlib.Path(folder, "table.npz"), pathlib.Path(folder, "completed.npy")
        np.savez(given, x=table.x, seed=job.seed)
        command = [method.python, worker.__file__, method.name, str(given), str(completed)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        answer = np.load(completed)
    return {
        "dataset": job.dataset,
        "mask": job.mask,
        "method": job.method,
        "seed": job.seed,
        "rmse": metrics.imputation_rmse(answer, table.truth, table.mask),
        **json.loads(done.stdout.splitlines()[-1]),
    }


def make_text(records: Sequence[dict[str, Any]]) -> str:
    """Return the tables of seconds and errors, medians over rounds, and what they say together."""
    names = list(dict.fromkeys(record["method"] for record in records))
    tables = list(dict.fromkeys((record["dataset"], record["mask"]) for record in records))
    seconds, errors = _median(records, "cpu_seconds"), _median(records, "rmse")
    rows, ratios = [], []
    for key in tables:
        spent = [seconds.get((*key, name)) for name in names]
        found = [errors.get((*key, name)) for name in names]
        ours, before = seconds.get((*key, "now")), seconds.get((*key, "before"))
        ratio = ours / before if ours and before else None
        ratios += [ratio] if ratio else []
        cells = [_show(one, 0) for one in spent] + [_show(ratio, 3)]
        rows.append([*key, *cells, *(_show(one, 3) for one in found)])
    header = ["data set", "mask", *(f"{name}, s" for name in names), "now / before"]
    lines = [markdown.table([*header, *(f"{name}, RMSE" for name in names)], rows)]
    if ratios:
        lines.append(
            f"CPU seconds of now over before: {statistics.median(ratios):.3f} in the median of "
            f"{len(ratios)} tables, {max(ratios):.3f} at most."
        )
    return "\n\n".join(lines)


def _median(records: Sequence[dict[str, Any]], field: str) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        key = record["dataset"], record["mask"], record["method"]
        found.setdefault(key, []).append(record[field])
    return {key: statistics.median(values) for key, values in found.items()}


def _show(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _tell(record: dict[str, Any]) -> str:
    return f"{record['job']}: {record['cpu_seconds']:.1f} CPU seconds, RMSE {record['rmse']:.3f}"


if __name__ == "__main__":
    cli.main(main)
