"""The stages of training: what moves, what is minimised, and the bound that is watched.

    base    encoder, decoder and mechanism    by the bound of the base model
    tilt    the energy, on the frozen base    by the bound of the tilted model
    joint   everything                        by the bound of the tilted model

Each stage differentiates in ``trainable`` alone, a part of the parameters that ``select`` takes
out and ``merge`` puts back. This is also the one place where a bound is negated into a loss.

What a stage does is compiled. How long, how fast and with what decay it goes, its ``Pace``, is
handed to the program as arrays: short trainings and long ones share their programs.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.config import Config
from mnar_ebm.models import Model, Params, energy, without_tilt
from mnar_ebm.negative_phases import NEGATIVE_PHASES
from mnar_ebm.objectives import bounds, contrastive, negative_phase
from mnar_ebm.programs import once
from mnar_ebm.samplers.importance import effective_sample_size
from mnar_ebm.settings import NegativeSettings
from mnar_ebm.tilted.negatives import make_negatives
from mnar_ebm.training.chunks import Loop
from mnar_ebm.training.optimiser import Pace
from mnar_ebm.training.stage import Info, Loss, Stage, Verdict
from mnar_ebm.types import Array, Batch, Key, PyTree

HELD_OUT_SAMPLES = 500
HELD_OUT_NEGATIVES = 8192

ESS_GUARD = 0.02
"""Smallest effective share of base draws at which log Z, and so the bound, is believed: about
160 of the draws, a standard error of 0.08 nats."""

SLOPE = r"\['slope'\]$"
"""Path of the slopes of a mechanism in its own values."""


class Part(NamedTuple):
    """What moves in a stage: how it is taken out and put back, and paths that decay shrinks."""

    select: Callable[[Params], PyTree]
    merge: Callable[[Params, PyTree], Params]
    decayed: tuple[str, ...]


MECHANISM_TERMS = "others|coefficients"
"""Paths of what a mechanism reads of other columns, and of its gap terms."""

PARTS = {
    "base": Part(
        lambda params: (params.base, params.mechanism),
        lambda params, new: params._replace(base=new[0], mechanism=new[1]),
        ("encoder", MECHANISM_TERMS),
    ),
    "tilt": Part(
        lambda params: (params.energy, params.log_z),
        lambda params, new: params._replace(energy=new[0], log_z=new[1]),
        ("kernel",),
    ),
    "joint": Part(
        lambda params: {name: getattr(params, name) for name in ("base", "mechanism", "energy")},
        lambda params, new: params._replace(**new),
        ("encoder", MECHANISM_TERMS, "energy.*kernel"),
    ),
}
"""By stage."""

ADVICE = "try a lower learning rate, a smaller latent_dim, or decoder_scale=per_feature"


def make_loop(config: Config) -> Loop:
    """Return what the loop is told: held-out rows refit the encoder, their share of a batch."""
    share = config.optimisation.validation_fraction
    refit_size = (
        max(1, round(config.optimisation.batch_size * share / (1.0 - share))) if share else 0
    )
    return Loop(
        config.optimisation.batch_size,
        refit_size,
        config.optimisation.ema_decay,
        config.optimisation.patience,
    )


def make_stages(config: Config, model: Model) -> tuple[Stage, ...]:
    """Return the stages that ``config`` asks for, in order.

    Those that differ in their pace alone are the same programs.
    """
    how = config.optimisation
    mechanism_decay = how.mechanism_weight_decay
    tilt_rate, schedule = how.tilt_learning_rate, how.schedule
    paces = {
        "base": Pace(
            how.num_steps,
            how.learning_rate,
            schedule,
            (how.weight_decay, mechanism_decay),
            how.slope_precision,
        ),
        "tilt": Pace(how.tilt_steps, tilt_rate, schedule, (how.tilt_weight_decay,)),
        "joint": Pace(
            how.joint_steps,
            tilt_rate,
            schedule,
            (how.weight_decay, mechanism_decay, how.tilt_weight_decay),
            how.slope_precision,
        ),
    }
    lengths = {"base": how.num_steps, "tilt": how.tilt_steps, "joint": how.joint_steps}
    names = [
        name
        for name, num_steps in lengths.items()
        if name == "base" or (config.model.tilt != "none" and num_steps)
    ]
    return tuple(
        _make_stage(name, model, how.num_importance_samples, config.negatives)._replace(
            pace=paces[name]
        )
        for name in names
    )


@once
def _make_stage(name: str, model: Model, num_samples: int, negatives: NegativeSettings) -> Stage:
    """Return a stage without its pace."""
    model = without_tilt(model) if name == "base" else model
    part = PARTS[name]
    tilt_loss = nce_loss if NEGATIVE_PHASES[negatives.negative_phase].is_contrastive else bound_loss

    def loss(key: Key, params: Params, batch: Batch, held_out: Batch, chains: PyTree) -> Loss:
        if name == "tilt":  # whose part has no encoder to refit
            return tilt_loss(model, num_samples, negatives, key, params, batch, chains)
        return refit_loss(model, num_samples, negatives, key, params, batch, held_out, chains)

    return Stage(
        name,
        loss=loss,
        evaluate=functools.partial(held_out_verdict, model, name == "joint"),
        select=part.select,
        merge=part.merge,
        init_memory=make_negatives(negatives, model).init,
        decayed=part.decayed,
        penalised=SLOPE,
        advice=ADVICE,
    )


def bound_loss(
    model: Model,
    num_samples: int,
    negatives: NegativeSettings,
    key: Key,
    params: Params,
    batch: Batch,
    chains: PyTree,
) -> Loss:
    """Return minus the mean bound of the batch, with log Z by the negative phase."""
    key_posterior, key_negatives = jax.random.split(key)
    phase = make_negatives(negatives, model)
    log_z, chains, seen = phase.log_z(key_negatives, params, chains, batch)
    params = params._replace(log_z=log_z)
    bound = bounds.batch_bound(key_posterior, model, params, batch, num_samples).mean()
    return -bound, ({"bound": bound, **seen}, chains)


def refit_loss(
    model: Model,
    num_samples: int,
    negatives: NegativeSettings,
    key: Key,
    params: Params,
    batch: Batch,
    held_out: Batch,
    chains: PyTree,
) -> Loss:
    """Return ``bound_loss`` plus that of held-out rows with all but the encoder held fixed.

    Without this term the encoder knows the training rows alone, its guesses for held-out rows grow
    worse with time, and the held-out bound falls while the model itself still improves. Where
    no row is held out, or there is no encoder, it is ``bound_loss``.

    References:
        P.-A. Mattei, J. Frellsen, "Refit your Encoder when New Data Comes by", NeurIPS workshop
        on Bayesian Deep Learning, 2018.
    """
    key_batch, key_held_out = jax.random.split(key)
    loss, aside = bound_loss(model, num_samples, negatives, key_batch, params, batch, chains)
    if not held_out.x.shape[0] or model.vae.encode is None:
        return loss, aside
    fixed = jax.lax.stop_gradient(params)
    encoder_only = fixed._replace(base=fixed.base | {"encoder": params.base["encoder"]})
    bound = bounds.batch_bound(key_held_out, model, encoder_only, held_out, num_samples)
    return loss - bound.sum() / batch.x.shape[0], aside


def nce_loss(
    model: Model,
    num_samples: int,
    negatives: NegativeSettings,
    key: Key,
    params: Params,
    batch: Batch,
    chains: PyTree,
) -> Loss:
    """Return the logistic loss of posterior draws of the batch against base draws.

    The data of the contrast are each row's K draws, weighted by the tilted posterior with the
    weights held fixed: one step of EM, whose fixed point is that of the likelihood.
    """
    key_posterior, key_base = jax.random.split(key)
    draws = bounds.batch_draws(key_posterior, model, params, batch, num_samples)
    weights = jax.lax.stop_gradient(jax.nn.softmax(draws.log_w, axis=-1))
    weights = (weights / weights.shape[0]).ravel()

    def log_ratio(energy: Array) -> Array:
        return -energy.ravel() - params.log_z

    noise = log_ratio(
        negative_phase.base_energies(key_base, model, params, negatives.num_negatives)
    )
    data = log_ratio(energy(model, params, draws.x, draws.z))
    loss = contrastive.nce_loss(data, weights, noise, noise_ratio=1.0)
    bound = jax.vmap(bounds.importance_bound, in_axes=(0, None))(draws.log_w, params.log_z)
    return loss, ({"bound": bound.mean()}, chains)


def held_out_verdict(
    model: Model, gives_up: bool, key: Key, params: Params, batch: Batch, is_row: Array
) -> Verdict:
    """Return what held-out rows say: their bound, believed while enough base draws carry log Z.

    Args:
        model: the model whose bound it is.
        gives_up: whether the stage ends where the bound cannot be believed.
        key: random key.
        params: the parameters.
        batch: held-out rows. [B, D]
        is_row: ``False`` for rows that only pad the batch. [B]
    """
    info = held_out_bound(model, params, batch, is_row, key, HELD_OUT_SAMPLES, HELD_OUT_NEGATIVES)
    is_believed = info["ess_fraction"] >= ESS_GUARD
    score = jnp.where(is_believed, info["held_out"], -jnp.inf)
    return Verdict(score, ~is_believed & gives_up, info)


def held_out_bound(
    model: Model,
    params: Params,
    batch: Batch,
    is_row: Array,
    key: Key,
    num_samples: int,
    num_negatives: int,
) -> Info:
    """Return the mean bound of held-out rows and the effective share of the base draws.

    Args:
        model: the model, tilted or not.
        params: its parameters; log Z is estimated afresh.
        batch: held-out rows. [B, D]
        is_row: ``False`` for rows that only pad the batch. [B]
        key: the same key at every call, so that two calls differ by their parameters alone.
        num_samples: K.
        num_negatives: N, for log Z.

    Returns:
        ``held_out``, in nats a row, and ``ess_fraction`` in (0, 1].
    """
    key_rows, key_base = jax.random.split(key)
    energies = negative_phase.base_energies(key_base, model, params, num_negatives)
    params = params._replace(log_z=negative_phase.snis_log_z(energies))

    def bound_of(row: tuple[Key, Array, Array]) -> Array:
        draws = bounds.log_weights(row[0], model, params, row[1], row[2], num_samples)
        return bounds.importance_bound(draws.log_w, params.log_z)

    keys = jax.random.split(key_rows, batch.x.shape[0])
    row_bounds = jax.lax.map(bound_of, (keys, batch.x, batch.mask), batch_size=64)
    return {
        "held_out": jnp.mean(row_bounds, where=is_row),
        "ess_fraction": effective_sample_size(-energies) / num_negatives,
    }
