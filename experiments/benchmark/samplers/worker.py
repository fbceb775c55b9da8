"""One library in a process of its own: it prepares, checks and times what its parent asks for.

Requests come and answers go as lines of JSON, so that the parent can let the libraries take turns:

    {"do": "prepare", "benchmark": b, "case": c}  ->  {"measurements": [...]}
    {"do": "time", "index": i, "seed": s}         ->  {"seconds": ..., "amount": ...}
    {"do": "scale"}                               ->  {"points": [...]}

What a library prints goes to standard error. On a CPU the clock is that of the process, which other
processes do not move; elsewhere, where the work is not the process's own, it is the wall's.
"""

import importlib
import json
import os
import sys
import time
from types import ModuleType
from typing import Any

__all__ = ["LIBRARIES", "Worker", "serve"]

LIBRARIES = {
    "mnar_ebm": "ours",
    "blackjax": "blackjax_",
    "tfp": "tfp_",
    "numpyro": "numpyro_",
    "torchebm": "torchebm_",
}


class Worker:
    """A library, and the measurements that were prepared last."""

    def __init__(self, name: str, num_chains: int, share: float) -> None:
        """Import the library's module.

        Raises:
            ImportError: the library is not installed.
        """
        self.library = _import(LIBRARIES[name])
        from experiments.benchmark.samplers import benchmarks

        self.benchmarks = benchmarks
        self.settings = benchmarks.Settings(num_chains, share)
        self.measurements: list[Any] = []
        self.clock = time.perf_counter if _has_accelerator() else time.process_time

    def prepare(self, benchmark: str, case: str) -> list[dict[str, Any]]:
        """Compile and check every method of a benchmark, and tell what came of it."""
        self.measurements = []
        if not hasattr(self.library, self.benchmarks.NEEDS[benchmark]):
            return []
        try:
            found = self.benchmarks.BENCHMARKS[benchmark].prepare(self.library, case, self.settings)
        except Exception as error:  # whatever a peer raises is for the table, not for us
            return [{"method": "", "reason": _first_line(error), "numbers": {}}]
        told = []
        for measurement in found:
            try:
                started = time.perf_counter()
                measurement.run(0)
                first = time.perf_counter() - started
                reason, numbers = measurement.check()
            except Exception as error:
                first, reason, numbers = float("nan"), _first_line(error), {}
            self.measurements.append(measurement)
            told.append(
                {
                    "method": measurement.method,
                    "reason": reason,
                    "numbers": numbers,
                    "first_call_seconds": first,
                }
            )
        return told

    def time(self, index: int, seed: int) -> dict[str, float]:
        """Time one run."""
        measurement = self.measurements[index]
        started = self.clock()
        outcome = measurement.run(seed)
        seconds = self.clock() - started
        return {"seconds": seconds, "amount": float(measurement.amount(outcome))}

    def scale(self) -> list[dict[str, Any]]:
        """Time the library's samplers over chains, steps and dimensions."""
        from experiments.benchmark.samplers import scaling

        return scaling.measure(self.library, self.settings, self.clock)


def serve(name: str, num_chains: int, share: float) -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        worker = Worker(name, num_chains, share)
    except ImportError as error:
        answer(missing=_first_line(error))
        return
    answer(version=worker.library.VERSION, device=_device(), cores=_pinned())
    for line in sys.stdin:
        request = json.loads(line)
        match request.pop("do"):
            case "prepare":
                answer(measurements=worker.prepare(**request))
            case "time":
                answer(**worker.time(**request))
            case "scale":
                answer(points=worker.scale())


def _import(module: str) -> ModuleType:
    return importlib.import_module(f"experiments.benchmark.samplers.{module}")


def _has_accelerator() -> bool:
    return _device() != "cpu"


def _device() -> str:
    """Return the kind of device that the library computes on."""
    if "torch" in sys.modules:
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    import jax

    return jax.devices()[0].device_kind


def _pinned() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
