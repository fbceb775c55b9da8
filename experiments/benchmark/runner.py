"""The one runner of jobs: each leaves a record in the benchmark's file, and is not run again.

A killed benchmark goes on where it stopped; several processes may write one file.
"""

import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from experiments.benchmark import records
from experiments.benchmark.records import Record


class Job(NamedTuple):
    """A piece of work whose result is a record.

    Attributes:
        name: unique in the benchmark's file.
        run: returns what JSON can hold.
    """

    name: str
    run: Callable[[], Record]


def done(path: pathlib.Path) -> dict[str, Record]:
    """Return the records of the jobs that are done, by name.

    Raises:
        ValueError: a record has no name, as those that older versions left.
    """
    found = records.read(path)
    if any("job" not in record for record in found):
        raise ValueError(f"{path}: expected named records, got older ones; try another --workdir")
    return {record["job"]: record for record in found}


def check_settings(done: Mapping[str, Record], described: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if a record was made with other settings than those described."""
    for name, record in done.items():
        for setting, wanted in described.items():
            found = record["settings"].get(setting)
            if found != wanted:
                raise ValueError(
                    f"{name}: was made with {setting}={found}, got {wanted}; expected the same "
                    "settings or another --workdir"
                )


def run_all(
    jobs: Iterable[Job],
    path: pathlib.Path,
    tell: Callable[[Record], str] = lambda record: f"{record['job']}: {record['seconds']:.0f} s",
    catch: tuple[type[Exception], ...] = (),
) -> list[str]:
    """Run every job that has no record, one after the other.

    Args:
        jobs: what is to be done.
        path: file of the records.
        tell: what to print of a record.
        catch: errors of a job that keep no other from its record.

    Returns:
        The jobs that failed so, which leave no record, and why.
    """
    failed = []
    for job in jobs:
        if job.name in done(path):  # another process may have done it
            continue
        started, started_cpu = time.perf_counter(), time.process_time()
        try:
            found = job.run()
        except catch as error:
            why = " ".join(str(error).split())
            failed.append(f"{job.name}: {type(error).__name__}: {why}")
            print(failed[-1], flush=True)
            continue
        spent = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - started_cpu,
        }
        record = {"job": job.name} | spent | found
        records.append(path, record)
        print(tell(record), flush=True)
    return failed
