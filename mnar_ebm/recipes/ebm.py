r"""Fitting an energy-based model by any objective, through the engine (``training.loop``).

    cd, pcd            energy gap of data and chains from the data, or of chains that persist
    nce                data told from draws of the reference; learns log Z
    score_exact        the Fisher divergence, D products a row
    score_sliced       the same by random directions
    score_denoising    the same of noisy data
    energy_matching    a potential along lines of optimal transport, then the gap of chains

Chains are at temperature 1 and so is the model: p(x) = p_0(x) exp(-E(x)) / Z. Those of
``energy_matching`` fit V(x) = ε (E(x) - log p_0(x)), of which temperature ε is the model.

No loss but that of ``nce`` minds a constant in E, and Adam lets it drift to the bound of a
network: a small square of the mean energy holds it near 0, and leaves the density as it is.

A gap is no objective. What it fits is judged by the likelihood of held-out rows, with log Z by
draws of the reference: believable in few dimensions, as the share of them that carries it tells. In
more, score matching judges (``judge``).
The others are judged by their own loss.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.models.ebm import EBM, EBMParams, log_unnormalised
from mnar_ebm.objectives.contrastive import contrast, nce_loss
from mnar_ebm.objectives.score import score_denoising, score_exact, score_sliced
from mnar_ebm.objectives.transport import Pairs, energy_matching, pair
from mnar_ebm.programs import once
from mnar_ebm.recipes import negatives, noise
from mnar_ebm.recipes.negatives import ChainSettings, Memory
from mnar_ebm.samplers.importance import effective_sample_size, log_mean_exp
from mnar_ebm.training import Loop, NonFiniteLossError, Pace, Stage, Verdict, run_stages, verdict
from mnar_ebm.training.plan import Rows
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key, PyTree

OBJECTIVES = (
    "cd",
    "pcd",
    "nce",
    "score_exact",
    "score_sliced",
    "score_denoising",
    "energy_matching",
)
NUM_REFERENCE_DRAWS = 4096
NUM_DIRECTIONS = 4
"""Random directions of each held-out row that is judged by its score."""

LEVEL_WEIGHT = 0.01
"""Of the square of the mean energy, in nats, where nothing else minds a constant."""

BatchLoss = Callable[[Key, EBMParams, Any], Array]


class Settings(NamedTuple):
    """What the objectives read, each its own.

    Attributes:
        chains: of ``cd``, ``pcd`` and ``energy_matching``.
        max_gap: largest running mean of the energy gap, in nats; beyond it the stage ends and what
            was best is restored.
        noise_ratio: ν of ``nce``, draws of the reference for each row.
        num_directions: of ``score_sliced``.
        is_reduced: whether ``score_sliced`` has the variance-reduced form.
        noise: σ of ``score_denoising``, one or a ladder.
        temperature: ε of ``energy_matching``.
        warm_up: share of its steps along lines alone.
        line_weight: of the lines beside the gap, after that.
        judge: what held-out rows say where a gap is minimised: their ``likelihood``, or their
            ``score``, which does not see the weights of modes that are apart.
        data_noise: standard deviation of what is added to rows, anew at each step: the density is
            that of noisy rows then. ``score_denoising`` has its own.
    """

    chains: ChainSettings = ChainSettings()
    max_gap: float = 1000.0
    noise_ratio: int = 4
    num_directions: int = 1
    is_reduced: bool = True
    noise: tuple[float, ...] = (0.1,)
    temperature: float = 0.1
    warm_up: float = 0.5
    line_weight: float = 0.1
    judge: str = "likelihood"
    data_noise: float = 0.0


@once
def make_stages(name: str, ebm: EBM, settings: Settings, pace: Pace) -> tuple[Stage, ...]:
    """Return the stages of an objective: one, or the two of ``energy_matching``.

    Rows are examples; those of ``energy_matching`` are pairs (``pair_with_reference``).

    Args:
        name: one of ``OBJECTIVES``.
        ebm: the model.
        settings: what the objectives read.
        pace: how long and how fast it goes, both stages together.

    Returns:
        The stages; always the same ones for equal arguments, so that jit knows them.

    Raises:
        TypeError: a setting is no whole number.
        ValueError: the name is unknown, or a setting may not be as it is.
    """
    _check(name, settings)
    stages = _clean_stages(name, ebm, settings, pace)
    if not settings.data_noise or name == "score_denoising":
        return stages
    return tuple(noise.noisy(stage, settings.data_noise, _blur) for stage in stages)


def _clean_stages(name: str, ebm: EBM, settings: Settings, pace: Pace) -> tuple[Stage, ...]:
    if name in ("cd", "pcd"):
        return (_chain_stage(name, ebm, settings, pace),)
    if name == "energy_matching":
        first = round(settings.warm_up * pace.num_steps)
        lines = functools.partial(line_loss, ebm, settings.temperature)
        warm_up = _own_stage("warm_up", ebm, lines, pace._replace(num_steps=first))
        rest = pace._replace(num_steps=pace.num_steps - first)
        return warm_up, _chain_stage(name, ebm, settings, rest, lines)
    if name == "nce":
        loss = functools.partial(noise_loss, ebm, settings.noise_ratio)
        stage = _own_stage(name, ebm, loss, pace, minds_level=True)
        return (stage._replace(select=lambda params: params, merge=lambda params, new: new),)
    loss = functools.partial(score_loss, name, ebm, settings)
    return (_own_stage(name, ebm, loss, pace),)


def _blur(key: Key, sigma: float, batch: Any) -> Any:
    """Return rows with noise, or pairs whose rows of data have it."""
    if isinstance(batch, Pairs):
        return batch._replace(data=noise.add(key, sigma, batch.data))
    return noise.add(key, sigma, batch)


def noise_loss(ebm: EBM, noise_ratio: int, key: Key, params: EBMParams, batch: Array) -> Array:
    """Return the loss of rows [B, ...] against ν draws of the reference each. []."""
    num_rows = batch.shape[0]
    drawn = jax.vmap(ebm.sample_reference)(jax.random.split(key, num_rows * noise_ratio))
    log_ratio = jax.vmap(lambda x: -ebm.energy(params.energy, x) - params.log_z)
    weights = jnp.full(num_rows, 1.0 / num_rows)
    return nce_loss(log_ratio(batch), weights, log_ratio(drawn), noise_ratio)


def score_loss(
    name: str, ebm: EBM, settings: Settings, key: Key, params: EBMParams, batch: Array
) -> Array:
    """Return the mean loss of score matching, of rows [B, ...]. []."""
    logdensity_fn = functools.partial(log_unnormalised, ebm, params)

    def one(key: Key, x: Array) -> Array:
        if name == "score_exact":
            return score_exact(logdensity_fn, x)
        if name == "score_sliced":
            directions = settings.num_directions, settings.is_reduced
            return score_sliced(key, logdensity_fn, x, *directions)
        return score_denoising(key, logdensity_fn, x, jnp.asarray(settings.noise))

    return jax.vmap(one)(jax.random.split(key, batch.shape[0]), batch).mean()


def line_loss(ebm: EBM, temperature: float, key: Key, params: EBMParams, batch: Pairs) -> Array:
    """Return the mean loss of energy matching, of pairs [B, ...] at uniform times. []."""

    def potential_fn(x: Array) -> Array:
        return -temperature * log_unnormalised(ebm, params, x)

    time = jax.random.uniform(key, batch.data.shape[:1])
    each = jax.vmap(energy_matching, (None, 0, 0, 0))
    return each(potential_fn, batch.noise, batch.data, time).mean()


def evaluate_likelihood(
    ebm: EBM, key: Key, params: EBMParams, batch: Any, is_row: Array
) -> Verdict:
    """Return the mean log p of held-out rows, log Z by draws of the reference, and their ESS/N."""
    rows = batch.data if isinstance(batch, Pairs) else batch
    draws = jax.vmap(ebm.sample_reference)(jax.random.split(key, NUM_REFERENCE_DRAWS))
    log_w = -jax.vmap(ebm.energy, (None, 0))(params.energy, draws)
    log_p = jax.vmap(functools.partial(log_unnormalised, ebm, params))(rows) - log_mean_exp(log_w)
    share = effective_sample_size(log_w) / NUM_REFERENCE_DRAWS
    return verdict(jnp.mean(log_p, where=is_row), ess_share=share)


def evaluate_score(ebm: EBM, key: Key, params: EBMParams, batch: Any, is_row: Array) -> Verdict:
    """Return less the loss of score matching of held-out rows, along random directions."""
    rows = batch.data if isinstance(batch, Pairs) else batch
    logdensity_fn = functools.partial(log_unnormalised, ebm, params)
    each = jax.vmap(lambda key, x: score_sliced(key, logdensity_fn, x, NUM_DIRECTIONS, True))
    values = each(jax.random.split(key, is_row.shape[0]), rows)
    return verdict(-jnp.mean(values, where=is_row))


JUDGES = {"likelihood": evaluate_likelihood, "score": evaluate_score}


def pair_with_reference(key: Key, ebm: EBM, rows: Array, num_copies: int = 1) -> Pairs:
    """Return each row so many times, with a draw of the reference that is carried to it."""
    key_order, key_noise = jax.random.split(key)
    data = jax.random.permutation(key_order, jnp.concatenate([rows] * num_copies))
    noise = jax.vmap(ebm.sample_reference)(jax.random.split(key_noise, data.shape[0]))
    return Pairs(*map(jnp.asarray, pair(noise, data)))


class Fitted(NamedTuple):
    """What training has come to.

    Attributes:
        params: the best that was seen, as held-out rows judge.
        records: what was seen of every chunk of steps.
        is_lost: whether a loss was not finite, so that training ended there.
    """

    params: EBMParams
    records: list[dict[str, Any]]
    is_lost: bool


def fit(
    key: Key, stages: tuple[Stage, ...], params: EBMParams, rows: Rows, held_out: Rows, loop: Loop
) -> Fitted:
    """Run stages; where a loss is not finite, return what was best before, and say so."""
    records: list[dict[str, Any]] = []
    best, is_lost = params, False
    keys = [tuple(jax.random.split(one)) for one in jax.random.split(key, len(stages))]
    try:
        for now in run_stages(loop, stages, params, rows, held_out, keys):
            records += [] if now.is_end else [now.record]
            best = jax.tree.map(jnp.copy, now.params)  # the next chunk takes its arrays
    except NonFiniteLossError:
        is_lost = True
    return Fitted(best, records, is_lost)


def _level_loss(ebm: EBM, params: EBMParams, batch: Any) -> Array:
    """Return what the mean energy of rows costs. []."""
    rows = batch.data if isinstance(batch, Pairs) else batch
    return LEVEL_WEIGHT * jax.vmap(ebm.energy, (None, 0))(params.energy, rows).mean() ** 2


def _own_stage(
    name: str, ebm: EBM, loss: BatchLoss, pace: Pace, minds_level: bool = False
) -> Stage:
    """Return the stage of a loss by which it is also judged."""

    def stage_loss(key: Key, params: Any, batch: Any, held_out: Any, memory: PyTree) -> Loss:
        level = 0.0 if minds_level else _level_loss(ebm, params, batch)
        return loss(key, params, batch) + level, ({}, memory)

    def evaluate(key: Key, params: Any, batch: Any, is_row: Array) -> Verdict:
        each = jax.vmap(lambda key, row: loss(key, params, jax.tree.map(lambda x: x[None], row)))
        values = each(jax.random.split(key, is_row.shape[0]), batch)
        return verdict(-jnp.mean(values, where=is_row))

    return Stage(name, stage_loss, evaluate, pace, _energy, _with_energy, decayed=_decayed(pace))


def _chain_stage(
    name: str, ebm: EBM, settings: Settings, pace: Pace, lines: BatchLoss | None = None
) -> Stage:
    """Return the stage of the energy gap, with lines of transport beside it if there are any."""
    is_persistent = name != "cd"

    def loss(key: Key, params: Any, batch: Any, held_out: Any, memory: Memory) -> Loss:
        key_chains, key_lines = jax.random.split(key)
        rows = batch.data if lines is not None else batch
        fixed = jax.lax.stop_gradient(params)
        drawn = negatives.draw_negatives(key_chains, ebm, fixed, rows, memory, settings.chains)
        energy_fn = functools.partial(ebm.energy, params.energy)
        gap = jax.vmap(functools.partial(contrast, energy_fn))(rows, drawn.negatives).mean()
        info = {"energy_gap": gap, **drawn.info}
        kept = negatives.remember_gap(drawn.memory, jax.lax.stop_gradient(gap))
        value = gap + _level_loss(ebm, params, rows)
        if lines is None:
            return value, (info, kept)
        along = lines(key_lines, params, batch)
        return value + settings.line_weight * along, ({**info, "lines": along}, kept)

    return Stage(
        name,
        loss,
        functools.partial(JUDGES[settings.judge], ebm),
        pace,
        _energy,
        _with_energy,
        init_memory=lambda key: negatives.init_memory(key, ebm, settings.chains, is_persistent),
        decayed=_decayed(pace),
        is_lost=lambda memory: ~(jnp.abs(memory.gap) <= settings.max_gap),
        advice="try a lower learning rate, more steps of the chains or a smaller bound",
    )


def _decayed(pace: Pace) -> tuple[str, ...]:
    """Return the pattern of what weight decay shrinks, the kernels, if there is any."""
    return ("kernel",) * len(pace.decays)


def _energy(params: EBMParams) -> PyTree:
    return params.energy


def _with_energy(params: EBMParams, energy: PyTree) -> EBMParams:
    return params._replace(energy=energy)


def _check(name: str, settings: Settings) -> None:
    _checks.check_choice("objective", name, OBJECTIVES)
    _checks.check_choice("judge", settings.judge, JUDGES)
    negatives.check_settings(settings.chains)
    _checks.check_positive("max_gap", settings.max_gap)
    _checks.check_whole("noise_ratio", settings.noise_ratio, 1)
    _checks.check_whole("num_directions", settings.num_directions, 1)
    if not settings.noise:
        raise ValueError("noise: expected at least one standard deviation, got none")
    for sigma in settings.noise:
        _checks.check_positive("noise", sigma)
    _checks.check_positive("temperature", settings.temperature)
    _checks.check_between("warm_up", settings.warm_up, 0.0, 1.0)
    _checks.check_at_least("line_weight", settings.line_weight, 0.0)
    _checks.check_at_least("data_noise", settings.data_noise, 0.0)
