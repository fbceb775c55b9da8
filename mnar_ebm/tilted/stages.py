"""The stages of training: what moves, what is minimised, and the bound that is watched.

    base    encoder, decoder and mechanism    by the bound of the base model
    tilt    the energy, on the frozen base    by the bound of the tilted model
    joint   everything                        by the bound of the tilted model

Each stage differentiates in ``trainable`` alone, a part of the parameters that ``select`` takes
out and ``merge`` puts back. This is also the one place where a bound is negated into a loss.

What a stage does is compiled. How long, how fast and with what decay it goes, its ``Pace``, is
handed to the program as arrays: short trainings and long ones share their programs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from mnar_ebm.config import Config
from mnar_ebm.models import Model, Params, energy, without_tilt
from mnar_ebm.objectives import bounds, contrastive, negative_phase
from mnar_ebm.programs import once
from mnar_ebm.samplers.importance import effective_sample_size
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

DECAYED_MECHANISM = "others|coefficients"
"""Paths of what a mechanism reads of other columns, and of its gap terms."""

SLOPE = r"\['slope'\]$"
"""Path of the slopes of a mechanism in its own values."""

ADVICE = "try a lower learning rate, a smaller latent_dim, or decoder_scale=per_feature"


def make_loop(config: Config) -> Loop:
    """Return what the loop is told: held-out rows refit the encoder, their share of a batch."""
    share = config.validation_fraction
    refit_size = max(1, round(config.batch_size * share / (1.0 - share))) if share else 0
    return Loop(config.batch_size, refit_size, config.ema_decay, config.patience)


def make_stages(config: Config, model: Model) -> tuple[Stage, ...]:
    """Return the stages that ``config`` asks for, in order.

    But for their pace they are the same ones for settings of equal ``program_of``.
    """
    mechanism_decay = config.mechanism_weight_decay
    tilt_rate, schedule = config.tilt_learning_rate, config.schedule
    paces = {
        "base": Pace(
            config.num_steps,
            config.learning_rate,
            schedule,
            (config.weight_decay, mechanism_decay),
            config.slope_precision,
        ),
        "tilt": Pace(config.tilt_steps, tilt_rate, schedule, (config.tilt_weight_decay,)),
        "joint": Pace(
            config.joint_steps,
            tilt_rate,
            schedule,
            (config.weight_decay, mechanism_decay, config.tilt_weight_decay),
            config.slope_precision,
        ),
    }
    stages = _make_programs(program_of(config), model)
    return tuple(stage._replace(pace=paces[stage.name]) for stage in stages)


def program_of(config: Config) -> Config:
    """Return the settings with those fixed that no compiled program of training depends on."""
    return dataclasses.replace(
        config,
        seed=0,
        slope_start="flat",
        own_slopes=config.hides_itself,
        standardise="observed",
        schedule="constant",
        num_steps=1,
        tilt_steps=min(1, config.tilt_steps),
        joint_steps=min(1, config.joint_steps),
        learning_rate=1.0,
        tilt_learning_rate=1.0,
        weight_decay=0.0,
        mechanism_weight_decay=0.0,
        slope_precision=0.0,
        tilt_weight_decay=0.0,
    )


@once
def _make_programs(config: Config, model: Model) -> tuple[Stage, ...]:
    base_model = without_tilt(model)
    stages = [
        Stage(
            name="base",
            loss=functools.partial(refit_loss, base_model, config),
            evaluate=functools.partial(held_out_verdict, base_model, False),
            select=lambda params: (params.base, params.mechanism),
            merge=lambda params, new: params._replace(base=new[0], mechanism=new[1]),
            init_memory=make_negatives(config, base_model).init,
            decayed=("encoder", DECAYED_MECHANISM),
            penalised=SLOPE,
            advice=ADVICE,
        )
    ]
    if config.tilt == "none":
        return tuple(stages)
    tilt_loss = nce_loss if config.negative_phase == "nce" else bound_loss
    init_memory = make_negatives(config, model).init
    if config.tilt_steps:
        stages.append(
            Stage(
                name="tilt",
                loss=lambda key, params, batch, _, chains: tilt_loss(
                    model, config, key, params, batch, chains
                ),
                evaluate=functools.partial(held_out_verdict, model, False),
                select=lambda params: (params.energy, params.log_z),
                merge=lambda params, new: params._replace(energy=new[0], log_z=new[1]),
                init_memory=init_memory,
                decayed=("kernel",),
                advice=ADVICE,
            )
        )
    if config.joint_steps:
        stages.append(
            Stage(
                name="joint",
                loss=functools.partial(refit_loss, model, config),
                evaluate=functools.partial(held_out_verdict, model, True),
                select=lambda params: {
                    name: getattr(params, name) for name in ("base", "mechanism", "energy")
                },
                merge=lambda params, new: params._replace(**new),
                init_memory=init_memory,
                decayed=("encoder", DECAYED_MECHANISM, "energy.*kernel"),
                penalised=SLOPE,
                advice=ADVICE,
            )
        )
    return tuple(stages)


def bound_loss(
    model: Model, config: Config, key: Key, params: Params, batch: Batch, chains: PyTree
) -> Loss:
    """Return minus the mean bound of the batch, with log Z by the config's negative phase."""
    key_posterior, key_negatives = jax.random.split(key)
    log_z, chains, seen = make_negatives(config, model).log_z(key_negatives, params, chains)
    params = params._replace(log_z=log_z)
    bound = bounds.batch_bound(
        key_posterior, model, params, batch, config.num_importance_samples
    ).mean()
    return -bound, ({"bound": bound, **seen}, chains)


def refit_loss(
    model: Model,
    config: Config,
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
    loss, aside = bound_loss(model, config, key_batch, params, batch, chains)
    if not held_out.x.shape[0] or model.vae.encode is None:
        return loss, aside
    fixed = jax.lax.stop_gradient(params)
    encoder_only = fixed._replace(base=fixed.base | {"encoder": params.base["encoder"]})
    bound = bounds.batch_bound(
        key_held_out, model, encoder_only, held_out, config.num_importance_samples
    )
    return loss - bound.sum() / batch.x.shape[0], aside


def nce_loss(
    model: Model, config: Config, key: Key, params: Params, batch: Batch, chains: PyTree
) -> Loss:
    """Return the logistic loss of posterior draws of the batch against base draws.

    The data of the contrast are each row's K draws, weighted by the tilted posterior with the
    weights held fixed: one step of EM, whose fixed point is that of the likelihood.
    """
    key_posterior, key_base = jax.random.split(key)
    draws = bounds.batch_draws(key_posterior, model, params, batch, config.num_importance_samples)
    weights = jax.lax.stop_gradient(jax.nn.softmax(draws.log_w, axis=-1))
    weights = (weights / weights.shape[0]).ravel()

    def log_ratio(energy: Array) -> Array:
        return -energy.ravel() - params.log_z

    noise = log_ratio(negative_phase.base_energies(key_base, model, params, config.num_negatives))
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
