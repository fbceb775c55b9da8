"""An energy-based model of a table's rows, as points or as images: settings and training."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from mnar_ebm._settings import setting
from mnar_ebm.data.table import Table
from mnar_ebm.models import ebm as models
from mnar_ebm.models.ebm import EBM, EBMParams
from mnar_ebm.recipes import ebm, run
from mnar_ebm.recipes.fitted import DensityConfig, Facts, FittedDensity, table_facts
from mnar_ebm.recipes.run import About, How
from mnar_ebm.training import pad_rows, run_folder
from mnar_ebm.training.run_folder import Record

SYSTEM = "ebm"

FEW_COLUMNS = 4
"""Most columns for which draws of the reference tell log Z well enough to judge by."""


@dataclasses.dataclass(frozen=True)
class Config(DensityConfig):
    """Settings of an energy and of its training."""

    objective: str = setting("pcd", "What is minimised.", choices=ebm.OBJECTIVES)
    energy_dim: int = setting(128, "Units in each of the energy's two hidden layers.", at_least=1)
    energy_bound: float = setting(200.0, "Largest absolute energy, in nats.", is_positive=True)
    noise_ratio: int = setting(4, "Draws of the reference for each row, of nce.", at_least=1)
    noise: float = setting(
        0.3, "Standard deviation of the noise of score_denoising.", is_positive=True
    )

    @property
    def settings(self) -> ebm.Settings:
        """What the objectives read."""
        return ebm.Settings(
            chains=self.chains,
            noise_ratio=self.noise_ratio,
            noise=(self.noise,),
            data_noise=self.data_noise,
        )

    @property
    def fitted_noise(self) -> float:
        """Standard deviation of the noise in the rows whose density is fitted."""
        return self.noise if self.objective == "score_denoising" else self.data_noise


def make_model(config: Config, num_features: int) -> EBM:
    """Return the functions of the model of so many columns."""
    reference = models.normal_reference((num_features,), config.reference_scale)
    if config.network == "mlp":
        return models.make_ebm(num_features, reference, config.energy_dim, config.energy_bound)
    network = config.images.network(config.network, num_features)
    return models.network_ebm(network, reference, config.energy_bound)


def train(
    config: Config, table: Table, workdir: str | pathlib.Path | None = None, **how: Any
) -> FittedDensity:
    """Train a density on the rows of a table; killed at any moment, it can go on.

    Args:
        config: settings.
        table: complete rows, or rows whose truth is known.
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        **how: resume, overwrite, report, should_stop (``run.How``).

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    facts, rows = table_facts(config, table)
    model = make_model(config, len(facts.columns))
    judge = "score" if len(facts.columns) > FEW_COLUMNS else "likelihood"
    settings = config.settings._replace(judge=judge)
    stages = ebm.make_stages(config.objective, model, settings, config.pace)
    parts: list[Any] = [jnp.asarray(rows[chosen]) for chosen in run.split_rows(config, len(rows))]
    if config.objective == "energy_matching":
        keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1))
        parts = [
            ebm.pair_with_reference(key, model, part) if len(part) else part
            for key, part in zip(keys, parts, strict=True)
        ]
    rows_train, held_out = map(pad_rows, parts)
    params = run.train(
        About(SYSTEM, config, facts.to_json(), run_folder.digest(rows)),
        stages,
        _start(config, facts),
        rows_train,
        held_out,
        How(workdir, **how),
        ema_decay=config.average_decay,
    )
    return FittedDensity(config, facts, params, model)


def _start(config: Config, facts: Facts) -> EBMParams:
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    return models.init_params(key, make_model(config, len(facts.columns)))


def load(workdir: str | pathlib.Path) -> FittedDensity:
    """Return the density of a finished run.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, or one of
            another system.
    """

    def describe(record: Record) -> tuple[Config, Facts]:
        return Config(**record["config"]), Facts.from_json(record["facts"])

    config, facts, params = run.load(workdir, SYSTEM, describe, _start)
    return FittedDensity(config, facts, params, make_model(config, len(facts.columns)))
