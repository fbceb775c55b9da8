"""The jobs: one method on one design with one seed, each a record that is not made again."""

import functools
import hashlib
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark import processes, runner
from experiments.benchmark.do_no_harm import measures, methods, plebiscite
from experiments.benchmark.do_no_harm.designs import Design, Example

FILE = "do_no_harm.jsonl"


class Job(NamedTuple):
    """One method on one design with one seed.

    Attributes:
        design: its name.
        method: one of ``methods.METHODS``.
        seed: of the table, its gaps and the method.
    """

    design: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """What it is called in the file of the records."""
        return f"{self.design} {self.method} seed {self.seed}"


class Plan(NamedTuple):
    """What the command line asks for.

    Attributes:
        designs: by name.
        methods: their names.
        seeds: of each design and method.
        num_rows: rows of each table that is simulated.
        workdir: the folder of the records.
    """

    designs: Mapping[str, Design]
    methods: Sequence[str]
    seeds: Sequence[int]
    num_rows: int
    workdir: pathlib.Path

    @property
    def path(self) -> pathlib.Path:
        """The file of the records."""
        return self.workdir / FILE

    def jobs(self) -> list[Job]:
        """Return all jobs, cheap methods first, without those that a method has no answer to."""
        kinds = {
            name: design.make(self.seeds[0], self.num_rows) for name, design in self.designs.items()
        }
        return [
            Job(design, method, seed)
            for method in sorted(self.methods, key=list(methods.METHODS).index)
            for design in self.designs
            if methods.applies(method, kinds[design])
            for seed in self.seeds
        ]

    def due(self) -> list[Job]:
        """Return the jobs that are not done.

        Raises:
            ValueError: one is done, but on another table.
        """
        done = runner.done(self.path)
        wanted = self.jobs()
        digests: dict[tuple[str, int], str] = {}
        for job in wanted:
            if job.name in done and (job.design, job.seed) not in digests:
                example = self.designs[job.design].make(job.seed, self.num_rows)
                digests[job.design, job.seed] = digest(example)
        for job in wanted:
            if job.name in done and done[job.name]["digest"] != digests[job.design, job.seed]:
                raise ValueError(
                    f"{self.path}: {' '.join(map(str, job))} was made of another table, of "
                    f"{done[job.name]['rows']} rows; expected the same or another --workdir"
                )
        return [job for job in wanted if job.name not in done]


def digest(example: Example) -> str:
    """Return what tells a table and its gaps from others: a hash of six digits and the mask."""
    x = np.round(np.where(np.isnan(example.values.x), 0.0, example.values.x), 6) + 0.0
    return hashlib.sha256(x.tobytes() + example.mask.tobytes()).hexdigest()[:16]


def run(job: Job, plan: Plan) -> dict[str, Any]:
    """Run a job and return its record."""
    design = plan.designs[job.design]
    example = design.make(job.seed, plan.num_rows)
    started = time.perf_counter()
    completed = methods.METHODS[job.method](example, job.seed)
    seconds = time.perf_counter() - started
    if design.family == plebiscite.DESIGN.family:
        judged = plebiscite.judge(completed.x, completed.draws)._asdict()
    else:
        judged = measures.judge(example, completed)
    facts = {
        "family": design.family,
        "rows": len(example.mask),
        "missing": round(float(1.0 - example.mask.mean()), 4),
        "digest": digest(example),
        "mechanism": completed.mechanism,
        "seconds": round(seconds, 2),
    }
    return job._asdict() | facts | judged


def run_all(todo: Iterable[Job], plan: Plan) -> list[str]:
    """Run jobs one after the other.

    Returns:
        Those that failed: they leave no record, the others are run all the same.
    """
    jobs = [runner.Job(job.name, functools.partial(run, job, plan)) for job in todo]
    return runner.run_all(jobs, plan.path, tell, catch=(Exception,))  # whatever a method raises


def tell(record: Mapping[str, Any]) -> str:
    """Return a line about a record."""
    shown = [
        f"{what} {record[what]:.3f}"
        for what in ("rmse", "wrong", "estimate")
        if record.get(what) is not None
    ]
    return f"{record['job']}: {', '.join(shown)}, {record['seconds']:.0f} s"


def run_in_processes(
    todo: Iterable[Job], plan: Plan, num_processes: int, files: Mapping[str, Sequence[str]]
) -> list[str]:
    """Run jobs in processes of this same command, one for each design.

    Args:
        todo: the jobs.
        plan: what they are of.
        num_processes: how many at a time.
        files: of each design that is read from files, the flags that say so.

    Returns:
        The designs whose process failed, with its log.
    """
    more = {
        name: files.get(name, [f"--designs={name}", "--datasets=", "--mask_file="])
        for name in dict.fromkeys(job.design for job in todo)
    }
    return processes.run("experiments.benchmark.do_no_harm", more, num_processes, plan.workdir)
