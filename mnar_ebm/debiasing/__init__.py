"""The second tilt, from the model of the selected rows to an unbiased sample of the population."""

from mnar_ebm.debiasing.unbiased import UnbiasedReport, check_unbiased, debias

__all__ = ["UnbiasedReport", "check_unbiased", "debias"]
