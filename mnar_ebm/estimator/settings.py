"""The ``Config`` of an imputer's parameters and of the size of its table."""

import numbers
from typing import Any

from mnar_ebm import _checks
from mnar_ebm.config import Config, settings_by_group
from mnar_ebm.data.table import Table
from mnar_ebm.settings import MECHANISMS, TILTS, ModelSettings

SMALL_TABLE = 200
"""Rows below which a small network does."""

DECODERS = ("linear", "linear_mlp")
"""Decoders to choose from, the simplest first."""

STRAIGHT = "linear with straight columns"
"""What a linear decoder is called whose columns are not bent, where others are compared with it."""

FEWEST_ROWS = 20
"""Rows below which no deep decoder is tried."""

DEFAULTS = {
    "validation_fraction": 0.2,
    "likelihood": "two_part",
    "slope_start": "best",
    "energy_bound": 2.0,
    "standardise": "yeo_johnson",  # under a mechanism that reads no hidden value
}
"""Fields of ``Config`` that are the same for every table, unless ``settings`` names them."""

OWN = ("mechanism", "tilt", "num_steps", "tilt_steps", "num_imputation_samples", "seed")
"""Fields that parameters of the imputer have names for."""


def check_parameters(imputer: Any) -> None:
    """Raise the ``TypeError`` or ``ValueError`` of the first parameter that is not as expected."""
    if not isinstance(imputer.missing_values, numbers.Real):
        raise TypeError(f"missing_values: expected NaN or a number, got {imputer.missing_values!r}")
    _checks.check_choice("mechanism", imputer.mechanism, ("auto", *MECHANISMS))
    _checks.check_choice("tilt", imputer.tilt, TILTS)
    _checks.check_choice("handle_unknown", imputer.handle_unknown, ("error", "missing"))
    _checks.check_choice("two_valued", imputer.two_valued, ("binary", "numeric"))
    for name in ("sample_posterior", "add_indicator", "keep_empty_features"):
        _checks.check_type(name, getattr(imputer, name), bool)
    for name in ("max_iter", "num_models", "num_samples"):
        _checks.check_whole(name, getattr(imputer, name), 1)


def make_config(imputer: Any, table: Table) -> Config:
    """Return the settings of a fit; ``settings`` of the imputer override the sizes chosen here.

    Raises:
        TypeError: ``settings`` is not a dict.
        ValueError: it has a key that is no field of ``Config`` or that is set otherwise, or
            holds no row out.
    """
    settings = {} if imputer.settings is None else imputer.settings
    if not isinstance(settings, dict):
        raise TypeError(f"settings: expected a dict, got {type(settings).__name__}")
    known = [name for name in settings_by_group() if name not in OWN]
    for name in settings:
        if name not in known:
            raise ValueError(f"settings: expected some of {', '.join(known)}, got {name!r}")
    # Without held-out rows there is nothing to compare mechanisms on.
    _checks.check_between(
        "validation_fraction", (DEFAULTS | settings)["validation_fraction"], 0.01, 0.5
    )
    is_small, is_open = len(table.x) < SMALL_TABLE, imputer.mechanism == "auto"
    sizes = {
        "hidden_dim": 32 if is_small else 128,
        "batch_size": 32 if is_small else 128,
    }
    return Config(
        **{
            **sizes,
            **DEFAULTS,
            **settings,
            "mechanism": "mcar" if is_open else imputer.mechanism,  # until one is taken
            "tilt": imputer.tilt,
            "num_steps": imputer.max_iter,
            "tilt_steps": -(-imputer.max_iter // 3),
            "num_imputation_samples": imputer.num_samples,
            "seed": imputer._seed,
        }
    )


def decoders(imputer: Any, table: Table) -> dict[str, dict[str, Any]]:
    """Return the decoders to choose from, the simplest first, with the settings that go with each.

    It is the one that was asked for, if any; else only ``auto`` chooses, where there are columns
    that a curve may connect and rows that may show it. The simplest is a linear one of straight
    columns: a few values far out, which a bend would follow, are no shape.
    """
    settings = imputer.settings or {}
    asked = settings.get("decoder")
    names = (asked,) if asked is not None else DECODERS
    has_few = len(table.x) < FEWEST_ROWS or _num_columns(table) == 1
    if imputer.mechanism != "auto" or has_few:
        names = names[:1]
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        own = _without_encoder(imputer, table) if name == "linear" else {}
        if settings.get("decoder_scale") == "per_latent" or settings.get("proposal") == "encoder":
            own = {}
        own = {field: value for field, value in own.items() if field not in settings}
        if len(names) > 1 and name == names[0] and "standardise" not in settings:
            found[STRAIGHT] = {"decoder": name, "standardise": "observed"} | own
        found[name] = {"decoder": name} | own
    return found


def _without_encoder(imputer: Any, table: Table) -> dict[str, Any]:
    """Return the settings of a linear decoder: no encoder has to follow it, so steps are large."""
    return {
        "proposal": "laplace",
        "latent_dim": min(ModelSettings.latent_dim, max(1, _num_columns(table) - 1)),
        "learning_rate": 0.03,
        "num_importance_samples": 5,
        "slope_precision": 4.0,
        "num_steps": -(-imputer.max_iter // 2),
    }


def _num_columns(table: Table) -> int:
    return len(table.blocks) or len(table.columns)
