"""What models of units, on or off, share on the command line."""

import importlib.metadata
import json
import pathlib
import time
from typing import Any

import jax
import numpy as np

from experiments.given import Given
from experiments.systems import Completed
from mnar_ebm import data
from mnar_ebm.files import replacing
from mnar_ebm.recipes import units
from mnar_ebm.recipes.run import split_rows

UNDERSTOOD = {
    "sample": ("num_samples", "seed", "num_steps"),
    "impute": ("num_imputations", "seed"),
}
"""Options of the commands that models of units have, too."""


def check(system: str, given: Given) -> None:
    """Raise ``ValueError`` if there is an unbiased sample, which is for a tilt."""
    if given.unbiased is not None:
        raise ValueError(f"--unbiased: expected none with --system={system}, which has no tilt")


def parts_of(fitted: Any, given: Given) -> dict[str, np.ndarray]:
    """Return the rows trained on and those held out, if there are any, as bits."""
    _, bits = units.table_facts(fitted.config.threshold, given.table)
    train, held_out = split_rows(fitted.config, len(bits))
    parts = {"train": bits[train], "held_out": bits[held_out]}
    return {name: rows for name, rows in parts.items() if len(rows)}


def independent(bits: np.ndarray, rate: tuple[float, ...]) -> float:
    """Return the mean log-likelihood of rows [N, V] under independent units."""
    rate_of = np.asarray(rate)
    return float((bits * np.log(rate_of) + (1 - bits) * np.log1p(-rate_of)).sum(axis=1).mean())


def read_log(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return the records of ``log.jsonl``."""
    return [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]


def write_metrics(
    system: str,
    fitted: Any,
    given: Given,
    workdir: pathlib.Path,
    started: float,
    found: dict[str, Any],
) -> dict[str, Any]:
    """Write ``metrics.json``: what was found, and of which run it is; return it."""
    packages = ("mnar-ebm", "jax", "jaxlib", "numpy")
    rates = [record["steps_per_second"] for record in read_log(workdir)]
    metrics = {
        "dataset": given.table.name,
        "system": system,
        "seed": fitted.config.seed,
        "config": fitted.config.flat(),
        **found,
        "steps_per_second": float(np.median(rates)),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "device": jax.devices()[0].device_kind,
        "wall_seconds": time.perf_counter() - started,
    }
    with replacing(workdir / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def check_told(system: str, command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a tilted table alone."""
    for name in told:
        if name not in UNDERSTOOD[command]:
            known = ", ".join(f"--{one}" for one in UNDERSTOOD[command])
            raise ValueError(f"--{name}: expected some of {known} for a run of {system!r}")


def impute(fitted: Any, path: str, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file: gaps hold how likely a unit is on, draws hold bits."""
    csv = data.align(data.read_csv(path), fitted.facts.columns)
    mean, draws = fitted.impute(csv.x, options["num_imputations"], options["seed"])
    notes = []
    if fitted.facts.cut is not None:
        notes.append(f"note: a unit is on where its value is above {fitted.facts.cut:g}")
    is_observed = ~np.isnan(csv.x)
    return Completed(
        csv, np.where(is_observed, csv.x, mean), np.where(is_observed, csv.x, draws), 0.0, notes
    )
