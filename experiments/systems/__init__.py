"""What the commands do for each system: ``--system`` names one, a run folder remembers which.

A system is a module with the functions of :class:`System`; to add one is to write it and to name it
in ``SYSTEMS``, with the settings whose flags it has.
"""

import importlib
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from experiments.given import Given
from mnar_ebm import data
from mnar_ebm.config import Config
from mnar_ebm.recipes import ising, jem, points, rbm, vae
from mnar_ebm.training import saved

SYSTEMS: dict[str, Any] = {
    "tilted": Config,
    "rbm": rbm.Config,
    "ising": ising.Config,
    "ebm": points.Config,
    "jem": jem.Config,
    "vae": Config,
}
"""Settings of each system, by the name of its module here."""

DEFAULTS: dict[str, dict[str, Any]] = {"vae": vae.DEFAULTS}
"""Settings that a system starts from where they are not the defaults of its class."""


Read = Callable[[tuple[str, ...]], data.Csv]
"""Reads the CSV file to complete, its columns in a model's order."""


class Drawn(NamedTuple):
    """Rows drawn from a model.

    Attributes:
        frame: the rows, as they are written.
        words: how they were drawn, and how good they are.
        notes: what is to be told beside.
    """

    frame: pd.DataFrame
    words: str
    notes: list[str]


class Completed(NamedTuple):
    """A CSV file's rows, completed.

    Attributes:
        csv: the file.
        mean: posterior means; observed cells as they came. [N, D]
        draws: multiple imputations, if several were asked for. [M, N, D]
        scale: standard deviations of the columns, for how exactly numbers are told; or 0. [D]
        notes: what is to be told beside.
    """

    csv: data.Csv
    mean: np.ndarray
    draws: np.ndarray
    scale: np.ndarray | float
    notes: list[str]


class System(Protocol):
    """What a module of a system holds."""

    def label(self, config: Any) -> str:
        """Return what the run folder is called, beside data set and seed."""

    def check(self, config: Any, given: Given) -> None:
        """Raise what training would raise of such arguments, before anything is written."""

    def train(self, config: Any, given: Given, workdir: pathlib.Path, **how: Any) -> Any:
        """Return what was fitted; ``how`` is resume, overwrite, report, should_stop."""

    def headline(self, record: dict[str, Any]) -> str:
        """Return what the progress bar shows of a record."""

    def evaluate(self, fitted: Any, given: Given, workdir: pathlib.Path, started: float) -> Any:
        """Fill the run folder: metrics, figures, tables; print what a person reads."""

    def check_told(self, command: str, told: list[str]) -> None:
        """Raise ``ValueError`` if an option that was told to ``command`` means nothing here."""

    def sample(self, workdir: str, options: dict[str, Any]) -> Drawn:
        """Return rows of the model of a finished run."""

    def impute(self, workdir: str, read: Read, options: dict[str, Any]) -> Completed:
        """Return the rows of a CSV file, completed by the model of a finished run."""


def named(name: str) -> Any:
    """Return the module of a system."""
    return importlib.import_module(f"experiments.systems.{name}")


def of_run(workdir: str | os.PathLike[str]) -> str:
    """Return which system a run folder trains.

    Raises:
        ValueError: the folder has no checkpoint, or a damaged one.
    """
    return saved.read_record(pathlib.Path(workdir)).get("system", "tilted")
