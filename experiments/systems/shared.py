"""What systems that are no tilted table share on the command line."""

import json
import pathlib
import time
from typing import Any

import numpy as np
import pandas as pd

from experiments import report
from experiments.given import Given
from experiments.systems import Completed, Drawn
from mnar_ebm import data
from mnar_ebm.files import replacing
from mnar_ebm.recipes import units
from mnar_ebm.recipes.run import split_rows

OF_UNITS = {
    "sample": ("num_samples", "seed", "num_steps"),
    "impute": ("num_imputations", "seed"),
}
"""Options of the commands that models of units, on or off, have, too."""

MAY_NOT_HAVE_CROSSED = (
    "note: chains that have not crossed draw too few of some modes; --num_steps makes more"
)


def check(system: str, given: Given) -> None:
    """Raise ``ValueError`` if there is an unbiased sample, which is for a tilt."""
    if given.unbiased is not None:
        raise ValueError(f"--unbiased: expected none with --system={system}, which has no tilt")


def parts_of(fitted: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows trained on and those held out, if there are any. [N, D] -> [n, D] each."""
    train, held_out = split_rows(fitted.config, len(rows))
    parts = {"train": rows[train], "held_out": rows[held_out]}
    return {name: part for name, part in parts.items() if len(part)}


def parts_as_bits(fitted: Any, given: Given) -> dict[str, np.ndarray]:
    """Return the parts of a table of units."""
    return parts_of(fitted, units.table_facts(fitted.config.threshold, given.table)[1])


def independent(bits: np.ndarray, rate: tuple[float, ...]) -> float:
    """Return the mean log-likelihood of rows [N, V] under independent units."""
    rate_of = np.asarray(rate)
    return float((bits * np.log(rate_of) + (1 - bits) * np.log1p(-rate_of)).sum(axis=1).mean())


def write_metrics(
    system: str,
    fitted: Any,
    given: Given,
    workdir: pathlib.Path,
    started: float,
    found: dict[str, Any],
) -> dict[str, Any]:
    """Write ``metrics.json``: what was found, and of which run it is; return it."""
    rates = [record["steps_per_second"] for record in report.read_log(workdir)]
    metrics = {
        "dataset": given.table.name,
        "system": system,
        "seed": fitted.config.seed,
        "config": fitted.config.flat(),
        **found,
        "steps_per_second": float(np.median(rates)),
        **report.surroundings(),
        "wall_seconds": time.perf_counter() - started,
    }
    with replacing(workdir / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def check_told(
    system: str, understood: dict[str, tuple[str, ...]], command: str, told: list[str]
) -> None:
    """Raise ``ValueError`` for an option that a system does not understand."""
    for name in told:
        if name not in understood[command]:
            known = ", ".join(f"--{one}" for one in understood[command])
            raise ValueError(f"--{name}: expected some of {known} for a run of {system!r}")


def drawn_rows(
    fitted: Any, options: dict[str, Any], words: str, notes: list[str], is_whole: bool = True
) -> Drawn:
    """Return rows of a model of units, as whole numbers where these are bits or levels."""
    drawn = fitted.sample(options["num_samples"], options["seed"], options["num_steps"])
    drawn = drawn.astype(int) if is_whole else drawn
    return Drawn(pd.DataFrame(drawn, columns=list(fitted.facts.columns)), words, notes)


def impute_rows(fitted: Any, path: str, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file: gaps hold means, of bits how likely they are on; or draws."""
    csv = data.align(data.read_csv(path), fitted.facts.columns)
    mean, draws = fitted.impute(csv.x, options["num_imputations"], options["seed"])
    notes = []
    if fitted.facts.cut is not None:
        notes.append(f"note: a unit is on where its value is above {fitted.facts.cut:g}")
    is_observed = ~np.isnan(csv.x)
    scale = np.asarray(getattr(fitted.facts, "scale", ()) or 0.0)
    return Completed(
        csv, np.where(is_observed, csv.x, mean), np.where(is_observed, csv.x, draws), scale, notes
    )
