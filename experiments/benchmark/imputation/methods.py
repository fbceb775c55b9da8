"""The methods: ours, each by a flag file of configs/table1, and the others by a function."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import mnar_ebm
from experiments import settings
from experiments.benchmark.imputation import peers
from mnar_ebm import Config, MNARImputer, data, tilted
from mnar_ebm.estimator.settings import DEFAULTS, OWN
from mnar_ebm.models import Model
from mnar_ebm.types import Array, DecoderOutput, PyTree


class Options(NamedTuple):
    """What the command line says to all methods.

    Attributes:
        data_dir: folder with the source files of named data sets.
        num_imputations: M, draws of each row, at least 2.
    """

    data_dir: str | None
    num_imputations: int


class Completed(NamedTuple):
    """What a method makes of a table.

    Attributes:
        mean: the completed table. [N, D]
        draws: multiple imputations, if the method has them. [N, M, D]
        bound: mean bound of at most 1024 held-out rows, or of all if none are; in nats a row.
    """

    mean: np.ndarray
    draws: np.ndarray | None = None
    bound: float | None = None


class Method(NamedTuple):
    """A method of the benchmark.

    Attributes:
        run: ``(name, table, seed, options) -> {label: Completed}``.
        published: the row of Table 1 that it repeats, if it does.
    """

    run: Callable[[str, data.Table, int, Options], dict[str, Completed]]
    published: str | None = None


OURS = {
    "paper_ppca_ignorable": "PPCA",
    "paper_ppca_agnostic": "not-MIWAE-PPCA, agnostic",
    "paper_ppca_unknown": "not-MIWAE-PPCA, self-masking",
    "paper_ppca": "not-MIWAE-PPCA, self-masking known",
    "paper_deep_ignorable": "MIWAE",
    "paper_deep_agnostic": "not-MIWAE, agnostic",
    "paper_deep_unknown": "not-MIWAE, self-masking",
    "paper_deep": "not-MIWAE, self-masking known",
    "agnostic": None,
    "recommended": None,
}
"""By name of a flag file in configs/table1: the row of Table 1 that it repeats."""


def make_config(name: str, num_columns: int) -> Config:
    """Return the config of one of ours; the paper's have one latent less than columns."""
    config = settings.config_from_flagfile(f"table1/{name}.cfg")
    if name.startswith("paper_"):
        config = config.replace(latent_dim=num_columns - 1)
    return config


def run_ours(name: str, table: data.Table, seed: int, options: Options) -> dict[str, Completed]:
    """Train and impute; of a tilted model, the base stands beside it."""
    config = make_config(name, len(table.columns)).replace(seed=seed)
    fitted, report = mnar_ebm.train(config, table)
    models = {name: (fitted, report.bound_tilted)}
    if config.model.tilt != "none":
        models[f"{name}_base"] = (fitted.base(), report.bound_base)
    completed = {}
    for label, (model, bound) in models.items():
        imputed = model.impute(table.x, num_imputations=options.num_imputations, seed=seed)
        is_paper = name.startswith("paper_")
        mean = mean_of_decoder_means(model, table.x, seed=seed) if is_paper else imputed.mean
        completed[label] = Completed(mean, imputed.draws, bound)
    return completed


def mean_of_decoder_means(fitted: tilted.FittedModel, x: np.ndarray, **settings: int) -> Array:
    """Return rows completed by the weighted average of E[x|z_k], as the paper's code does. [N, D].

    The weights depend on the missing values that were drawn, which this mean ignores: an
    approximation to the posterior mean that the library itself does not make.

    Args:
        fitted: the model.
        x: rows, NaN where missing. [N, D]
        settings: of ``FittedModel.impute``.
    """
    return fitted._replace(model=_averages_decoder_means(fitted.model)).impute(x, **settings).mean


@functools.lru_cache(maxsize=16)
def _averages_decoder_means(model: Model) -> Model:
    """Return the model with the decoder's mean for that of the mechanism: no draws come of it."""
    likelihood = model.vae.likelihood

    def mean(params: PyTree, eta: DecoderOutput, x: Array, mask: Array, z: Array) -> Array:
        del params, z
        return jnp.where(mask, x, likelihood.mean(eta))

    return model._replace(mechanism=model.mechanism._replace(mean=mean))


def _peer(function: Callable[..., np.ndarray], published: str | None = None) -> Method:
    def run(name: str, table: data.Table, seed: int, options: Options) -> dict[str, Completed]:
        return {name: Completed(function(table, seed))}

    return Method(run, published)


def _run_miceforest(
    name: str, table: data.Table, seed: int, options: Options
) -> dict[str, Completed]:
    draws = peers.miceforest(table, seed, options.num_imputations)
    return {name: Completed(draws.mean(axis=1), draws)}


def _run_notmiwae(
    name: str, table: data.Table, seed: int, options: Options
) -> dict[str, Completed]:
    config = make_config("paper_deep", len(table.columns))
    return {name: Completed(peers.notmiwae_pytorch(table, seed, config))}


def run_imputer(name: str, table: data.Table, seed: int, options: Options) -> dict[str, Completed]:
    """Impute as ``MNARImputer`` does by its defaults: it finds out why values are missing."""
    imputer = MNARImputer(random_state=seed).fit(table.x)
    draws = imputer.sample(table.x, options.num_imputations).swapaxes(0, 1)
    return {name: Completed(imputer.transform(table.x), draws)}


METHODS = {
    "mean": _peer(peers.mean, "mean"),
    "mice": _peer(peers.mice, "MICE"),
    "missforest": _peer(peers.missforest),
    "miceforest": Method(_run_miceforest),
    "limit": _peer(peers.limit),
    **{name: Method(run_ours, published) for name, published in reversed(OURS.items())},
    "imputer": Method(run_imputer),
    "notmiwae_pytorch": Method(_run_notmiwae, "not-MIWAE, self-masking known"),
}
"""By name, in the order in which they are run."""


def installed_peers() -> list[str]:
    """Return the methods that are not ours and whose packages are installed."""
    ours = (*OURS, "imputer")
    return [name for name in METHODS if name not in ours and peers.is_installed(name)]


def describe(name: str, options: Options) -> dict[str, Any]:
    """Return the settings that a result depends on, to know it again."""
    described: dict[str, Any] = {"num_imputations": options.num_imputations}
    if name == "imputer":
        chosen = (*OWN, "hidden_dim", "batch_size", "decoder")  # here or by the table
        fields = Config().flat()
        described |= {key: fields[key] for key in fields if key not in chosen}
        described |= {key: str(value) for key, value in MNARImputer().get_params().items()}
        described |= DEFAULTS
    flagfile = "paper_deep" if name == "notmiwae_pytorch" else name
    if flagfile in OURS:
        config = settings.config_from_flagfile(f"table1/{flagfile}.cfg")
        described |= config.flat()
        del described["seed"]
        if flagfile.startswith("paper_"):
            described["latent_dim"] = "columns - 1"
    return described
