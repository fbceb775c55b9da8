"""An energy-based model of a table's rows, as points, on the command line."""

import pathlib
from typing import Any

import numpy as np
from scipy import stats

from mnar_ebm.recipes import points as recipe
from mnar_ebm.recipes.fitted import FittedDensity, table_facts
from mnar_ebm.recipes.points import Config

from .. import judge, report
from ..given import Given
from . import Completed, Drawn, Read, ebm_figures, shared

NUM_DRAWS = 100
"""Draws that a bracket starts from, and chains of the long-run check."""

UNDERSTOOD = {"sample": ("num_samples", "seed", "num_steps"), "impute": ("num_imputations", "seed")}
"""Options of the commands that a density has, too."""


def label(config: Config) -> str:
    """Return the objective, for a run folder."""
    return f"ebm-{config.objective}"


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    shared.check(recipe.SYSTEM, given)
    table_facts(config, given.table)


def train(config: Config, given: Given, workdir: pathlib.Path, **how: Any) -> FittedDensity:
    """Return the fitted density."""
    return recipe.train(config, given.table, workdir, **how)


def headline(record: dict[str, Any]) -> str:
    """Return the score of held-out rows, and the gap where there are chains."""
    gap = f", energy gap {record['energy_gap']:.2f}" if "energy_gap" in record else ""
    held_out = f", held-out score {record['held_out']:.2f}" if "held_out" in record else ""
    return f"loss {record['loss']:.2f}{held_out}{gap}"


def evaluate(fitted: FittedDensity, given: Given, workdir: pathlib.Path, started: float) -> None:
    """Fill the run folder: ``metrics.json`` and figures; print what a person reads."""
    _, rows = table_facts(fitted.config, given.table)
    parts = shared.parts_of(fitted, fitted.as_fitted(rows))
    clean = shared.parts_of(fitted, rows)["train"]
    seed = fitted.config.seed
    reader = None
    if given.classes is not None and fitted.config.network != "mlp":
        reader = judge.make_judge(given.classes())
    start = fitted.sample(NUM_DRAWS, seed).draws
    settled, draws = shared.long_run(fitted, start, seed, reader)
    sides = fitted.bracket(draws, seed)
    found = {
        "rows": {name: len(part) for name, part in parts.items()},
        "log_likelihood": {name: _sides(fitted, part, sides) for name, part in parts.items()},
        "gaussian": {name: gaussian(parts["train"], part) for name, part in parts.items()},
        "long_run": settled,
        "energy_of_rows": {name: fitted.mean_energy(part) for name, part in parts.items()},
    }
    ebm_figures.draw_training(report.read_log(workdir), workdir / "training.png")
    ebm_figures.draw_rows(fitted, clean, draws, workdir / "draws.png")
    metrics = shared.write_metrics(recipe.SYSTEM, fitted, given, workdir, started, found)
    _print_report(metrics, fitted, workdir)


def _sides(fitted: FittedDensity, rows: np.ndarray, found: Any) -> dict[str, float]:
    """Return the mean log p of rows from below and from above, and the errors of log Z."""
    mean = fitted.mean_log_unnormalised(rows)
    return {
        "lower": mean - float(found.upper.log_z),
        "lower_error": float(found.upper.log_z_standard_error),
        "upper": mean - float(found.lower.log_z),
        "upper_error": float(found.lower.log_z_standard_error),
    }


def gaussian(train: np.ndarray, rows: np.ndarray) -> float:
    """Return the mean log-likelihood of rows [N, D] under the Gaussian that fits others best."""
    covariance = np.cov(train, rowvar=False) + 1e-6 * np.eye(train.shape[1])
    law = stats.multivariate_normal(train.mean(axis=0), covariance)
    return float(np.mean(law.logpdf(rows)))


def _print_report(metrics: dict[str, Any], fitted: FittedDensity, workdir: pathlib.Path) -> None:
    print(f"\n{metrics['dataset']}: an energy on {len(fitted.facts.columns)} columns")
    print("log-likelihood, nats a row in standard units; beside it that of a Gaussian")
    for name, one in metrics["log_likelihood"].items():
        low, high = (f"{one[s]:.2f} +- {one[f'{s}_error']:.2f}" for s in ("lower", "upper"))
        rows = f"{name.replace('_', '-')} ({metrics['rows'][name]} rows)"
        print(f"  {rows:24}{low} to {high}{metrics['gaussian'][name]:12.2f}")
    shared.print_long_run(metrics["long_run"])
    print(f"{metrics['wall_seconds']:.0f} seconds; run folder {workdir}")


def check_told(command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a tilted table alone."""
    shared.check_told(recipe.SYSTEM, UNDERSTOOD, command, told)


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows in their own units, from a crowd of particles."""
    return shared.drawn_rows(recipe.load(workdir), options)


def impute(workdir: str, read: Read, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file, completed by chains on what is missing of each."""
    fitted = recipe.load(workdir)
    return shared.fill_rows(fitted, read(fitted.facts.columns), options)
