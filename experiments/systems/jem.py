"""A classifier that is a density too, on the command line."""

import pathlib
from typing import Any

import jax
import numpy as np

from experiments import judge, report
from experiments.given import Given
from experiments.systems import Completed, Drawn, Read, ebm_figures, shared
from mnar_ebm import metrics
from mnar_ebm.data.datasets.labelled import Labelled, Parts
from mnar_ebm.recipes import jem as recipe
from mnar_ebm.recipes.fitted import FittedDensity
from mnar_ebm.recipes.jem import Config, FittedClassifier
from mnar_ebm.recipes.scores import scores

NUM_DRAWS = 100
"""Chains of the long-run check."""

PER_CLASS, CLASS_STEPS = 8, 2000
"""Draws of each class that are shown, and the steps of MALA from the reference to each."""

UNDERSTOOD = {
    "sample": ("num_samples", "seed", "num_steps", "label"),
    "impute": ("num_imputations", "seed"),
}
"""Options of the commands that a classifier has, too."""


def label(config: Config) -> str:
    """Return the name of the system, for a run folder."""
    return "jem" if config.density_weight else "classifier"


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    shared.check(recipe.SYSTEM, given)
    recipe.check(config, given.table, _parts(given).train.label)


def train(config: Config, given: Given, workdir: pathlib.Path, **how: Any) -> FittedClassifier:
    """Return the fitted classifier."""
    return recipe.train(config, given.table, _parts(given).train.label, workdir, **how)


def headline(record: dict[str, Any]) -> str:
    """Return the accuracy on held-out rows, and the gap where there are chains."""
    gap = f", energy gap {record['energy_gap']:.2f}" if "energy_gap" in record else ""
    held_out = f", held-out accuracy {record['accuracy']:.3f}" if "accuracy" in record else ""
    return f"loss {record['loss']:.2f}{held_out}{gap}"


def evaluate(fitted: FittedClassifier, given: Given, workdir: pathlib.Path, started: float) -> None:
    """Fill the run folder: ``metrics.json`` and figures; print what a person reads."""
    parts = _parts(given)
    found = {
        "rows": {"train": len(parts.train.x), "test": len(parts.test.x)},
        "classifier": decisions(fitted, parts.test),
        "detection": detections(fitted, parts.test.x, given.others()),
    }
    ebm_figures.draw_training(report.read_log(workdir), workdir / "training.png")
    if fitted.config.density_weight:
        density, seed = fitted.density(), fitted.config.seed
        start = density.sample(NUM_DRAWS, seed).draws
        found["long_run"], _ = shared.long_run(density, start, seed, judge.make_judge(parts))
        drawn = {one: draw_class(fitted, one, seed) for one in range(fitted.num_classes)}
        ebm_figures.draw_classes(parts.train, drawn, workdir / "draws.png")
    metrics_ = shared.write_metrics(recipe.SYSTEM, fitted, given, workdir, started, found)
    _print_report(metrics_, workdir)


def decisions(fitted: FittedClassifier, test: Labelled) -> dict[str, float]:
    """Return accuracy, log-likelihood and calibration of p(y|x) on images of the test."""
    logits = fitted.logits(fitted.density().standardise(test.x))
    log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)
    return {
        "accuracy": float((log_p.argmax(axis=1) == test.label).mean()),
        "log_likelihood": float(log_p[np.arange(len(log_p)), test.label].mean()),
        "calibration_error": metrics.calibration_error(np.exp(log_p), test.label),
    }


def detections(
    fitted: FittedClassifier, test: np.ndarray, others: dict[str, np.ndarray]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return how well each score tells images of the test from others, and from torn ones.

    Args:
        fitted: the classifier.
        test: images of the test. [N, D]
        others: images of other sets, by name. [M, D]
    """
    density = fitted.density()
    rng = np.random.default_rng(0)
    torn = {
        "pixels shuffled": rng.permuted(test, axis=1),
        "negative": test.max() + test.min() - test,
    }

    def of(images: np.ndarray) -> dict[str, np.ndarray]:
        rows = density.as_fitted(density.standardise(images))
        return scores(density.ebm, density.params, rows, fitted.network)

    inside = of(test)
    found = {}
    for name, images in (torn | others).items():
        outside = of(images)
        told = {one: metrics.detection(inside[one], outside[one])._asdict() for one in inside}
        found[name] = told
    return found


def draw_class(fitted: FittedClassifier, one: int, seed: int) -> np.ndarray:
    """Return draws of p(x|y) of a class, in their own units, by chains from the reference."""
    density = fitted.density(one)
    keys = jax.random.split(jax.random.key(seed), PER_CLASS)
    start = jax.vmap(density.ebm.sample_reference)(keys)
    return density.shown(density.settle(start, CLASS_STEPS, seed + one))


def _parts(given: Given) -> Parts:
    assert given.classes is not None  # `load_rows` sees to it
    return given.classes()


def _print_report(found: dict[str, Any], workdir: pathlib.Path) -> None:
    one = found["classifier"]
    print(
        f"\n{found['dataset']}: {one['accuracy']:.2%} of {found['rows']['test']} test images "
        f"right, calibration error {one['calibration_error']:.2%}, "
        f"log p(y|x) {one['log_likelihood']:.3f}"
    )
    print("AUROC, AUPR and false alarms at 95 % of what is not data, by each score")
    for name, of_scores in found["detection"].items():
        for score, told in of_scores.items():
            print(
                f"  {name:18}{score:18}{told['auroc']:8.3f}{told['aupr']:8.3f}{told['fpr95']:8.3f}"
            )
    if "long_run" in found:
        shared.print_long_run(found["long_run"])
    print(f"{found['wall_seconds']:.0f} seconds; run folder {workdir}")


def check_told(command: str, told: list[str]) -> None:
    """Raise ``ValueError`` for an option that is of a tilted table alone."""
    shared.check_told(recipe.SYSTEM, UNDERSTOOD, command, told)


def sample(workdir: str, options: dict[str, Any]) -> Drawn:
    """Return rows in their own units, of all classes or of one."""
    return shared.drawn_rows(recipe.load(workdir).density(options["label"]), options)


def impute(workdir: str, read: Read, options: dict[str, Any]) -> Completed:
    """Return the rows of a CSV file, completed by chains on what is missing of each."""
    density: FittedDensity = recipe.load(workdir).density()
    return shared.fill_rows(density, read(density.facts.columns), options)
