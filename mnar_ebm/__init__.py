"""Energy-tilted variational autoencoders for data missing not at random.

Attributes are imported when first used, so that ``from mnar_ebm import samplers`` needs jax and
chex alone.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    "data",
    "diagnostics",
    "estimator",
    "imputation",
    "metrics",
    "models",
    "objectives",
    "samplers",
    "sampling",
    "targets",
)
_NAMES = {
    "Config": "mnar_ebm.config",
    "FittedModel": "mnar_ebm.training",
    "MNARImputer": "mnar_ebm.estimator",
    "cache_compilations": "mnar_ebm.compilation",
    "load": "mnar_ebm.training",
    "train": "mnar_ebm.training",
}

__all__ = [*_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"mnar_ebm.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'mnar_ebm' has no attribute {name!r}")
