"""What systems that are no tilted table share on the command line."""

import json
import pathlib
import time
from typing import Any

import numpy as np
import pandas as pd

from mnar_ebm import data
from mnar_ebm.files import replacing
from mnar_ebm.recipes import units
from mnar_ebm.recipes.fitted import FittedDensity
from mnar_ebm.recipes.run import split_rows
from mnar_ebm.types import Array

from .. import report
from ..given import Given
from ..judge import Judge
from . import Completed, Drawn, Read

OF_UNITS = {
    "sample": ("num_samples", "seed", "num_steps"),
    "impute": ("num_imputations", "seed"),
}
"""Options of the commands that models of units, on or off, have, too."""

MAY_NOT_HAVE_CROSSED = (
    "note: chains that have not crossed draw too few of some modes; --num_steps makes more"
)


FEWEST_CANDIDATES = 0.01
"""Share of the candidates below which chains that fill a gap are warned of."""

MOST_DRIFT = 1.0
"""Nats by which the mean energy of chains that have settled may move in their last steps."""


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


def drawn_units(
    fitted: Any, options: dict[str, Any], words: str, notes: list[str], is_whole: bool = True
) -> Drawn:
    """Return rows of a model of units, as whole numbers where these are bits or levels."""
    drawn = fitted.sample(options["num_samples"], options["seed"], options["num_steps"])
    drawn = drawn.astype(int) if is_whole else drawn
    return Drawn(pd.DataFrame(drawn, columns=list(fitted.facts.columns)), words, notes)


def impute_units(fitted: Any, read: Read, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file: gaps hold means, of bits how likely they are on; or draws."""
    csv = read(fitted.facts.columns)
    mean, draws = fitted.impute(csv.x, options["num_imputations"], options["seed"])
    notes = []
    if fitted.facts.cut is not None:
        notes.append(f"note: a unit is on where its value is above {fitted.facts.cut:g}")
    is_observed = ~np.isnan(csv.x)
    scale = np.asarray(getattr(fitted.facts, "scale", ()) or 0.0)
    return Completed(
        csv, np.where(is_observed, csv.x, mean), np.where(is_observed, csv.x, draws), scale, notes
    )


def long_run(
    fitted: FittedDensity, start: Array, seed: int, reader: Judge | None
) -> tuple[dict[str, dict[str, float]], Array]:
    """Return energy and KID of chains after so many steps, and where they end. [N, D]."""
    found, draws = {}, start
    for steps, draws in fitted.long_run(start, seed):
        found[str(steps)] = {"energy": fitted.mean_energy(draws)}
        if reader is not None:
            found[str(steps)]["kid"] = reader.kernel_distance(fitted.shown(draws))
    return found, draws


def print_long_run(found: dict[str, dict[str, float]]) -> None:
    """Print where chains were after so many steps, and warn if they had not settled."""
    for name, words in {"energy": "mean energy", "kid": "KID"}.items():
        told = ", ".join(f"{n}: {at[name]:.3g}" for n, at in found.items() if name in at)
        if told:
            print(f"{words} of draws after so many steps of MALA {told}")
    *_, before, last = found.values()
    if abs(last["energy"] - before["energy"]) > MOST_DRIFT:
        print(
            "warning: their energy still moves, so that they are not yet draws of the model, and "
            "what rests on them, as the lower side of a likelihood, is no bound"
        )


def drawn_rows(fitted: FittedDensity, options: dict[str, Any]) -> Drawn:
    """Return rows in their own units, from a crowd of particles."""
    crowd = fitted.sample(options["num_samples"], options["seed"])
    draws = fitted.settle(crowd.draws, options["num_steps"], options["seed"])
    moved = fitted.mean_energy(draws) - fitted.mean_energy(crowd.draws)
    frame = pd.DataFrame(fitted.shown(draws), columns=list(fitted.facts.columns))
    for name, scale in zip(frame, fitted.facts.standardiser.scale, strict=True):
        frame[name] = [data.to_text(value, scale) for value in frame[name]]
    notes = [] if bool(crowd.is_finished) else ["warning: the particles did not reach the model"]
    if abs(moved) > MOST_DRIFT:
        notes.append(
            f"warning: their mean energy moved by {moved:.1f} nats in these steps, so that they "
            "may not be draws of the model yet; --num_steps makes more"
        )
    words = (
        f"sequential Monte Carlo, {int(crowd.num_temperatures)} temperatures, and "
        f"{options['num_steps']} steps of MALA each"
    )
    return Drawn(frame, words, notes)


def fill_rows(fitted: FittedDensity, csv: data.Csv, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file, completed by chains on what is missing of each."""
    mean, draws, shares = fitted.impute(csv.x, options["num_imputations"], options["seed"])
    notes = []
    if len(shares) and (share := np.median(shares)) < FEWEST_CANDIDATES:
        notes.append(
            f"warning: chains of half of the rows started at fewer than {share:.2%} of the "
            "candidates; some modes may be missing"
        )
    return Completed(csv, mean, draws, fitted.facts.standardiser.scale, notes)
