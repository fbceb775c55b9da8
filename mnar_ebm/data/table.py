"""A table with missing cells, complete tables with cells hidden, and standard units."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mnar_ebm import _checks, kinds
from mnar_ebm.data import moments
from mnar_ebm.data.atoms import Atoms
from mnar_ebm.data.masks import mask_above_mean
from mnar_ebm.data.power import Bend
from mnar_ebm.kinds import Block


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Rows in their original units.

    Attributes:
        name: what the table is called.
        columns: the D names.
        x: values; NaN where missing, which may tell why (``data.reasons``). [N, D]
        mask: ``True`` where the value was observed. [N, D]
        truth: the complete values, where they are known. [N, D]
        blocks: which of the columns are those of discrete ones; none if all are numeric.
    """

    name: str
    columns: tuple[str, ...]
    x: np.ndarray
    mask: np.ndarray
    truth: np.ndarray | None = None
    blocks: tuple[Block, ...] = ()


def make_table(
    name: str,
    columns: Iterable[str],
    x: Any,
    truth: Any = None,
    blocks: tuple[Block, ...] = (),
) -> Table:
    """Return a table, checked; the mask is where ``x`` is not NaN.

    Rows without any value and columns with one value only are allowed.

    Args:
        name: what the table is called.
        columns: the D names.
        x: numbers; NaN where missing. [N, D]
        truth: the complete values, if they are known. [N, D]
        blocks: the columns by their kinds (``kinds.make_blocks``); all are numeric by default.

    Returns:
        The table, in float64.

    Raises:
        TypeError: a value is not a number.
        ValueError: the shapes disagree, two columns have one name, a value is infinite, a column
            has no value, or a discrete one is not encoded.
    """
    columns = tuple(columns)
    for column, count in Counter(columns).items():
        if count > 1:
            raise ValueError(f"{name}: expected distinct columns, got {column!r} {count} times")
    x = _checks.check_table(name, x, len(columns), columns)
    blocks = kinds.check_encoded(name, x, columns, blocks)
    mask = ~np.isnan(x)
    for column, observed in zip(columns, mask.any(axis=0), strict=True):
        if not observed:
            raise ValueError(f"{name}: expected a value in column {column!r}, got none")
    if truth is not None:
        truth = _checks.check_table(f"{name} (truth)", truth, len(columns), columns)
        if truth.shape != x.shape:
            raise ValueError(f"{name} (truth): expected shape {x.shape}, got {truth.shape}")
        kinds.check_encoded(f"{name} (truth)", truth, columns, blocks)
    return Table(name, columns, x, mask, truth, blocks)


def benchmark_table(name: str, columns: Iterable[str], truth: np.ndarray) -> Table:
    """Return complete values as a table masked by :func:`mask_above_mean`.

    Args:
        name: what the table is called.
        columns: the D names.
        truth: complete values. [N, D]
    """
    return make_table(name, columns, np.where(mask_above_mean(truth), truth, np.nan), truth)


def follow_up(table: Table, share: float, seed: int) -> tuple[Table, Table, Table]:
    """Return the rows that were not followed up, those that were, complete, and all of them.

    Args:
        table: incomplete rows whose truth is known.
        share: of the rows, drawn at random, to follow up.
        seed: of which.

    Raises:
        ValueError: the truth is not known, or the share is such that one part is empty.
    """
    if table.truth is None:
        raise ValueError(
            f"{table.name}: expected the true values of its gaps, to follow up rows, got none"
        )
    num_rows = len(table.x)
    count = round(share * num_rows) if 0 < share < 1 else 0
    if not 0 < count < num_rows:
        raise ValueError(
            f"share: expected some of the {num_rows} rows of {table.name} to follow up and some "
            f"not, got {share:g}"
        )
    is_followed = np.zeros(num_rows, bool)
    is_followed[np.random.default_rng(seed).permutation(num_rows)[:count]] = True
    x = np.where(is_followed[:, None], table.truth, table.x)

    def part(rows: np.ndarray) -> Table:
        assert table.truth is not None
        return make_table(table.name, table.columns, x[rows], table.truth[rows], table.blocks)

    return part(~is_followed), part(is_followed), part(np.ones(num_rows, bool))


