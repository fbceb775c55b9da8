r"""The scale \lambda of the tilt, chosen on held-out rows, and what the tilt then costs and gains.

    bound(\lambda) = mean_rows log mean_k exp(log w_k - \lambda E_k) - log mean_n exp(-\lambda E_n)

with E_k at posterior draws of the base and E_n at N base draws, both computed once. \lambda = 0
is the base model and always a candidate, so the tilt that is kept never lowers the bound.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import inference
from mnar_ebm.data.power import Bend
from mnar_ebm.models import Model, Params, without_tilt
from mnar_ebm.objectives import bounds
from mnar_ebm.objectives.negative_phase import base_energies
from mnar_ebm.samplers.importance import (
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_standard_error,
)
from mnar_ebm.training.plan import some_rows
from mnar_ebm.types import Array, Batch, Key

CANDIDATES = np.linspace(0.0, 1.0, 21, dtype=np.float32)
NUM_SAMPLES = 1000
NUM_NEGATIVES = 65536
MAX_ROWS = 1024

MIN_ESS_FRACTION = 0.05
"""Smallest effective share of base draws of a scale that may be chosen: with fewer, neither its
bound nor samples by weights can be relied on."""


class TiltReport(NamedTuple):
    """What the choice of the tilt's scale found.

    Attributes:
        tilt_scale: the lambda chosen.
        bound_base: bound of the base on the rows given, in nats a row.
        bound_tilted: that bound at the chosen lambda.
        log_z: log Z at the chosen lambda, in nats.
        log_z_standard_error: its Monte Carlo standard error.
        ess_fraction: effective share of base draws under the tilt's weights, in (0, 1].
        log_weights: -lambda E at base draws, for diagnostics. [N]
        unbiased: what the fit of a second tilt to unbiased rows found, if there were any.
    """

    tilt_scale: float
    bound_base: float
    bound_tilted: float
    log_z: float
    log_z_standard_error: float
    ess_fraction: float
    log_weights: np.ndarray
    unbiased: Any = None


def choose_tilt_scale(
    key: Key, model: Model, params: Params, held_out: Batch, bend: Bend | None = None
) -> tuple[Params, TiltReport]:
    r"""Return the parameters with the best \lambda and its log Z, and a report.

    Args:
        key: random key.
        model: the tilted model.
        params: its parameters; ``tilt_scale`` and ``log_z`` are replaced.
        held_out: rows that the tilt was not fitted to. [B, D]
        bend: of the columns, if they are bent; rows that are imputed by as many samples are then
            scored by one program, where there is no tilt.
    """
    some = some_rows(held_out.x.shape[0], MAX_ROWS)
    rows = jax.tree.map(lambda leaf: leaf[some], held_out)
    if not (model.tilt.reads_x or model.tilt.reads_z):
        params = params._replace(tilt_scale=jnp.zeros(()), log_z=jnp.zeros(()))
        return params, _report_without_tilt(key, model, params, rows, bend)
    key_rows, key_base = jax.random.split(key)
    energies = _base_energies(key_base, model, params)
    curve, ess = _bound_curve(key_rows, model, params, rows, energies)
    believed = np.where(np.asarray(ess) >= MIN_ESS_FRACTION, np.asarray(curve), -np.inf)
    best = int(np.argmax(believed))
    log_weights = -CANDIDATES[best] * np.asarray(energies)
    report = TiltReport(
        tilt_scale=float(CANDIDATES[best]),
        bound_base=float(curve[0]),
        bound_tilted=float(curve[best]),
        log_z=float(log_mean_exp(jnp.asarray(log_weights))),
        log_z_standard_error=float(log_mean_exp_standard_error(jnp.asarray(log_weights))),
        ess_fraction=float(ess[best]),
        log_weights=log_weights,
    )
    params = params._replace(
        tilt_scale=jnp.asarray(report.tilt_scale, jnp.float32),
        log_z=jnp.asarray(report.log_z, jnp.float32),
    )
    return params, report


def _report_without_tilt(
    key: Key, model: Model, params: Params, rows: Batch, bend: Bend | None
) -> TiltReport:
    """Return the report of a model that has no tilt, whose log Z is 0."""
    x, mask = np.asarray(rows.x), np.asarray(rows.mask)
    imputed = inference.impute(key, model, params, x, mask, num_samples=NUM_SAMPLES, bend=bend)
    bound = float(imputed.bound.mean())
    return TiltReport(0.0, bound, bound, 0.0, 0.0, 1.0, np.zeros(NUM_NEGATIVES, np.float32))


@functools.partial(jax.jit, static_argnums=1)
def _base_energies(key: Key, model: Model, params: Params) -> Array:
    """Return E at base draws. [N]."""
    return base_energies(key, model, params._replace(tilt_scale=jnp.ones(())), NUM_NEGATIVES)


@functools.partial(jax.jit, static_argnums=1)
def _bound_curve(
    key: Key, model: Model, params: Params, rows: Batch, energies: Array
) -> tuple[Array, Array]:
    r"""Return bound(\lambda) and the effective share of base draws, for every candidate."""
    scales = jnp.asarray(CANDIDATES)

    def row_bounds(row: tuple[Key, Array, Array]) -> Array:
        draws = bounds.log_weights(row[0], without_tilt(model), params, row[1], row[2], NUM_SAMPLES)
        energy = model.tilt.energy(params.energy, draws.x, draws.z)
        return log_mean_exp(draws.log_w - scales[:, None] * energy)

    keys = jax.random.split(key, rows.x.shape[0])
    numerators = jax.lax.map(row_bounds, (keys, rows.x, rows.mask), batch_size=16)
    log_w = -scales[:, None] * energies
    curve = numerators.mean(axis=0) - log_mean_exp(log_w)
    return curve, jax.vmap(effective_sample_size)(log_w) / NUM_NEGATIVES
