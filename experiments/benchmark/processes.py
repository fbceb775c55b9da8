"""A benchmark's command again, for parts of its work, in several processes side by side."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence


def run(
    module: str, parts: Mapping[str, Sequence[str]], num_processes: int, workdir: pathlib.Path
) -> list[str]:
    """Run this same command once for each part of its work, some at a time.

    Each process keeps to one core and one thread: several jobs on a thread each get more done
    than one on several. SIGTERM and Ctrl-C end them all. What a process prints goes to
    ``workdir/logs``. The command is expected to know ``--num_processes`` and ``--only_run``.

    Args:
        module: the command, as after ``python -m``.
        parts: by name, what follows the flags of this command.
        num_processes: how many run at a time.
        workdir: a folder that is there.

    Returns:
        The parts whose process failed, with its log.
    """
    waiting = list(parts.items())
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    environment = os.environ | one_thread()
    running: list[subprocess.Popen[bytes]] = []

    def stop(*_: object) -> None:
        waiting.clear()
        for process in running:
            process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    (workdir / "logs").mkdir(exist_ok=True)

    def work(worker: int, name: str, more: Sequence[str]) -> str | None:
        log = workdir / "logs" / f"{name.replace(' ', '-')}.log"
        command = [sys.executable, "-m", module, *sys.argv[1:], *more]
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, "--num_processes=1", "--only_run"],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            running.append(process)
            if cores:  # before it has started its threads
                os.sched_setaffinity(process.pid, {cores[worker % len(cores)]})
            status = process.wait()
        said = f"{name}: {'done' if status == 0 else f'failed, see {log}'}"
        print(said, flush=True)
        return None if status == 0 else said

    def work_through(worker: int) -> list[str]:
        failed = []
        while waiting:
            said = work(worker, *waiting.pop(0))
            failed += [said] if said else []
        return failed

    with concurrent.futures.ThreadPoolExecutor(num_processes) as pool:
        return sum(pool.map(work_through, range(num_processes)), [])


def one_thread() -> dict[str, str]:
    """Return the environment of a process with one thread, which runs the code that we run."""
    root = pathlib.Path(__file__).parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "XLA_FLAGS": flags.strip(),
        **dict.fromkeys(threads, "1"),
    }
