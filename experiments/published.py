"""Published imputation errors, to stand beside ours.

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, Table 1: rows mean, MICE,
    not-MIWAE with self-masking (the better of the deep and the PPCA one), and the best of all.
"""

_TABLE_1 = {
    "banknote": {"mean": 1.73, "iterative": 1.41, "base": 0.57, "tilted": 0.57},
    "concrete": {"mean": 1.85, "iterative": 1.70, "base": 1.26, "tilted": 1.12},
    "red": {"mean": 1.83, "iterative": 1.68, "base": 1.08, "tilted": 1.07},
    "breast": {"mean": 1.82, "iterative": 1.17, "base": 0.72, "tilted": 0.72},
}

RMSE = _TABLE_1 | {"breast_cancer": _TABLE_1["breast"]}
"""By data set: the published error to put beside each of our rows."""
