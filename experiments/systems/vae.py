"""A variational autoencoder of images, or an autoencoder: the tilted table's, with its pixels.

Training, gaps, tilts, and the commands that draw and complete rows are those of a tilted table
(``experiments.systems.tilted``). What differs is what a person looks at.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import Config
from mnar_ebm.models import Model, Params
from mnar_ebm.objectives import bounds
from mnar_ebm.tilted import FittedModel, TiltReport
from mnar_ebm.tilted.held_out import split_rows
from mnar_ebm.training.plan import some_rows
from mnar_ebm.types import Array, Key

from .. import figures, report
from ..given import Given
from . import shared, tilted, vae_figures

SYSTEM = "vae"
MAX_ROWS = 1000
"""Most rows whose bound is computed, from the whole of those that are judged by."""

NUM_ELBO_SAMPLES = 64

check_told = tilted.check_told
train, headline = tilted.train, tilted.headline
sample, impute = tilted.sample, tilted.impute


def label(config: Config) -> str:
    """Return what it is, for a run folder: with a tilt, the space of that."""
    if config.model.proposal == "point":
        return "autoencoder"
    return "vae" if config.model.tilt == "none" else f"vae-{config.model.tilt}"


def check(config: Config, given: Given) -> None:
    """Raise what training would raise of such arguments, before anything is written."""
    if config.model.proposal == "laplace":
        raise ValueError("proposal: expected encoder or point with --system=vae, got 'laplace'")
    tilted.check(config, given)


def evaluate(
    fitted: tuple[FittedModel, TiltReport], given: Given, workdir: pathlib.Path, started: float
) -> None:
    """Fill the run folder: ``metrics.json`` and figures; print what a person reads."""
    model, tilt_report = fitted
    rows, parts = given.table.x, None if given.classes is None else given.classes()
    train, held_out = split_rows(model.config, len(rows))
    which, others = ("held_out", rows[held_out]) if len(held_out) else ("train", rows)
    if parts is not None:
        which, others = "test", parts.test.x
    part = others[some_rows(len(others), MAX_ROWS)]
    found = {
        "rows": {"train": len(train), "held_out": len(held_out), "judged": len(part)},
        "judged": which,
        **judge(model, part),
        "tilt_scale": tilt_report.tilt_scale,
        "log_z": tilt_report.log_z,
        "log_z_standard_error": tilt_report.log_z_standard_error,
        "ess_fraction": tilt_report.ess_fraction,
        "base_bound": tilt_report.bound_base,
        "tilted_bound": tilt_report.bound_tilted,
    }
    figures.draw_training(report.read_log(workdir), workdir / "training.png")
    labels = None if parts is None else parts.train.label
    vae_figures.draw_all(model, part, rows, labels, workdir)
    metrics = shared.write_metrics(SYSTEM, model, given, workdir, started, found)
    _print_report(metrics, workdir)


def judge(fitted: FittedModel, rows: np.ndarray) -> dict[str, Any]:
    """Return bounds on log p of rows, in nats, and how far they are reconstructed.

    The importance-weighted bound has K = ``num_imputation_samples``, in chunks of 1000 draws.

    Args:
        fitted: the model.
        rows: images, NaN where missing. [N, D]
    """
    key = jax.random.key(fitted.config.seed)
    x, mask = fitted.standardise(rows)
    elbo = _elbo(key, fitted.model, fitted.params, jnp.asarray(x), jnp.asarray(mask))
    seen = np.where(mask, rows, 0.0)
    error = np.where(mask, fitted.decode(fitted.encode(rows)[0]) - seen, 0.0)
    found = {
        "elbo": float(elbo.mean()),
        "reconstruction_error": float((error**2).sum(axis=1).mean()),
    }
    if fitted.config.model.proposal == "point":
        return {"reconstruction_log_likelihood": found.pop("elbo"), **found}
    weighed = fitted.impute(rows)
    return {
        "bound": float(weighed.bound.mean()),
        "bound_standard_error": float(weighed.bound.std(ddof=1) / np.sqrt(len(rows))),
        "bound_samples": fitted.config.num_imputation_samples,
        "ess_median": float(np.median(weighed.ess)),
        **found,
    }


@functools.partial(jax.jit, static_argnums=1)
def _elbo(key: Key, model: Model, params: Params, x: Array, mask: Array) -> Array:
    """Return the ELBO of every row, less log Z. [N]."""

    def of(row: tuple[Key, Array, Array]) -> Array:
        draws = bounds.log_weights(row[0], model, params, row[1], row[2], NUM_ELBO_SAMPLES)
        return bounds.elbo(draws.log_w, params.log_z)

    return jax.lax.map(of, (jax.random.split(key, len(x)), x, mask), batch_size=64)


def _print_report(metrics: dict[str, Any], workdir: pathlib.Path) -> None:
    rows = metrics["rows"]
    which = metrics["judged"].replace("_", "-")
    print(
        f"\n{metrics['dataset']}: {rows['train']} images to train on, {rows['held_out']} held out"
    )
    print(f"of {rows['judged']} {which} images, in nats each")
    if "bound" not in metrics:
        print(f"  log p(x given its code)     {metrics['reconstruction_log_likelihood']:10.2f}")
    else:
        name = f"bound, {metrics['bound_samples']} samples"
        print(f"  {name:28}{metrics['bound']:10.2f} +- {metrics['bound_standard_error']:.2f}")
        print(f"  {'ELBO':28}{metrics['elbo']:10.2f}")
    if metrics["tilt_scale"] > 0:
        print(
            f"tilt scale {metrics['tilt_scale']:.2f}: bound {metrics['base_bound']:.2f} to "
            f"{metrics['tilted_bound']:.2f}; log Z {metrics['log_z']:.3f} +- "
            f"{metrics['log_z_standard_error']:.3f}, effective share of base draws "
            f"{metrics['ess_fraction']:.2f}"
        )
    print(f"squared error of a reconstruction {metrics['reconstruction_error']:.2f}")
    print(f"{metrics['wall_seconds']:.0f} seconds; run folder {workdir}")
