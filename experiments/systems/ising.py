"""An Ising model of a table whose columns are the nodes of a lattice, on the command line."""

import pathlib
from typing import Any

import numpy as np

from mnar_ebm import diagnostics
from mnar_ebm.recipes import ising as recipe
from mnar_ebm.recipes.ising import Config, FittedLattice
from mnar_ebm.recipes.units import table_facts

from .. import report
from ..given import Given
from . import Completed, Drawn, Read, lattice_figures, shared

NUM_CHAINS, NUM_DRAWS = 100, 50
"""Chains by which the model is compared with its rows, and draws of each."""


def label(config: Config) -> str:
    """Return the name of the system, for a run folder."""
    return recipe.SYSTEM


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    shared.check(recipe.SYSTEM, given)
    facts, _ = table_facts(config.threshold, given.table)
    recipe.shape_of(config, len(facts.columns))


def train(config: Config, given: Given, workdir: pathlib.Path, **how: Any) -> FittedLattice:
    """Return the fitted lattice."""
    return recipe.train(config, given.table, workdir, **how)


def headline(record: dict[str, Any]) -> str:
    """Return the score of held-out rows, or the loss where there are none."""
    if "held_out" in record:
        return f"held-out pseudo-likelihood {record['held_out']:.2f}"
    return f"loss {record['loss']:.2f}"


def evaluate(fitted: FittedLattice, given: Given, workdir: pathlib.Path, started: float) -> None:
    """Fill the run folder: ``metrics.json`` and figures; print what a person reads."""
    parts, rate = shared.parts_as_bits(fitted, given), fitted.facts.rate
    chains = fitted.chains(NUM_CHAINS, NUM_DRAWS, fitted.config.seed)
    couplings, fields = (np.asarray(part, float) for part in fitted.params)
    found = {
        "rows": {name: len(rows) for name, rows in parts.items()},
        "log_likelihood": {name: fitted.log_likelihood(rows) for name, rows in parts.items()},
        "pseudo_log_likelihood": {
            name: fitted.pseudo_log_likelihood(rows) for name, rows in parts.items()
        },
        "independent_units": {name: shared.independent(rows, rate) for name, rows in parts.items()},
        "coupling": {"mean": float(couplings.mean()), "sd": float(couplings.std())},
        "field": {"mean": float(fields.mean()), "sd": float(fields.std())},
        "statistics": {
            name: compare(statistic(fitted, parts["train"]), statistic(fitted, chains))
            for name, statistic in STATISTICS.items()
        },
    }
    log = report.read_log(workdir)
    lattice_figures.draw_training(log, workdir / "training.png")
    lattice_figures.draw_states(fitted, parts["train"], chains[:, -1], workdir / "states.png")
    drawn = {
        name: (statistic(fitted, parts["train"]), statistic(fitted, chains).ravel())
        for name, statistic in STATISTICS.items()
    }
    lattice_figures.draw_statistics(drawn, workdir / "statistics.png")
    metrics = shared.write_metrics(recipe.SYSTEM, fitted, given, workdir, started, found)
    _print_report(metrics, fitted, workdir)


def magnetisation(fitted: FittedLattice, bits: np.ndarray) -> np.ndarray:
    """Return the mean spin of each state. [..., V] -> [...]."""
    return (2.0 * bits - 1.0).mean(axis=-1)


def energy(fitted: FittedLattice, bits: np.ndarray) -> np.ndarray:
    """Return the mean product of the spins of neighbours, of each state. [..., V] -> [...]."""
    spins = 2.0 * bits - 1.0
    ends = np.array(fitted.edges)
    return (spins[..., ends[:, 0]] * spins[..., ends[:, 1]]).mean(axis=-1)


STATISTICS = {
    "magnetisation": magnetisation,
    "absolute magnetisation": lambda fitted, bits: abs(magnetisation(fitted, bits)),
    "neighbours": energy,
}


def compare(rows: np.ndarray, chains: np.ndarray) -> dict[str, float]:
    """Return means of a statistic over rows [N] and chains [C, T], their errors, and the ESS."""
    diagnosis = diagnostics.diagnose(chains)
    ess = diagnosis.ess_bulk
    return {
        "rows": float(rows.mean()),
        "rows_error": float(rows.std() / len(rows) ** 0.5),
        "model": float(chains.mean()),
        "model_error": float(chains.std() / ess**0.5),
        "effective_sample_size": float(ess),
        "rhat": float(diagnosis.rhat),
    }


def _print_report(metrics: dict[str, Any], fitted: FittedLattice, workdir: pathlib.Path) -> None:
    rows, columns = fitted.shape
    torus = " torus" if fitted.config.wraps else ""
    print(f"\n{metrics['dataset']}: an Ising model of {rows} x {columns} spins{torus}")
    for name in ("coupling", "field"):
        sd = f", sd {metrics[name]['sd']:.3f}" if metrics[name]["sd"] else ""
        print(f"  {name} {metrics[name]['mean']:.4f}{sd}")
    print("nats a row: pseudo-log-likelihood, log-likelihood, that of independent spins")
    for name, pseudo in metrics["pseudo_log_likelihood"].items():
        exact = metrics["log_likelihood"][name]
        told = "too wide to sum" if exact is None else f"{exact:.2f}"
        what = f"{name.replace('_', '-')} ({metrics['rows'][name]} rows)"
        print(f"  {what:24}{pseudo:10.2f}{told:>18}{metrics['independent_units'][name]:10.2f}")
    print("means over the rows and over chains of the model")
    for name, one in metrics["statistics"].items():
        print(
            f"  {name:24}{one['rows']:10.4f} +- {one['rows_error']:.4f}"
            f"{one['model']:10.4f} +- {one['model_error']:.4f}, "
            f"ESS {one['effective_sample_size']:.0f}, R-hat {one['rhat']:.2f}"
        )
    print(f"{metrics['wall_seconds']:.0f} seconds; run folder {workdir}")


def check_told(command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a tilted table alone."""
    shared.check_told(recipe.SYSTEM, shared.OF_UNITS, command, told)


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows of bits: ends of chains."""
    words = f"Gibbs by colours, {options['num_steps']} sweeps each"
    notes = [shared.MAY_NOT_HAVE_CROSSED]
    return shared.drawn_units(recipe.load(workdir), options, words, notes)


def impute(workdir: str, read: Read, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file: gaps hold how likely a node is up, draws hold bits."""
    return shared.impute_units(recipe.load(workdir), read, options)
