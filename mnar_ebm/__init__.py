"""Energy-tilted variational autoencoders for data missing not at random.

Attributes are imported when first used, so that ``from mnar_ebm import samplers`` needs jax and
chex alone.
"""

import importlib
from typing import Any

from mnar_ebm import moved

__version__ = "0.1.0"

_MODULES = (
    "data",
    "debiasing",
    "diagnostics",
    "estimator",
    "inference",
    "metrics",
    "models",
    "objectives",
    "samplers",
    "tilted",
    "training",
)
_NAMES = {
    "Config": "mnar_ebm.config",
    "FittedModel": "mnar_ebm.tilted",
    "MNARImputer": "mnar_ebm.estimator",
    "cache_compilations": "mnar_ebm.compilation",
    "check": "mnar_ebm.run",
    "load": "mnar_ebm.run",
    "train": "mnar_ebm.run",
}

__all__ = [*_MODULES, *_NAMES]

moved.install()


def __getattr__(name: str) -> Any:
    if name in _MODULES or f"mnar_ebm.{name}" in moved.MODULES:
        return importlib.import_module(f"mnar_ebm.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'mnar_ebm' has no attribute {name!r}")
