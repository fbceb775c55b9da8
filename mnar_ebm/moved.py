"""Old names of modules and functions, found for one release with a ``DeprecationWarning``.

A pickle of an older version names modules, too: it loads as before.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any

MODULES = {
    "mnar_ebm.blocks": "mnar_ebm.kinds",
    "mnar_ebm.data.builders": "mnar_ebm.data.datasets.builders",
    "mnar_ebm.data.coat": "mnar_ebm.data.datasets.coat",
    "mnar_ebm.data.csv": "mnar_ebm.data.csv_files",
    "mnar_ebm.data.embedded": "mnar_ebm.data.datasets.embedded",
    "mnar_ebm.data.toys": "mnar_ebm.data.datasets.toys",
    "mnar_ebm.estimator.describe": "mnar_ebm.estimator.report.describe",
    "mnar_ebm.estimator.plot": "mnar_ebm.estimator.report.plot",
    "mnar_ebm.estimator.warnings": "mnar_ebm.estimator.report.cautions",
    "mnar_ebm.imputation": "mnar_ebm.inference.imputation",
    "mnar_ebm.logistic": "mnar_ebm.numerics.logistic",
    "mnar_ebm.normal": "mnar_ebm.numerics.normal",
    "mnar_ebm.row_blocks": "mnar_ebm.inference.rows",
    "mnar_ebm.sampling": "mnar_ebm.inference",
    "mnar_ebm.sampling.chains": "mnar_ebm.inference.chains",
    "mnar_ebm.sampling.choice": "mnar_ebm.inference.sampling",
    "mnar_ebm.sampling.weights": "mnar_ebm.inference.weights",
    "mnar_ebm.targets": "mnar_ebm.inference.targets",
    "mnar_ebm.training.all_rows": "mnar_ebm.tilted.all_rows",
    "mnar_ebm.training.clusters": "mnar_ebm.debiasing.clusters",
    "mnar_ebm.training.fitted": "mnar_ebm.tilted.fitted",
    "mnar_ebm.training.held_out": "mnar_ebm.tilted.held_out",
    "mnar_ebm.training.negatives": "mnar_ebm.tilted.negatives",
    "mnar_ebm.training.pace": "mnar_ebm.training.optimiser",
    "mnar_ebm.training.run": "mnar_ebm.run",
    "mnar_ebm.training.second_tilt": "mnar_ebm.debiasing.second_tilt",
    "mnar_ebm.training.stages": "mnar_ebm.tilted.stages",
    "mnar_ebm.training.start": "mnar_ebm.tilted.start",
    "mnar_ebm.training.tilt_scale": "mnar_ebm.tilted.tilt_scale",
    "mnar_ebm.training.unbiased": "mnar_ebm.debiasing.unbiased",
    "mnar_ebm.uniform": "mnar_ebm.numerics.uniform",
}
"""Where a user's code or an older pickle may look, and where that is now."""

NAMES = {
    "mnar_ebm.training": {
        "FittedModel": "mnar_ebm.tilted",
        "TiltReport": "mnar_ebm.tilted",
        "UnbiasedReport": "mnar_ebm.debiasing",
        "check": "mnar_ebm.run",
        "debias": "mnar_ebm.debiasing",
        "load": "mnar_ebm.run",
        "train": "mnar_ebm.run",
        "train_on_all_rows": "mnar_ebm.tilted",
        "train_on_bootstrap": "mnar_ebm.tilted",
    },
    "mnar_ebm.training.fitted": {
        "check_values": "mnar_ebm.tilted.facts",
        "table_facts": "mnar_ebm.tilted",
    },
}
"""Of a module, names that are now found in another."""


def find(module: str, name: str) -> Any:
    """Return what had a name in a module, and warn that it has moved.

    Raises:
        AttributeError: nothing of that name was there.
    """
    if f"{module}.{name}" in MODULES:
        return importlib.import_module(f"{module}.{name}")
    place = NAMES.get(module, {}).get(name)
    if place is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name}", f"{place}.{name}")
    return getattr(importlib.import_module(place), name)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} has moved to {new}", DeprecationWarning, stacklevel=3)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds old modules, when no module of that name is there any more."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of an old module; ``None`` of any other."""
        if fullname not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # of nothing

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return an empty module: the import system writes to what it is given."""
        return types.ModuleType(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill the module with all that the new one has."""
        new = MODULES[module.__name__]
        _warn(module.__name__, new)
        found = importlib.import_module(new)
        own = {name: value for name, value in vars(module).items() if name.startswith("__")}
        other = {"__getattr__": functools.partial(find, module.__name__)}
        vars(module).update({**vars(found), **own, **other})


def install() -> None:
    """Let the import system find old modules."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
