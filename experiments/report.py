"""From a fitted model to what a person reads: the table, metrics.json, imputed.csv, figures."""

import importlib.metadata
import json
import pathlib
import platform
import time
from typing import Any

import jax
import numpy as np

from experiments import baselines, figures, published
from experiments.given import Given
from mnar_ebm import Config, data, diagnostics
from mnar_ebm.debiasing import UnbiasedReport
from mnar_ebm.files import replacing
from mnar_ebm.inference.imputation import Imputation
from mnar_ebm.metrics import imputation_rmse
from mnar_ebm.tilted import FittedModel, TiltReport

METHODS = {
    "mean": "column mean",
    "iterative": "IterativeImputer",
    "base": "base (no tilt)",
    "tilted": "tilted",
}
DEBIASED = "tilted to unbiased"
"""Beside these, where there are unbiased rows."""

_PACKAGES = ("mnar-ebm", "jax", "jaxlib", "flax", "optax", "distrax", "numpy", "scikit-learn")


def evaluate(
    fitted: FittedModel,
    tilt_report: TiltReport,
    given: Given,
    workdir: pathlib.Path,
    started: float,
) -> dict[str, Any]:
    """Impute the table, compare, and fill the run folder.

    Args:
        fitted: the trained model.
        tilt_report: what choosing the tilt's scale found, and the fit to unbiased rows.
        given: the rows that it was trained on.
        workdir: the run folder.
        started: ``time.perf_counter()`` at the start of the command.

    Returns:
        What ``metrics.json`` holds.
    """
    log, table, seed = read_log(workdir), given.whole, fitted.config.seed
    imputed = fitted.impute(table.x, num_imputations=1, seed=seed)
    is_tilted, found = tilt_report.tilt_scale > 0, tilt_report.unbiased
    is_moved = bool(fitted.facts.second_energy)
    tilted = fitted.without_second().impute(table.x, seed=seed) if is_moved else imputed
    base = fitted.base().impute(table.x, seed=seed) if is_tilted else tilted
    metrics = {
        **_settings(fitted.config, table.name),
        "rmse": _rmse(table, base, tilted, imputed if found is not None else None),
        "bound": {"base": tilt_report.bound_base, "tilted": tilt_report.bound_tilted},
        "log_z": tilt_report.log_z,
        "log_z_standard_error": tilt_report.log_z_standard_error,
        "ess_fraction": tilt_report.ess_fraction,
        "pareto_k": diagnostics.pareto_k(tilt_report.log_weights) if is_tilted else None,
        "tilt_scale": tilt_report.tilt_scale,
        "unbiased": _unbiased(found),
        "imputation_ess_median": float(np.median(imputed.ess[~table.mask.all(axis=1)]))
        if not table.mask.all()
        else None,
        "steps_per_second": float(np.median([record["steps_per_second"] for record in log])),
        "wall_seconds": time.perf_counter() - started,
    }
    data.write_completed(
        workdir / "imputed.csv", given.file, imputed.mean, fitted.facts.standardiser.scale
    )
    figures.draw_training(log, workdir / "training.png")
    figures.draw_densities(table, imputed, workdir / "densities.png")
    if given.unbiased is not None:
        figures.draw_marginals(fitted, given.table, given.unbiased, workdir / "marginals.png")
    if fitted.model.vae.latent_dim == 2:
        figures.draw_latent(fitted, workdir / "latent.png")
    with replacing(workdir / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n")
    print_report(metrics, table, workdir)
    return metrics


def read_log(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return the records of ``log.jsonl``."""
    return [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]


def surroundings() -> dict[str, Any]:
    """Return what a run depends on beside its settings: versions, device, precision."""
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "device": jax.devices()[0].device_kind,
        "matmul_precision": jax.config.jax_default_matmul_precision,
    }


def _settings(config: Config, name: str) -> dict[str, Any]:
    return {
        "dataset": name,
        "mechanism": config.model.mechanism,
        "tilt": config.model.tilt,
        "seed": config.seed,
        "config": config.flat(),
        **surroundings(),
    }


def _unbiased(found: UnbiasedReport | None) -> dict[str, Any] | None:
    """Return what the fit to unbiased rows found, for JSON."""
    if found is None:
        return None
    fields = {
        name: value for name, value in found._asdict().items() if not isinstance(value, np.ndarray)
    }
    return fields | {"words": str(found)}


def _rmse(
    table: data.Table, base: Imputation, tilted: Imputation, debiased: Imputation | None
) -> dict[str, float] | None:
    if table.truth is None or table.mask.all():
        return None
    completed = {
        "mean": baselines.impute_mean(table),
        "iterative": baselines.impute_iterative(table),
        "base": base.mean,
        "tilted": tilted.mean,
    }
    if debiased is not None:
        completed["debiased"] = debiased.mean
    return {
        name: imputation_rmse(values, table.truth, table.mask) for name, values in completed.items()
    }


def print_report(metrics: dict[str, Any], table: data.Table, workdir: pathlib.Path) -> None:
    """Print the last table and where the rest is."""
    share = 1.0 - table.mask.mean()
    print(f"\n{table.name}: {len(table.x)} rows, {len(table.columns)} columns, {share:.1%} missing")
    if metrics["rmse"] is None:
        print("no RMSE: the true values of the missing cells are not known")
    else:
        print("RMSE on the missing cells, in standard deviations of the true columns")
        print(f"  {'':18}{'this run':>9}{'published':>11}")
        known = published.RMSE.get(table.name, {})
        for method, label in METHODS.items():
            beside = f"{known[method]:11.2f}" if method in known else f"{'-':>11}"
            print(f"  {label:18}{metrics['rmse'][method]:9.3f}{beside}")
        if "debiased" in metrics["rmse"]:
            print(f"  {DEBIASED:18}{metrics['rmse']['debiased']:9.3f}{'-':>11}")
        if known:
            print("  published: Ipsen et al. 2021, Table 1; beside base its not-MIWAE with")
            print("  self-masking, beside tilted the best of the whole table")
    bound = metrics["bound"]
    gain = bound["tilted"] - bound["base"]
    rows = "held-out" if metrics["config"]["validation_fraction"] else "training"
    print(f"{rows} bound: base {bound['base']:.2f}, tilted {bound['tilted']:.2f} nats a row")
    if metrics["tilt"] == "none":
        print("no tilt was asked for")
    elif metrics["tilt_scale"] == 0:
        print("tilt scale 0: no tilt raised the held-out bound, so the base model was kept")
    else:
        print(
            f"tilt scale {metrics['tilt_scale']:.2f}: +{gain:.2f} nats; log Z "
            f"{metrics['log_z']:.3f} +- {metrics['log_z_standard_error']:.3f}, effective share "
            f"of base draws {metrics['ess_fraction']:.2f}, Pareto k {metrics['pareto_k']:.2f}"
        )
    if metrics["unbiased"] is not None:
        print(metrics["unbiased"]["words"])
    elif diagnostics.is_degenerate(metrics["ess_fraction"], metrics["pareto_k"]):
        print("warning: few base draws carry the tilt's weight; sample by chains, not by weights")
    print(f"{metrics['wall_seconds']:.0f} seconds; run folder {workdir}")
