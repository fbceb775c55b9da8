"""A restricted Boltzmann machine of a table's rows, on the command line."""

import pathlib
from typing import Any

from mnar_ebm.recipes import rbm as recipe
from mnar_ebm.recipes.coding import independent_log_likelihood, table_facts
from mnar_ebm.recipes.rbm import Config, FittedMachine

from .. import report
from ..given import Given
from . import Completed, Drawn, Read, machine_figures, shared


def label(config: Config) -> str:
    """Return the name of the system, for a run folder."""
    return recipe.SYSTEM


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    shared.check(recipe.SYSTEM, given)
    table_facts(config.visible, config.threshold, given.table)


def train(config: Config, given: Given, workdir: pathlib.Path, **how: Any) -> FittedMachine:
    """Return the fitted machine."""
    return recipe.train(config, given.table, workdir, **how)


def headline(record: dict[str, Any]) -> str:
    """Return the score of held-out rows, and both sides of their likelihood when it was taken."""
    pseudo = record.get("pseudo_likelihood", record.get("held_out"))
    told = {"likelihood": record.get("held_out")} if "pseudo_likelihood" in record else {}
    told["pseudo-likelihood"] = pseudo
    score = ", ".join(f"{name} {value:.2f}" for name, value in told.items() if value is not None)
    if "log_likelihood_lower" in record:
        low, high = record["log_likelihood_lower"], record["log_likelihood_upper"]
        score += f", likelihood {low:.2f} to {high:.2f}"
    return f"held-out {score}" if score else f"energy gap {record['energy_gap']:.2f}"


def evaluate(fitted: FittedMachine, given: Given, workdir: pathlib.Path, started: float) -> None:
    """Fill the run folder: ``metrics.json`` and figures; print what a person reads."""
    config, facts = fitted.config, fitted.facts
    _, rows = table_facts(config.visible, config.threshold, given.table)
    parts = shared.parts_of(fitted, rows)
    found = {
        "rows": {name: len(rows) for name, rows in parts.items()},
        "likelihood": {name: recipe.likelihood(fitted, rows) for name, rows in parts.items()},
        "independent_units": {
            name: independent_log_likelihood(facts, rows) for name, rows in parts.items()
        },
        "is_exact": fitted.is_exact,
    }
    log = report.read_log(workdir)
    epoch = len(parts["train"]) / config.batch_size
    machine_figures.draw_training(log, epoch, workdir / "training.png")
    machine_figures.draw_filters(fitted, workdir / "filters.png")
    machine_figures.draw_fields(recipe.read_fields(workdir), epoch, workdir / "fields.png")
    machine_figures.draw_chain(fitted, parts["train"], workdir / "chain.png")
    metrics = shared.write_metrics(recipe.SYSTEM, fitted, given, workdir, started, found)
    _print_report(metrics, fitted, workdir)


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
    shared.check_told(recipe.SYSTEM, shared.OF_UNITS, command, told)


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows, exactly where the machine can be enumerated, else by chains."""
    fitted = recipe.load(workdir)
    words, notes = "enumeration, exact and independent", []
    if not fitted.is_exact:
        words = f"Gibbs, {options['num_steps']} sweeps each"
        notes = [shared.MAY_NOT_HAVE_CROSSED]
    return shared.drawn_units(fitted, options, words, notes, fitted.facts.visible != "gaussian")


def impute(workdir: str, read: Read, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file: gaps hold means, of bits rates, of levels the likeliest."""
    return shared.impute_units(recipe.load(workdir), read, options)
