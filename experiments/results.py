"""Make the results table of a README from the metrics.json of run folders.

mnar-ebm results --readme=README.md --runs=runs/RUN1,runs/RUN2
"""

import json
import pathlib
from typing import Any

from absl import flags

from . import cli, markdown

README = flags.DEFINE_string(
    "readme", None, "File whose lines between the two markers are replaced; printed if not given."
)
RUNS = flags.DEFINE_list("runs", [], "Run folders, separated by commas.")

BEGIN = "<!-- results: python -m experiments.results -->"
END = "<!-- end of results -->"

_HEADER = (
    *("data set", "tilt", "seed", "column mean", "IterativeImputer", "base", "tilted", "gain"),
    *("λ", "ESS/N", "k̂", "seconds"),
)


def main() -> None:
    """Print the table, or put it into the README."""
    if not RUNS.value:
        raise ValueError("--runs: expected run folders separated by commas, got none")
    table = markdown.table(_HEADER, map(row, RUNS.value))
    if README.value is None:
        print(table)
        return
    path = pathlib.Path(README.value)
    markdown.replace_between(path, BEGIN, END, table)
    print(f"{path}: {len(RUNS.value)} rows")


def row(run: str) -> list[Any]:
    """Return the cells of one run folder.

    Raises:
        ValueError: it has no ``metrics.json``, or one that is damaged or of something else.
    """
    path = pathlib.Path(run) / "metrics.json"
    if not path.is_file():
        raise ValueError(f"{path}: expected the metrics of a finished run, found none")
    try:
        return _cells(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path}: expected the metrics of a finished run, found no such ({found})"
        ) from error


def _cells(metrics: dict[str, Any]) -> list[Any]:
    rmse = metrics["rmse"] or {}
    gain = metrics["bound"]["tilted"] - metrics["bound"]["base"]
    return [
        *(metrics[name] for name in ("dataset", "tilt", "seed")),
        *(_number(rmse.get(name), 3) for name in ("mean", "iterative", "base", "tilted")),
        _number(gain, 2),
        _number(metrics["tilt_scale"], 2),
        _number(metrics["ess_fraction"], 2),
        _number(metrics["pareto_k"], 2),
        _number(metrics["wall_seconds"], 0),
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    cli.main(main)
