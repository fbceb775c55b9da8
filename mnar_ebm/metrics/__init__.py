"""Measures of all systems, one definition each: of imputations, of samples and of decisions."""

from mnar_ebm.metrics.decisions import Detection, calibration_error, detection
from mnar_ebm.metrics.imputation import (
    Pooled,
    crps,
    imputation_rmse,
    interval_coverage,
    pool,
)
from mnar_ebm.metrics.samples import (
    Neighbourhoods,
    frechet_distance,
    kernel_distance,
    neighbourhoods,
    total_variation,
)

__all__ = [
    "Detection",
    "Neighbourhoods",
    "Pooled",
    "calibration_error",
    "crps",
    "detection",
    "frechet_distance",
    "imputation_rmse",
    "interval_coverage",
    "kernel_distance",
    "neighbourhoods",
    "pool",
    "total_variation",
]
