"""A trained model and what is needed to use it on rows in their original units."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks, inference, kinds
from mnar_ebm.config import Config
from mnar_ebm.data import reasons
from mnar_ebm.data.table import Table
from mnar_ebm.inference import Imputation, Samples
from mnar_ebm.memory import check_memory
from mnar_ebm.missingness import not_asked
from mnar_ebm.models import Model, Params, init_params, make_model, without_tilt
from mnar_ebm.negative_phases import NEGATIVE_PHASES
from mnar_ebm.settings import SLOPES
from mnar_ebm.tilted.facts import TableFacts
from mnar_ebm.types import Array, Batch


class FittedModel(NamedTuple):
    """A trained model: settings, facts of its table, pure functions and parameters.

    It can be pickled: the functions follow from settings and facts, and are made anew.
    """

    config: Config
    facts: TableFacts
    model: Model
    params: Params

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out the functions, which cannot be pickled."""
        return restore, (self.config, self.facts, jax.tree.map(np.asarray, self.params))

    def base(self) -> "FittedModel":
        """Return the same model without its tilt."""
        params = self.params._replace(energy={}, log_z=jnp.zeros(()))
        config = self.config.replace(tilt="none")
        facts = self.facts._replace(second_energy="")
        return FittedModel(config, facts, without_tilt(self.model), params)

    def in_space(self, tilt: str) -> "FittedModel":
        """Return the base with a fresh energy, 0 as yet, of another space: one of ``TILTS``."""
        config = self.config.replace(tilt=tilt)
        fresh = make_fitted(config, self.facts._replace(second_energy=""))
        params = fresh.params._replace(base=self.params.base, mechanism=self.params.mechanism)
        return fresh._replace(params=params)

    def without_mechanism(self) -> "FittedModel":
        """Return the same p(x), for rows whose gaps say nothing of what they hide."""
        config = self.config.replace(mechanism="none", gap_terms=False, own_slopes=())
        return restore(config, self.facts, self.params._replace(mechanism={}))

    def without_second(self) -> "FittedModel":
        """Return the same model without its second energy."""
        if not self.facts.second_energy:
            return self
        terms = self.params.energy
        params = self.params._replace(
            energy=terms["first"], tilt_scale=terms["scales"][0], log_z=terms["first_log_z"]
        )
        return restore(self.config, self.facts._replace(second_energy=""), params)

    def standardise(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows in standard units with 0 in missing cells, and their mask. [N, D].

        What was not asked holds the mark of ``missingness.not_asked``.
        """
        mask, empty = ~np.isnan(x), np.where(reasons.is_not_asked(x), not_asked.MARK, 0.0)
        x = np.where(mask, self.facts.standardiser.apply(x), empty)
        with np.errstate(over="ignore"):  # a value too far out has no density, which is told
            return x.astype(np.float32), mask

    def impute(
        self,
        x: np.ndarray,
        *,
        num_imputations: int = 0,
        num_samples: int | None = None,
        seed: int = 0,
        is_most: bool = False,
    ) -> Imputation:
        """Impute rows in their original units; new rows are as good as old ones.

        Args:
            x: rows with NaN in missing cells, which may tell reasons (``data.reasons``); a row may
                be all missing. [N, D]
            num_imputations: M, draws of the completed row, beside its mean.
            num_samples: K, importance samples for each row; the config's by default.
            seed: of the draws. A row's answer depends on the seed and on the row alone, but for
                the draws of equal rows, which are independent.
            is_most: whether K is only the most: draws that are proposed at the mode end once their
                effective number is ``inference.imputation.ENOUGH_SAMPLES``.

        Returns:
            The imputation in original units, float64; observed cells are ``x``, bit for bit. The
            mean of a discrete column is the probability of each level; a draw is a level.

        Raises:
            TypeError: ``x`` is not numeric.
            ValueError: ``x`` has another number of columns than the training table, or holds
                an infinite value, or a discrete column is not encoded, or a row is so far from
                those that were fitted to that float32 has no density for it.
        """
        x = _checks.check_table("x", x, len(self.facts.columns), self.facts.columns)
        kinds.check_encoded("x", x, self.facts.columns, self.facts.blocks)
        check_memory({"num_imputations": 8.0 * x.size * num_imputations})
        standard, mask = self.standardise(x)
        imputed = inference.impute(
            jax.random.key(seed),
            self.model,
            self.params,
            standard,
            mask,
            num_samples=self.config.num_imputation_samples if num_samples is None else num_samples,
            num_imputations=num_imputations,
            bend=self.facts.standardiser.bend,
            is_most=is_most,
        )
        self._check_bounds(imputed.bound, x, standard)
        standardiser, cut = self.facts.standardiser, self.facts.beside_atoms
        mean, draws = (
            standardiser.straight().invert(imputed.mean),
            standardiser.invert(imputed.draws),
        )
        return imputed._replace(
            mean=np.where(mask, x, cut(mean)),
            draws=np.where(mask[:, None], x[:, None], cut(draws)),
        )

    def _check_bounds(self, bound: np.ndarray, x: np.ndarray, standard: np.ndarray) -> None:
        """Raise ``ValueError`` for the first row without a density. [N], [N, D], [N, D]."""
        is_lost = ~np.isfinite(bound)
        if is_lost.any():
            row = int(np.argmax(is_lost))
            column = int(np.argmax(np.abs(standard[row])))
            raise ValueError(
                f"x: expected rows that the model gives a density, got {x[row, column]:g} in row "
                f"{row}, column {self.facts.columns[column]!r}, whose values are about "
                f"{self.facts.standardiser.mean[column]:.3g}, by "
                f"{self.facts.standardiser.scale[column]:.3g} more or less"
            )

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations of q(z|x_obs, s) of rows. [N, L] each.

        Args:
            x: rows in their original units, NaN where missing. [N, D]

        Raises:
            TypeError: ``x`` is not numeric.
            ValueError: ``x`` has another number of columns than the training table, or the model
                has no encoder.
        """
        if self.model.vae.encode is None:
            raise ValueError("proposal: expected a model with an encoder, got one of 'laplace'")
        x = _checks.check_table("x", x, len(self.facts.columns), self.facts.columns)
        loc, scale = _encode(self.model, self.params, *self.standardise(x))
        return np.asarray(loc), np.asarray(scale)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return E[x|z] of latents, in original units. [N, L] -> [N, D]."""
        mean = np.asarray(_decode(self.model, self.params, jnp.asarray(z)), np.float64)
        return self.facts.beside_atoms(self.facts.standardiser.invert(mean))

    def sample(self, num_samples: int, *, seed: int = 0, **settings: Any) -> Samples:
        """Draw rows of the tilted model, in original units: the population, not who answered.

        Args:
            num_samples: N.
            seed: of the draws.
            **settings: as in ``inference.sample``: ``method`` (by default weights, or chains where
                few base draws carry the weight), ``num_proposals``, ``num_chains``, ...

        Raises:
            ValueError: as ``inference.sample``.
        """
        key = jax.random.key(seed)
        samples = inference.sample(key, self.model, self.params, num_samples, **settings)
        x = self.facts.standardiser.invert(np.asarray(samples.x, np.float64))
        return samples._replace(x=self.facts.beside_atoms(x))


def check_sizes(config: Config, facts: TableFacts) -> None:
    """Raise ``ValueError`` if a setting is of a size that no memory here has room for.

    Of each the least that it takes is counted, in float32: parameters with their gradient and the
    optimiser's two moments, and what importance samples, negatives and a replay buffer hold.
    """
    settings, num_columns = config.model, len(facts.columns)
    sizes, negatives = config.optimisation, config.negatives
    width = settings.latent_dim + num_columns
    widest = max(settings.hidden_dim, *settings.widths)
    has_negatives = settings.tilt != "none"
    is_linear = settings.decoder == "linear" and settings.proposal == "laplace"
    has_hidden = has_negatives or not is_linear
    has_buffer = has_negatives and NEGATIVE_PHASES[negatives.negative_phase].is_persistent
    rows = sizes.batch_size * width
    floats = {
        "latent_dim": 4.0 * settings.latent_dim * min(num_columns, widest),
        "hidden_dim": 4.0 * widest * (widest + width) * has_hidden,
        "batch_size": rows,
        "num_importance_samples": float(rows) * sizes.num_importance_samples,
        "num_negatives": float(width) * negatives.num_negatives * has_negatives,
        "replay_size": float(width) * negatives.replay_size * has_buffer,
    }
    check_memory({name: 4.0 * number for name, number in floats.items()})


def make_fitted(config: Config, facts: TableFacts) -> FittedModel:
    """Return the model of ``config`` for such a table, with fresh parameters."""
    model = _make_model(config, facts)
    key, missing_rate = jax.random.key(config.seed), jnp.asarray(facts.missing_rate)
    slope = SLOPES.get(config.optimisation.slope_start, 0.0) * jnp.asarray(
        config.model.own_slopes or 1.0
    )
    return FittedModel(config, facts, model, _init_params(key, model, missing_rate, slope))


def _make_model(config: Config, facts: TableFacts) -> Model:
    return make_model(
        config.model,
        len(facts.columns),
        facts.observed_columns,
        facts.blocks,
        facts.atom_side,
        facts.second_energy,
    )


def make_batch(fitted: FittedModel, x: np.ndarray, unbiased: Table | None = None) -> Batch:
    """Return rows in standard units, and after them the unbiased ones, if there are any.

    These are repeated until they make up at least ``unbiased_share`` of all: where a base has at
    least half of the density of the population, the weights of a tilt to it are at most 2.
    """
    if unbiased is None:
        x, mask = fitted.standardise(x)
        return Batch(jnp.asarray(x), jnp.asarray(mask))
    odds = fitted.config.unbiased.unbiased_share / (1.0 - fitted.config.unbiased.unbiased_share)
    num_copies = max(1, math.ceil(odds * len(x) / len(unbiased.x)))
    is_selected = np.arange(len(x) + num_copies * len(unbiased.x)) < len(x)
    x, mask = fitted.standardise(np.concatenate([x, *[unbiased.x] * num_copies]))
    return Batch(jnp.asarray(x), jnp.asarray(mask), jnp.asarray(is_selected))


def restore(config: Config, facts: TableFacts, params: Params) -> FittedModel:
    """Return the model of ``config`` with parameters that it was given before."""
    model = _make_model(config, facts)
    return FittedModel(config, facts, model, params)


@functools.partial(jax.jit, static_argnums=0)
def _encode(model: Model, params: Params, x: Array, mask: Array) -> tuple[Array, Array]:
    assert model.vae.encode is not None
    return jax.vmap(functools.partial(model.vae.encode, params.base))(x, mask)


@functools.partial(jax.jit, static_argnums=0)
def _decode(model: Model, params: Params, z: Array) -> Array:
    return model.vae.likelihood.mean(model.vae.decode(params.base, z))


_init_params = jax.jit(init_params, static_argnums=1)
