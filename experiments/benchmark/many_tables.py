"""A base fitted to many tables of one shape at once, and its draws of their rows."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import Config, data, devices, models, tilted
from mnar_ebm.inference import imputation
from mnar_ebm.tilted import stages
from mnar_ebm.training import chunks
from mnar_ebm.training.plan import pad_rows
from mnar_ebm.training.stage import Stage
from mnar_ebm.types import Array, Batch, Key, PyTree


class Fitter:
    """Fits the base of one config to many tables of one shape at once: ``vmap`` over the tables."""

    def __init__(self, config: Config, num_columns: int):
        """Make the model and its stage."""
        facts = tilted.TableFacts(
            tuple(f"x{index}" for index in range(num_columns)),
            data.Standardiser.identity(num_columns),
            np.full(num_columns, 0.5, np.float32),
            (),
        )
        self._config = config
        self._model = tilted.make_fitted(config, facts).model

    def init(self, key: Key, mask: np.ndarray) -> models.Params:
        """Return fresh parameters for every table. [T, ...]."""
        least = 0.5 / mask.shape[1]
        missing_rate = jnp.clip(1.0 - mask.mean(axis=1), least, 1.0 - least).astype(jnp.float32)
        keys = jax.random.split(key, len(mask))
        return jax.vmap(lambda key, rate: models.init_params(key, self._model, rate))(
            keys, missing_rate
        )

    def fit(
        self, key: Key, params: PyTree, x: np.ndarray, mask: np.ndarray, num_steps: int
    ) -> models.Params:
        """Return the parameters of every table after that many steps. [T, ...]."""
        config = self._config.replace(num_steps=num_steps)
        (stage,) = stages.make_stages(config, self._model)
        steps = jnp.arange(num_steps)
        settings = stages.make_loop(config)
        chunk = chunks.make_chunk(settings, stage, devices.data_mesh())

        def fit_one(key: Key, params: models.Params, x: Array, mask: Array) -> models.Params:
            state = chunks.init_state(stage, params, key)
            rows, nothing = (pad_rows(Batch(x[:n], mask[:n])).batch for n in (len(x), 0))
            plan, rates = (
                chunks.plan_steps(settings, key, steps, len(x), 0),
                stage.pace.rates(steps),
            )
            state, _ = chunk.run(
                state, params, rows, nothing, plan, rates, num_steps, stage.pace.decays
            )
            return stage.merge(params, state.average)

        keys = jax.random.split(key, len(x))
        return _cached_vmap(config, stage, fit_one)(keys, params, jnp.asarray(x), jnp.asarray(mask))

    def draw(
        self, key: Key, params: PyTree, x: np.ndarray, mask: np.ndarray, num_imputations: int
    ) -> np.ndarray:
        """Return draws of the rows of every table. [T, N, M, D]."""
        keys = jax.random.split(key, len(x))
        arrays = (keys, params, jnp.asarray(x), jnp.asarray(mask))
        num_samples = self._config.num_imputation_samples
        return np.asarray(_draw(self._model, num_samples, num_imputations, arrays))


_PROGRAMS: dict[Any, Any] = {}


def _cached_vmap(config: Config, stage: Stage, function: Any) -> Any:
    """Return the jitted vmap of a fit; the same one for equal settings, to compile once."""
    return _PROGRAMS.setdefault((config, stage), jax.jit(jax.vmap(function)))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _draw(model: models.Model, num_samples: int, num_imputations: int, arrays: PyTree) -> Array:
    def draw_table(table: PyTree) -> Array:
        key, params, x, mask = table

        def draw_row(key: Key, x: Array, mask: Array) -> Array:
            return imputation.impute_row(
                key, model, params, x, mask, num_samples, num_imputations
            ).draws

        return jax.vmap(draw_row)(jax.random.split(key, len(x)), x, mask)

    return jax.lax.map(draw_table, arrays)
