"""An imputer with scikit-learn's contract, on top of ``training``."""

import functools

from mnar_ebm import moved
from mnar_ebm.estimator.imputer import MNARImputer
from mnar_ebm.estimator.report import Column, LevelColumn, Report
from mnar_ebm.estimator.sensitivity import Sensitivity, TippingPoints

__all__ = [
    "Column",
    "LevelColumn",
    "MNARImputer",
    "Report",
    "Sensitivity",
    "TippingPoints",
]

__getattr__ = functools.partial(moved.find, __name__)
