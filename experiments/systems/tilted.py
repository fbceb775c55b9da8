"""A tilted VAE of a table with gaps, on the command line."""

import math
import pathlib
from typing import Any

import numpy as np
import pandas as pd

import mnar_ebm
from experiments import report
from experiments.given import Given
from experiments.systems import Completed, Drawn, Read
from mnar_ebm import Config, data
from mnar_ebm import inference as sampling
from mnar_ebm.tilted import FittedModel, TiltReport


def label(config: Config) -> str:
    """Return the name of the tilt, for a run folder."""
    return config.model.tilt


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    mnar_ebm.check(config, given.table, given.unbiased)


def train(
    config: Config, given: Given, workdir: pathlib.Path, **how: Any
) -> tuple[FittedModel, TiltReport]:
    """Return the fitted model, and what choosing the tilt's scale found."""
    return mnar_ebm.train(config, given.table, workdir, unbiased=given.unbiased, **how)


def headline(record: dict[str, Any]) -> str:
    """Return the bounds of a record."""
    held_out = f", held out {record['held_out']:.2f}" if "held_out" in record else ""
    return f"bound {record['bound']:.2f}{held_out}"


def evaluate(
    fitted: tuple[FittedModel, TiltReport], given: Given, workdir: pathlib.Path, started: float
) -> None:
    """Impute the table, compare, and fill the run folder."""
    report.evaluate(*fitted, given, workdir, started)


def check_told(command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a classifier alone."""
    if "label" in told:
        raise ValueError("--label: expected none for a run of 'tilted', which has no classes")


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows of the tilted model, by weights or by chains.

    Raises:
        ValueError: chains diverged, or never moved, and ``force`` is off.
    """
    fitted, options = mnar_ebm.load(workdir), dict(options)
    del options["label"]
    force = options.pop("force")
    drawn = fitted.sample(options.pop("num_samples"), **options)
    _check_draws(drawn, force)
    frame = pd.DataFrame(drawn.x, columns=list(fitted.facts.columns))
    for name, scale in zip(frame, fitted.facts.standardiser.scale, strict=True):
        frame[name] = [data.to_text(value, scale) for value in frame[name]]
    told = ", ".join(f"{name} {_short(value)}" for name, value in drawn.summary.items())
    notes = [f"warning: {warning}" for warning in drawn.warnings]
    if options["temperature"] != 1.0:
        notes.append(
            f"note: temperature {options['temperature']} samples another model than the one trained"
        )
    return Drawn(frame, f"{drawn.method}: {told}", notes)


def _check_draws(drawn: sampling.Samples, force: bool) -> None:
    """Refuse, before anything is written, draws of chains that diverged or never moved."""
    is_lost = ~np.isfinite(drawn.x).all(axis=1)
    if is_lost.any():
        raise ValueError(
            f"{is_lost.sum()} of {len(drawn.x)} draws by {drawn.method} are not finite, for the "
            "chains diverged, and nothing was written: try a smaller --step_size, or --method=mala"
        )
    if drawn.summary.get("acceptance_rate", 1.0) == 0.0 and not force:
        raise ValueError(
            f"no move of the chains by {drawn.method} was accepted, and nothing was written: try a "
            "smaller --step_size, or --force"
        )


def _short(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3f}"


def impute(workdir: str, read: Read, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file, completed from the posterior of their gaps."""
    fitted = mnar_ebm.load(workdir)
    if options["gaps_at_random"]:
        fitted = fitted.without_mechanism()
    csv = read(fitted.facts.columns)
    several = options["num_imputations"] > 1
    imputed = fitted.impute(
        csv.x,
        num_imputations=options["num_imputations"] if several else 0,
        num_samples=options["num_importance_samples"],
        seed=options["seed"],
    )
    notes, with_gaps = [], np.isnan(csv.x).any(axis=1)
    if with_gaps.any() and (ess := np.median(imputed.ess[with_gaps])) < 5:
        notes.append(
            f"warning: half of the rows with gaps rest on fewer than {ess:.1f} effective samples; "
            "raise --num_importance_samples"
        )
    draws = np.moveaxis(imputed.draws, 1, 0)
    return Completed(csv, imputed.mean, draws, fitted.facts.standardiser.scale, notes)
