"""One method on one table in a process of its own: run by its path, with any build's packages.

python worker.py METHOD TABLE.npz COMPLETED.npy

It prints one line of JSON. CPU seconds are those of the process since it began, imports included;
it knows nothing of this benchmark, so that a build of before, or an environment without mnar_ebm,
can run it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Seconds = dict[str, float]


def _clock() -> float:
    """Return CPU seconds of this process since it began."""
    return time.process_time()


def _ours(x: np.ndarray, seed: int, seconds: Seconds) -> np.ndarray:
    """Return what ``MNARImputer`` by its defaults makes of a table. [N, D]."""
    import jax

    import mnar_ebm

    def note(event: str, duration: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            seconds["compilation_wall"] = seconds.get("compilation_wall", 0.0) + duration

    jax.monitoring.register_event_duration_secs_listener(note)
    imputer = mnar_ebm.MNARImputer(random_state=seed)
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if folder:
        mnar_ebm.cache_compilations(folder)
    seconds["import"] = _clock()
    imputer.fit(x)
    seconds["fit"] = _clock() - seconds["import"]
    completed = imputer.transform(x)
    seconds["transform"] = _clock() - seconds["import"] - seconds["fit"]
    return completed


def _miceforest(x: np.ndarray, seed: int, seconds: Seconds) -> np.ndarray:
    """Return the mean of miceforest's five completed tables, by its defaults. [N, D]."""
    import miceforest
    import pandas as pd

    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
    kernel = miceforest.ImputationKernel(frame, num_datasets=5, random_state=seed)
    kernel.mice()
    tables = [kernel.complete_data(dataset).to_numpy(float) for dataset in range(5)]
    return np.mean(tables, axis=0)


def _missforest(x: np.ndarray, seed: int, seconds: Seconds) -> np.ndarray:
    """Return scikit-learn's ``IterativeImputer`` with 100 extremely randomised trees. [N, D]."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    trees = ExtraTreesRegressor(100, random_state=seed, n_jobs=1)
    return IterativeImputer(trees, random_state=seed).fit_transform(x)


METHODS: dict[str, Callable[[np.ndarray, int, Seconds], np.ndarray]] = {
    "imputer": _ours,
    "miceforest": _miceforest,
    "missforest": _missforest,
}


def main(method: str, table: str, completed: str) -> None:
    """Complete the table, keep the answer and print what it took."""
    with np.load(table) as given:
        x, seed = given["x"], int(given["seed"])
    seconds: Seconds = {}
    np.save(completed, METHODS[method](x, seed, seconds))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds["cpu_seconds"] = used.ru_utime + used.ru_stime
    print(json.dumps(seconds | {"gigabytes": used.ru_maxrss / 1e6}))


if __name__ == "__main__":
    main(*sys.argv[1:])
