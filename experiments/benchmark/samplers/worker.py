"""One library in a process of its own: it prepares, checks and times what its parent asks for.

Requests come and answers go as lines of JSON, so that the parent can let the libraries take turns:

    {"do": "prepare", "benchmark": b, "case": c, "num_chains": n}  ->  {"measurements": [...]}
    {"do": "time", "index": i, "seed": s}                          ->  {"seconds", "amount"}
    {"do": "scale"}                                                ->  {"points": [...]}

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

    def __init__(self, name: str, share: float) -> None:
        """Import the library's module.

        Raises:
            ImportError: the library is not installed.
        """
        self.library = _import(LIBRARIES[name])
        self.benchmarks = _import("benchmarks")
        self.share = share
        self.measurements: list[Any] = []
        self.clock = time.process_time if device() == "cpu" else time.perf_counter

    def prepare(self, benchmark: str, case: str, num_chains: int) -> list[dict[str, Any]]:
        """Compile and check every method of a benchmark, and tell what came of it."""
        self.measurements = []
        asked = self.benchmarks.BENCHMARKS[benchmark]
        if not hasattr(self.library, asked.needs):
            return []
        settings = self.benchmarks.Settings(num_chains, self.share)
        try:
            self.measurements = asked.prepare(self.library, case, settings)
        except Exception as error:  # what a library raises is a line of the table, not our end
            return [{"method": "", "reason": _first_line(error), "numbers": {}}]
        return [_checked(measurement) for measurement in self.measurements]

    def time(self, index: int, seed: int) -> dict[str, float]:
        """Time one run."""
        measurement = self.measurements[index]
        started = self.clock()
        outcome = measurement.run(seed)
        seconds = self.clock() - started
        return {"seconds": seconds, "amount": float(measurement.amount(outcome))}

    def scale(self) -> list[dict[str, Any]]:
        """Time the library's samplers over chains, steps and dimensions."""
        return _import("scaling").measure(self.library, self.share, self.clock)


def _checked(measurement: Any) -> dict[str, Any]:
    """Run once, which compiles, and check."""
    told: dict[str, Any] = {"method": measurement.method, "numbers": {}}
    try:
        started = time.perf_counter()
        measurement.run(0)
        told["first_call_seconds"] = time.perf_counter() - started
        reason, numbers = measurement.check()
    except Exception as error:  # as above
        return told | {"reason": _first_line(error)}
    return told | {"reason": reason, "numbers": {k: float(v) for k, v in numbers.items()}}


def device() -> str:
    """Return the device that the library computes on: ``cpu``, or what an accelerator is called."""
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    import jax

    return jax.devices()[0].device_kind


def serve(name: str, share: float, core: int) -> None:
    """Answer requests until there are no more, on one core."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        worker = Worker(name, share)
    except ImportError as error:
        answer(missing=_first_line(error))
        return
    answer(version=worker.library.VERSION, device=device())
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


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
