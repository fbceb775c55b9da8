"""An imputer with scikit-learn's contract, on top of ``training``."""

from mnar_ebm.estimator.imputer import MNARImputer
from mnar_ebm.estimator.report import Candidate, Column, LevelColumn, Report

__all__ = ["Candidate", "Column", "LevelColumn", "MNARImputer", "Report"]
