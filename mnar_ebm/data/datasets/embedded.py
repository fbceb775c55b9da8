"""Complete tables that scikit-learn carries, masked by the benchmark protocol."""

from sklearn import datasets

from mnar_ebm.data.table import Table, benchmark_table

LOADERS = {
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": lambda: datasets.load_diabetes(scaled=False),
    "digits": datasets.load_digits,
}


def load(name: str) -> Table:
    """Return the features of one of :data:`LOADERS` in their original units."""
    bunch = LOADERS[name]()
    return benchmark_table(name, map(str, bunch.feature_names), bunch.data)
