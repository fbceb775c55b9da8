"""Tables to train on, by name or from a file: CSV, a survey's, Parquet or Arrow.

Every named set is complete; :func:`load` hides cells by the protocol of
:func:`mask_above_mean` and keeps the complete values as ``truth``, of which :func:`hide` hides
others.
"""

import functools
import os
from collections.abc import Callable

from mnar_ebm import _checks, moved
from mnar_ebm.data.atoms import Atoms, find_atoms
from mnar_ebm.data.csv_files import (
    Csv,
    align,
    from_table,
    is_to_fill,
    long_table,
    read_csv,
    to_table,
    to_text,
)
from mnar_ebm.data.datasets import embedded, labelled, spins, toys
from mnar_ebm.data.masks import MASKS, hide, mask_above_mean
from mnar_ebm.data.row_files import (
    completed_frame,
    from_frame,
    left_out,
    read_rows,
    split_marked,
    write_completed,
)
from mnar_ebm.data.surveys import Survey, read_survey, write_survey
from mnar_ebm.data.table import (
    Standardiser,
    Table,
    benchmark_table,
    follow_up,
    make_table,
)

__all__ = [
    "MASKS",
    "Atoms",
    "Csv",
    "Standardiser",
    "Survey",
    "Table",
    "align",
    "benchmark_table",
    "completed_frame",
    "find_atoms",
    "follow_up",
    "from_frame",
    "from_table",
    "hide",
    "is_to_fill",
    "left_out",
    "load",
    "long_table",
    "make_table",
    "mask_above_mean",
    "names",
    "read_csv",
    "read_rows",
    "read_survey",
    "split_marked",
    "to_table",
    "to_text",
    "write_completed",
    "write_survey",
]

SIMULATED: dict[str, Callable[[int], Table]] = {
    **{name: functools.partial(toys.load, name) for name in toys.TOYS},
    "ising": spins.load,
}
"""Of sets that are drawn, what draws them from a seed."""

ON_DISK = ("banknote", "breast", "cifar10", "concrete", "fashion_mnist", "mnist", "red")


def names() -> tuple[str, ...]:
    """Return the names that :func:`load` knows."""
    return (*embedded.LOADERS, *SIMULATED, *ON_DISK)


def load(name: str, data_dir: str | os.PathLike[str] | None = None, seed: int = 0) -> Table:
    """Return a named data set, masked by the benchmark protocol.

    Args:
        name: one of :func:`names`.
        data_dir: the folder of source files, for the sets that scikit-learn does not carry.
        seed: of the rows of a set that is drawn.

    Raises:
        ValueError: the name is unknown, or a source file is missing.
    """
    _checks.check_choice("dataset", name, names())
    if name in embedded.LOADERS:
        return embedded.load(name)
    if name in SIMULATED:
        return SIMULATED[name](seed)
    if data_dir is None:
        raise ValueError(f"{name}: expected a folder of source files, got none; pass --data_dir")
    if name == "cifar10":
        x = labelled.load(name, data_dir).train.x
        return benchmark_table(name, labelled.columns(x.shape[1]), x)
    from mnar_ebm.data.datasets import builders  # imports TFDS

    return builders.load(name, data_dir)


__getattr__ = functools.partial(moved.find, __name__)