@dataclasses.dataclass(frozen=True, eq=False)
class Standardiser:
    """The map to standard units, ``(x - mean) / scale``, bent after that if it has a ``bend``.

    Attributes:
        mean: the mean of each column, or its atom. [D]
        scale: the standard deviation of each column, 1 where the column is constant; of one with
            an atom, the root mean square distance of other values from it. [D]
        bend: what makes columns nearer to normal, if they are made so.
    """

    mean: np.ndarray
    scale: np.ndarray
    bend: Bend | None = None

    @classmethod
    def fit(cls, x: np.ndarray, mask: np.ndarray, atoms: Atoms | None = None) -> "Standardiser":
        """Return the means and standard deviations of the observed cells.

        A column without an observed cell gets mean 0 and scale 1.

        Args:
            x: values; what a missing cell holds is never read. [N, D]
            mask: ``True`` where observed. [N, D]
            atoms: of the columns; each becomes the centre of its column.
        """
        atom = np.full(x.shape[1], np.nan) if atoms is None else atoms.value
        mask = mask & (x != atom)
        mean = np.where(np.isnan(atom), moments.mean(x, mask), atom)
        return cls(mean, moments.scale(x, mask, mean))

    @classmethod
    def identity(cls, num_columns: int) -> "Standardiser":
        """Return the standardiser that changes nothing."""
        return cls(np.zeros(num_columns), np.ones(num_columns))

    def leave(self, columns: np.ndarray) -> "Standardiser":
        """Return the standardiser that leaves some columns as they are."""
        mean, scale = self.mean.copy(), self.scale.copy()
        mean[columns], scale[columns] = 0.0, 1.0
        return Standardiser(mean, scale)

    def straight(self) -> "Standardiser":
        """Return the standardiser without its bend."""
        return Standardiser(self.mean, self.scale)

    def with_bend(
        self, x: np.ndarray, mask: np.ndarray, columns: np.ndarray, atoms: Atoms | None = None
    ) -> "Standardiser":
        """Return the standardiser that bends some columns, too, as is best for the observed cells.

        Args:
            x: the values that it was fitted to; what a missing cell holds is never read. [N, D]
            mask: ``True`` where observed. [N, D]
            columns: indices of those to bend. [n]
            atoms: of the columns, which stay where they are.
        """
        atom = np.full(x.shape[1], np.nan) if atoms is None else atoms.value
        standard = self.straight().apply(x)
        bend = Bend.fit(standard, mask & (x != atom), columns, ~np.isnan(atom))
        return Standardiser(self.mean, self.scale, bend)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return ``x`` [..., D] in standard units."""
        x = (x - self.mean) / self.scale
        return x if self.bend is None else self.bend.apply(x)

    def invert(self, x: np.ndarray) -> np.ndarray:
        """Return standard ``x`` [..., D] in original units."""
        x = x if self.bend is None else self.bend.invert(x)
        return x * self.scale + self.mean

    def log_derivative(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the derivative of ``apply`` at ``x`` [..., D]."""
        x = (x - self.mean) / self.scale
        bent = 0.0 if self.bend is None else self.bend.log_derivative(x)
        return bent - np.log(self.scale)

    def to_json(self) -> dict[str, Any]:
        """Return lists of floats, which JSON keeps exactly."""
        fields: dict[str, Any] = {"mean": self.mean.tolist(), "scale": self.scale.tolist()}
        if self.bend is not None:
            fields["bend"] = {name: part.tolist() for name, part in self.bend._asdict().items()}
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Standardiser":
        """Return the standardiser that ``to_json`` described; before it knew of bends, too."""
        bend = fields.get("bend")
        return cls(
            np.asarray(fields["mean"]),
            np.asarray(fields["scale"]),
            Bend(**{name: np.asarray(part) for name, part in bend.items()}) if bend else None,
        )
