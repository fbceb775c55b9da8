"""What ``MNARImputer`` costs: seconds and peak memory, of one table and over rows and columns.

python -m experiments.benchmark.estimator --num_rows=50000 --num_columns=50

Rows come from eight factors; every second column hides its high values. Each table is fitted and
transformed in a process of its own, so that its peak memory is its own and compilation is counted.
``--max_iter`` is the budget of each model that is compared, ``--num_models`` how often the one that
is taken is fitted; the defaults are the imputer's own.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from experiments import cli, markdown  # noqa: E402
from mnar_ebm import MNARImputer, _checks  # noqa: E402

DEFAULTS = MNARImputer().get_params()
NUM_ROWS = flags.DEFINE_integer("num_rows", 50_000, "Rows of the largest table.")
NUM_COLUMNS = flags.DEFINE_integer("num_columns", 50, "Columns of the largest table.")
MAX_ITER = flags.DEFINE_integer("max_iter", DEFAULTS["max_iter"], "Steps of each candidate.")
NUM_MODELS = flags.DEFINE_integer("num_models", DEFAULTS["num_models"], "Fits of the one taken.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")
OUTPUT = flags.DEFINE_string("output", "docs/figures/estimator-cost.png", "The figure.")
TABLE = flags.DEFINE_bool("table", False, "Measure the largest table alone, and print JSON.")

_NUM_FACTORS = 8
_STEPS = (0.125, 0.25, 0.5, 1.0)
_COLOURS = {"fit": "#4477aa", "transform": "#cc6677"}


def main() -> None:
    """Measure tables of growing size, print what they cost and draw it."""
    smallest = 1.0 if TABLE.value else _STEPS[0]
    _checks.check_at_least("--num_rows", NUM_ROWS.value, int(16 / smallest))
    _checks.check_at_least("--num_columns", NUM_COLUMNS.value, int(2 / smallest))
    if TABLE.value:
        print(json.dumps(measure(NUM_ROWS.value, NUM_COLUMNS.value)))
        return
    cli.check_writable(pathlib.Path(OUTPUT.value).parent)
    over_rows = [measure_apart(int(NUM_ROWS.value * share), NUM_COLUMNS.value) for share in _STEPS]
    over_columns = [
        measure_apart(NUM_ROWS.value, int(NUM_COLUMNS.value * share)) for share in _STEPS[:-1]
    ] + over_rows[-1:]
    names = ("rows", "columns", "fit", "transform", "gigabytes", "mechanism", "rmse", "mean_rmse")
    costs = over_rows + over_columns[:-1]
    print(markdown.table(names, [[_show(cost[name]) for name in names] for cost in costs]))
    draw(over_rows, over_columns, pathlib.Path(OUTPUT.value))


def make_rows(num_rows: int, num_columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return incomplete rows and the complete ones. [N, D] each."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(num_rows, _NUM_FACTORS))
    complete = factors @ rng.normal(size=(_NUM_FACTORS, num_columns)) / np.sqrt(_NUM_FACTORS)
    complete += 0.3 * rng.normal(size=complete.shape)
    hidden = (np.arange(num_columns) % 2 == 1) & (
        complete + 0.3 * rng.normal(size=complete.shape) > 0.5
    )
    return np.where(hidden, np.nan, complete), complete


def measure(num_rows: int, num_columns: int) -> dict[str, float | str]:
    """Fit and transform a table; return what it cost, and the RMSE beside the column mean's."""
    x, complete = make_rows(num_rows, num_columns, SEED.value)
    started = time.perf_counter()
    imputer = MNARImputer(
        max_iter=MAX_ITER.value, num_models=NUM_MODELS.value, random_state=SEED.value
    ).fit(x)
    fitted = time.perf_counter()
    filled = imputer.transform(x)
    done = time.perf_counter()
    missing = np.isnan(x)
    by_mean = np.broadcast_to(np.nanmean(x, axis=0), x.shape)
    return {
        "rows": num_rows,
        "columns": num_columns,
        "fit": fitted - started,
        "transform": done - fitted,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "mechanism": imputer.mechanism_,
        "rmse": _rmse(filled, complete, missing),
        "mean_rmse": _rmse(by_mean, complete, missing),
    }


def measure_apart(num_rows: int, num_columns: int) -> dict[str, float | str]:
    """Return ``measure`` of a new process."""
    command = [sys.executable, "-m", "experiments.benchmark.estimator", "--table"]
    command += [f"--num_rows={num_rows}", f"--num_columns={num_columns}"]
    for flag in (MAX_ITER, NUM_MODELS, SEED):
        command.append(f"--{flag.name}={flag.value}")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def draw(
    over_rows: list[dict[str, float | str]],
    over_columns: list[dict[str, float | str]],
    path: pathlib.Path,
) -> None:
    """Draw seconds, and peak memory, over rows and over columns."""
    figure, axes = plt.subplots(2, 2, figsize=(7, 5), sharey="row", layout="constrained")
    for axis_pair, costs, size in zip(
        axes.T, (over_rows, over_columns), ("rows", "columns"), strict=True
    ):
        sizes = [cost[size] for cost in costs]
        for name, colour in _COLOURS.items():
            axis_pair[0].plot(sizes, [cost[name] for cost in costs], "-o", color=colour, label=name)
        axis_pair[1].plot(sizes, [cost["gigabytes"] for cost in costs], "-o", color="#222222")
        other = "columns" if size == "rows" else "rows"
        axis_pair[0].set_title(f"{costs[-1][other]} {other}", fontsize="medium")
        axis_pair[1].set_xlabel(size)
        for axis in axis_pair:
            axis.set_xlim(left=0)
            axis.locator_params(axis="x", nbins=4)
            axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:  # once all is drawn, for the row shares its axis
        axis.set_ylim(0, 1.08 * axis.dataLim.y1)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory (GB)")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _rmse(filled: np.ndarray, complete: np.ndarray, missing: np.ndarray) -> float:
    """Return the RMSE on missing cells, in standard deviations of the complete columns."""
    return float(np.sqrt(np.mean(((filled - complete) / complete.std(axis=0))[missing] ** 2)))


def _show(value: float | str) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    cli.main(main)
