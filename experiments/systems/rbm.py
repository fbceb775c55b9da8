"""A restricted Boltzmann machine of a table's rows, on the command line."""

import importlib.metadata
import json
import pathlib
import time
from typing import Any

import jax
import numpy as np
import pandas as pd

from experiments.given import Given
from experiments.systems import Completed, Drawn
from mnar_ebm import data
from mnar_ebm.files import replacing
from mnar_ebm.recipes import rbm as recipe
from mnar_ebm.recipes import units
from mnar_ebm.recipes.rbm import Config, FittedMachine

UNDERSTOOD = {
    "sample": ("num_samples", "seed", "num_steps"),
    "impute": ("num_imputations", "seed"),
}
"""Options of the commands that a machine has, too."""


def label(config: Config) -> str:
    """Return the name of the system, for a run folder."""
    return recipe.SYSTEM


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    if given.unbiased is not None:
        raise ValueError("--unbiased: expected none with --system=rbm, which has no tilt")
    units.table_facts(config.threshold, given.table)


def train(config: Config, given: Given, workdir: pathlib.Path, **how: Any) -> FittedMachine:
    """Return the fitted machine."""
    return recipe.train(config, given.table, workdir, **how)


def headline(record: dict[str, Any]) -> str:
    """Return the score of held-out rows, and both sides of their likelihood when it was taken."""
    exact = "log_likelihood" in record or "pseudo_likelihood" in record
    name = "likelihood" if exact else "pseudo-likelihood"
    score = f"held-out {name} {record['held_out']:.2f}" if "held_out" in record else ""
    if "log_likelihood_lower" in record:
        low, high = record["log_likelihood_lower"], record["log_likelihood_upper"]
        score += f", likelihood {low:.2f} to {high:.2f}"
    return score or f"energy gap {record['energy_gap']:.2f}"


def evaluate(fitted: FittedMachine, given: Given, workdir: pathlib.Path, started: float) -> None:
    """Fill the run folder: ``metrics.json`` and figures; print what a person reads."""
    from experiments.systems import machine_figures as figures

    _, bits = units.table_facts(fitted.config.threshold, given.table)
    parts = dict(
        zip(("train", "held_out"), units.split_rows(fitted.config, len(bits)), strict=True)
    )
    log = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    packages = ("mnar-ebm", "jax", "jaxlib", "numpy")
    metrics = {
        "dataset": given.table.name,
        "system": recipe.SYSTEM,
        "seed": fitted.config.seed,
        "config": fitted.config.flat(),
        "rows": {name: len(rows) for name, rows in parts.items()},
        "likelihood": {
            name: recipe.likelihood(fitted, bits[rows]) for name, rows in parts.items() if len(rows)
        },
        "independent_units": {
            name: float(_independent(bits[rows], fitted.facts.rate))
            for name, rows in parts.items()
            if len(rows)
        },
        "is_exact": fitted.is_exact,
        "steps_per_second": float(np.median([record["steps_per_second"] for record in log])),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "device": jax.devices()[0].device_kind,
        "wall_seconds": time.perf_counter() - started,
    }
    figures.draw_training(log, workdir / "training.png")
    figures.draw_filters(fitted, workdir / "filters.png")
    figures.draw_chain(fitted, bits, workdir / "chain.png")
    with replacing(workdir / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n")
    _print_report(metrics, fitted, workdir)


def _independent(bits: np.ndarray, rate: tuple[float, ...]) -> np.floating[Any]:
    """Return the mean log-likelihood of rows under independent units, which costs nothing."""
    rate_of = np.asarray(rate)
    return (bits * np.log(rate_of) + (1 - bits) * np.log1p(-rate_of)).sum(axis=1).mean()


def _print_report(metrics: dict[str, Any], fitted: FittedMachine, workdir: pathlib.Path) -> None:
    num_visible, num_hidden = fitted.machine.weights.shape
    print(f"\n{metrics['dataset']}: a machine of {num_visible} x {num_hidden} units")
    print("log-likelihood, nats a row; beside it that of independent units")
    for name, sides in metrics["likelihood"].items():
        told = " to ".join(
            f"{sides[side]:.2f}" + _error(sides.get(f"{side}_error")) for side in list(sides)[::2]
        )
        rows = f"{name.replace('_', '-')} ({metrics['rows'][name]} rows)"
        print(f"  {rows:24}{told:>32}{metrics['independent_units'][name]:12.2f}")
    if not metrics["is_exact"]:
        print(
            "  from above by paths from independent units, from below by paths from chains, which "
            "is a bound only if these have crossed: chain.png shows some"
        )
    print(f"{metrics['wall_seconds']:.0f} seconds; run folder {workdir}")


def _error(standard_error: float | None) -> str:
    return "" if standard_error is None else f" +- {standard_error:.2f}"


def check_told(command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a tilted table alone."""
    for name in told:
        if name not in UNDERSTOOD[command]:
            known = ", ".join(f"--{one}" for one in UNDERSTOOD[command])
            raise ValueError(f"--{name}: expected some of {known} for a run of 'rbm'")


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows of bits, exactly where the machine can be enumerated, else by chains."""
    fitted = recipe.load(workdir)
    drawn = fitted.sample(options["num_samples"], options["seed"], options["num_steps"])
    frame = pd.DataFrame(drawn.astype(int), columns=list(fitted.facts.columns))
    if fitted.is_exact:
        return Drawn(frame, "enumeration, exact and independent", [])
    note = "note: chains that have not crossed draw too few of some modes; --num_steps makes more"
    return Drawn(frame, f"Gibbs, {options['num_steps']} sweeps each", [note])


def impute(workdir: str, path: str, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file: gaps hold how likely a unit is on, draws hold bits."""
    fitted = recipe.load(workdir)
    csv = data.align(data.read_csv(path), fitted.facts.columns)
    mean, draws = fitted.impute(csv.x, options["num_imputations"], options["seed"])
    notes = []
    if fitted.facts.cut is not None:
        notes.append(f"note: a unit is on where its value is above {fitted.facts.cut:g}")
    is_observed = ~np.isnan(csv.x)
    return Completed(
        csv, np.where(is_observed, csv.x, mean), np.where(is_observed, csv.x, draws), 0.0, notes
    )
