"""Samples of the tilted model, and how reliable they are."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks, diagnostics, models, samplers
from mnar_ebm.inference import chains
from mnar_ebm.inference.weights import sample_by_weights
from mnar_ebm.memory import check_memory
from mnar_ebm.models import Model, Params
from mnar_ebm.types import Array, Key

_FEWEST_DRAWS = 10  # of a chain: with fewer it cannot be told whether the chains agree


class Samples(NamedTuple):
    """Draws from the tilted model, and how good they are.

    Attributes:
        x: rows. [N, D]
        z: their latents. [N, L]
        method: how they were drawn.
        summary: of weights ``ess_fraction`` and ``pareto_k``; of chains what
            ``diagnostics.summarise`` tells of the worst column, and the mean ``step_size``.
        warnings: what is wrong with them, a line each.
    """

    x: Array | np.ndarray
    z: Array
    method: str
    summary: dict[str, float]
    warnings: list[str]


def sample(
    key: Key,
    model: Model,
    params: Params,
    num_samples: int,
    *,
    method: str = "auto",
    num_proposals: int = 100_000,
    space: str | None = None,
    num_chains: int = 50,
    num_steps: int = 500,
    thin: int = 20,
    step_size: float | None = None,
    temperature: float = 1.0,
) -> Samples:
    """Draw from the tilted model.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        num_samples: N.
        method: ``snis``, base draws chosen by their weights; ``ula``, ``mala`` or ``hmc``, chains;
            ``auto``: weights, or ``mala`` where few base draws carry the weight and the values
            that a tilt reads are continuous.
        num_proposals: base draws that weights choose from, at least N of them.
        space: where chains run, ``latent``, ``data`` or ``noise``; by default the latent for a
            tilt of the latent alone, else noise.
        num_chains: at most one for each row.
        num_steps: in which a chain adapts, and as many again before its first draw.
        thin: steps from one draw to the next.
        step_size: of chains; by default 0.01 for ``ula``, adapted for the others.
        temperature: of ``ula``; other than 1 it samples another model.

    Raises:
        ValueError: as ``sample_by_chains``; or the method is unknown, a number is below 1, or
            weights are asked for at a temperature.
    """
    _checks.check_choice("method", method, ("auto", "snis", *chains.METHODS))
    counts = {"num_samples": num_samples, "num_chains": num_chains, "num_proposals": num_proposals}
    for name, count in counts.items():
        _checks.check_at_least(name, count, 1)
    width = 4.0 * (model.vae.latent_dim + model.vae.num_features)  # bytes of a draw
    check_memory({"num_samples": width * num_samples})
    if method in ("auto", "snis"):
        check_memory({"num_proposals": width * num_proposals})
    if method in ("auto", "snis") and temperature != 1.0:
        raise ValueError(f"temperature: expected 1 for {method}, got {temperature}")
    warnings = []
    if method in ("auto", "snis"):
        drawn = _by_weights(key, model, params, num_samples, max(num_proposals, num_samples))
        if not drawn.warnings or not _can_run_chains(model):
            return drawn
        if method == "snis":
            advice = [f"{warning}: sample by chains" for warning in drawn.warnings]
            return drawn._replace(warnings=advice)
        method = "mala"
        warnings = [f"{warning}, so chains ran instead" for warning in drawn.warnings]
    drawn = _by_chains(
        key,
        model,
        params,
        num_samples,
        num_chains=min(num_chains, num_samples),
        method=method,
        space=space or ("noise" if model.tilt.reads_x else "latent"),
        num_steps=num_steps,
        thin=thin,
        step_size=0.01 if method == "ula" and step_size is None else step_size,
        temperature=temperature,
    )
    return drawn._replace(warnings=warnings + drawn.warnings)


def _by_chains(
    key: Key,
    model: Model,
    params: Params,
    num_samples: int,
    *,
    num_chains: int,
    method: str,
    **settings: Any,
) -> Samples:
    """Return the chains' last draws, and how these converged in the worst column."""
    num_draws = max(_FEWEST_DRAWS, -(-num_samples // num_chains))
    samples = chains.sample_by_chains(
        key, model, params, num_chains, num_draws, method=method, **settings
    )
    energy = models.energy(model, params, samples.x, samples.z)
    summary = diagnostics.summarise({"x": samples.x, "energy": energy}, samples.info)
    summary["step_size"] = float(np.mean(samples.step_size))
    x, z = (
        jnp.swapaxes(draws, 0, 1).reshape(-1, draws.shape[-1])[-num_samples:]
        for draws in (samples.x, samples.z)
    )
    return Samples(x, z, method, summary, diagnostics.in_words(summary))


def _by_weights(
    key: Key, model: Model, params: Params, num_samples: int, num_proposals: int
) -> Samples:
    """Return base draws chosen by the tilt's weights, and what these are worth."""
    x, z, log_w = sample_by_weights(key, model, params, num_samples, num_proposals)
    summary = {"ess_fraction": float(samplers.effective_sample_size(log_w)) / num_proposals}
    pareto_k = diagnostics.pareto_k(log_w)
    if pareto_k > -np.inf:  # else the weights have no tail, or, if it is NaN, none that is told
        summary["pareto_k"] = pareto_k
    warnings = []
    if diagnostics.is_degenerate(**summary):
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in summary.items())
        warnings = [f"few base draws carry the tilt's weight ({numbers})"]
    return Samples(x, z, "snis", summary, warnings)


def _can_run_chains(model: Model) -> bool:
    """Return whether there is a space for chains: values that a tilt reads must be continuous."""
    return not model.tilt.reads_x or model.vae.likelihood.transport is not None
