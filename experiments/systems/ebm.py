"""An energy-based model of a table's rows, as points, on the command line."""

import pathlib
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mnar_ebm import data
from mnar_ebm.recipes import points as recipe
from mnar_ebm.recipes.points import Config, FittedDensity

from .. import report
from ..given import Given
from . import Completed, Drawn, ebm_figures, shared

NUM_DRAWS = 100
"""Draws that a bracket starts from, and chains of the long-run check."""


FEWEST_CANDIDATES = 0.01
"""Share of the candidates below which chains that fill a gap are warned of."""

MOST_DRIFT = 1.0
"""Nats by which the mean energy of chains that have settled may move in their last steps."""

UNDERSTOOD = {"sample": ("num_samples", "seed", "num_steps"), "impute": ("num_imputations", "seed")}
"""Options of the commands that a density has, too."""


def label(config: Config) -> str:
    """Return the objective, for a run folder."""
    return f"ebm-{config.objective}"


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    shared.check(recipe.SYSTEM, given)
    recipe.table_facts(config, given.table)


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
    _, rows = recipe.table_facts(fitted.config, given.table)
    parts = shared.parts_of(fitted, fitted.as_fitted(rows))
    seed = fitted.config.seed
    energies, draws = fitted.long_run(fitted.sample(NUM_DRAWS, seed).draws, seed)
    sides = fitted.bracket(draws, seed)
    found = {
        "rows": {name: len(part) for name, part in parts.items()},
        "log_likelihood": {name: _sides(fitted, part, sides) for name, part in parts.items()},
        "gaussian": {name: gaussian(parts["train"], part) for name, part in parts.items()},
        "long_run": energies,
        "energy_of_rows": {name: fitted.mean_energy(part) for name, part in parts.items()},
    }
    ebm_figures.draw_training(report.read_log(workdir), workdir / "training.png")
    ebm_figures.draw_rows(fitted, parts["train"], draws, workdir / "draws.png")
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
    told = ", ".join(f"{steps}: {energy:.2f}" for steps, energy in metrics["long_run"].items())
    print(f"mean energy of draws after so many steps of MALA {told}")
    *_, before, last = metrics["long_run"].values()
    if abs(last - before) > MOST_DRIFT:
        print(
            "warning: their energy still moves, so that they are not yet draws of the model, and "
            "what rests on them, the lower side of a likelihood, is no bound"
        )
    print(f"{metrics['wall_seconds']:.0f} seconds; run folder {workdir}")


def check_told(command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a tilted table alone."""
    shared.check_told(recipe.SYSTEM, UNDERSTOOD, command, told)


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows in their own units, from a crowd of particles."""
    fitted = recipe.load(workdir)
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


def impute(workdir: str, path: str, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file, completed by chains on what is missing of each."""
    fitted = recipe.load(workdir)
    csv = data.align(data.read_rows(path), fitted.facts.columns)
    mean, draws, shares = fitted.impute(csv.x, options["num_imputations"], options["seed"])
    notes = []
    if len(shares) and (share := np.median(shares)) < FEWEST_CANDIDATES:
        notes.append(
            f"warning: chains of half of the rows started at fewer than {share:.2%} of the "
            "candidates; some modes may be missing"
        )
    return Completed(csv, mean, draws, fitted.facts.standardiser.scale, notes)
