"""How good an imputation is, on the cells that were missing and whose truth is known."""

import numpy as np


def imputation_rmse(imputed: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Return the root mean squared error over missing cells, each column in its own units.

        sqrt(mean_{missing (n, d)} ((imputed_nd - truth_nd) / sd_d)²)

    with sd_d the standard deviation of column d over all true values: the error on data that were
    standardised before cells were hidden, which is what published tables report.

    Args:
        imputed: completed rows, original units. [N, D]
        truth: complete rows, original units. [N, D]
        mask: ``True`` where observed. [N, D]

    Raises:
        ValueError: the shapes differ, or no cell is missing.

    References:
        N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, Table 1 and App. A.1.
    """
    if not imputed.shape == truth.shape == mask.shape:
        raise ValueError(
            "imputed, truth, mask: expected one shape, got "
            f"{imputed.shape}, {truth.shape}, {mask.shape}"
        )
    if mask.all():
        raise ValueError("mask: expected a missing cell, got none")
    scale = truth.std(axis=0)
    error = (imputed - truth) / np.where(scale > 0, scale, 1.0)
    return float(np.sqrt(np.mean(error[~mask] ** 2)))
