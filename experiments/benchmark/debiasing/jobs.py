"""What the tasks of the benchmark share."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.benchmark.records import Record
from experiments.benchmark.runner import Job

__all__ = ["Job", "Options", "Record", "mean_and_error"]


class Options(NamedTuple):
    """What the command line says to all tasks.

    Attributes:
        data_dir: folder with the source files of named data sets.
        num_seeds: seeds of each task, from 0.
        figures: folder for figures.
    """

    data_dir: str | None
    num_seeds: int
    figures: pathlib.Path


def mean_and_error(values: Sequence[float], digits: int = 2) -> str:
    """Return mean ± standard error, or what there is."""
    if not len(values):
        return "-"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}"
    return text
