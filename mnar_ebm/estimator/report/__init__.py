"""What an imputer tells of a fit: the report, its warnings, and its figures."""

from mnar_ebm.estimator.report.report import Column, LevelColumn, Report

__all__ = ["Column", "LevelColumn", "Report"]
