"""Published imputation errors, to stand beside ours: Table 1 of the not-MIWAE paper, whole.

Mean and standard error of the RMSE over five runs, the first half of the columns missing where a
value is above its column's mean.

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not
    at Random Data", ICLR 2021, https://arxiv.org/abs/2006.12871, Table 1.
"""

DATASETS = ("banknote", "concrete", "red", "white", "yeast", "breast")

_ROWS = {
    "PPCA": "1.39 0.00  1.61 0.00  1.61 0.00  1.57 0.00  1.67 0.00  0.90 0.00",
    "not-MIWAE-PPCA, agnostic": "1.25 0.15  1.47 0.01  1.32 0.00  1.27 0.01  1.20 0.05  0.78 0.00",
    "not-MIWAE-PPCA, self-masking": (
        "0.57 0.00  1.31 0.00  1.13 0.00  0.99 0.00  0.78 0.00  0.72 0.00"
    ),
    "not-MIWAE-PPCA, self-masking known": (
        "0.57 0.00  1.31 0.00  1.13 0.00  0.99 0.00  0.77 0.00  0.72 0.00"
    ),
    "MIWAE": "1.19 0.01  1.66 0.01  1.62 0.01  1.55 0.01  1.72 0.01  1.20 0.01",
    "not-MIWAE, agnostic": "0.80 0.08  2.63 0.12  1.30 0.01  1.37 0.00  1.43 0.02  1.10 0.01",
    "not-MIWAE, self-masking": "1.88 0.85  1.26 0.02  1.08 0.02  1.04 0.01  1.48 0.03  0.74 0.01",
    "not-MIWAE, self-masking known": (
        "0.74 0.05  1.12 0.04  1.07 0.00  1.04 0.00  1.38 0.02  0.76 0.01"
    ),
    "low-rank joint model": "0.79 0.02  1.57 0.01  1.42 0.01  1.39 0.01  1.19 0.00  1.22 0.01",
    "missForest": "1.28 0.00  1.76 0.01  1.64 0.00  1.63 0.00  1.66 0.00  1.57 0.00",
    "MICE": "1.41 0.00  1.70 0.00  1.68 0.00  1.41 0.00  1.72 0.00  1.17 0.00",
    "mean": "1.73 0.00  1.85 0.00  1.83 0.00  1.74 0.00  1.69 0.00  1.82 0.00",
}


def _pairs(row: str) -> dict[str, tuple[float, float]]:
    numbers = [float(number) for number in row.split()]
    return dict(zip(DATASETS, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


TABLE_1 = {method: _pairs(row) for method, row in _ROWS.items()}
"""By method and data set: mean and standard error of the RMSE."""


def best(dataset: str) -> float:
    """Return the smallest error of the whole table on a data set."""
    return min(row[dataset][0] for row in TABLE_1.values())


def _beside(dataset: str) -> dict[str, float]:
    """Return what stands beside each row of a run's report.

    Beside ``base`` is the not-MIWAE with self-masking of unknown sign, the better of the deep and
    the PPCA one; beside ``tilted`` the best of the table.
    """
    self_masking = ("not-MIWAE, self-masking", "not-MIWAE-PPCA, self-masking")
    return {
        "mean": TABLE_1["mean"][dataset][0],
        "iterative": TABLE_1["MICE"][dataset][0],
        "base": min(TABLE_1[method][dataset][0] for method in self_masking),
        "tilted": best(dataset),
    }


NAMES = {"breast_cancer": "breast"} | {dataset: dataset for dataset in DATASETS}
"""By data set of ours: its name in the table."""

RMSE = {ours: _beside(theirs) for ours, theirs in NAMES.items()}
"""By data set of ours: the published error to put beside each row of a run's report."""
