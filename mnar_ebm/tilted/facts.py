"""What a model must know of the table that it is fitted to, beside its rows."""

from typing import Any, NamedTuple

import numpy as np

from mnar_ebm import kinds
from mnar_ebm.config import Config
from mnar_ebm.data import reasons
from mnar_ebm.data.atoms import find_atoms
from mnar_ebm.data.table import Standardiser, Table
from mnar_ebm.kinds import Block, make_blocks
from mnar_ebm.likelihoods import ON_UNIT_INTERVAL
from mnar_ebm.likelihoods.two_part import ATOM_WIDTH
from mnar_ebm.negative_phases import check_goes_with


class TableFacts(NamedTuple):
    """What a model must know of the table that it is fitted to.

    Attributes:
        columns: the D names.
        standardiser: the map to standard units.
        missing_rate: share of missing cells of each column, of what was asked, kept off 0 and
            1. [D]
        observed_columns: indices of the columns without a gap.
        blocks: which of the columns are those of discrete ones; none if all are numeric.
        atom_side: of each column, on which side of its atom the other values lie: 1 above, -1
            below, 0 for a column without one; empty if no column has one. [D]
        second_energy: kind of the energy fitted to unbiased rows; empty if there is none.
    """

    columns: tuple[str, ...]
    standardiser: Standardiser
    missing_rate: np.ndarray
    observed_columns: tuple[int, ...]
    blocks: tuple[Block, ...] = ()
    atom_side: tuple[int, ...] = ()
    second_energy: str = ""

    def is_atom(self, x: np.ndarray) -> np.ndarray:
        """Return which values, in original units, are at the atom of their column. [N, D]."""
        has_atom = np.array(self.atom_side or [0] * len(self.columns)) != 0
        return has_atom & (np.abs(self.standardiser.apply(x)) < ATOM_WIDTH)

    def log_derivative(self, x: np.ndarray) -> np.ndarray:
        """Return what turns the density of rows in standard units into that of rows ``x``. [N].

        It is the sum of the log-derivatives of standard values, of observed cells off the atoms.

        Args:
            x: rows in original units; NaN in their gaps. [N, D]
        """
        is_density = ~np.isnan(x) & ~self.is_atom(x)
        return np.where(is_density, self.standardiser.log_derivative(x), 0.0).sum(axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, which JSON keeps exactly."""
        return {
            "columns": list(self.columns),
            "standardiser": self.standardiser.to_json(),
            "missing_rate": self.missing_rate.tolist(),
            "observed_columns": list(self.observed_columns),
            "blocks": [[block.kind, block.num_levels] for block in self.blocks],
            "atom_side": list(self.atom_side),
            "second_energy": self.second_energy,
        }

    def beside_atoms(self, x: np.ndarray) -> np.ndarray:
        """Return values in original units, those beyond the atom of their column at it. [..., D].

        Its Gaussian reaches beyond the atom, where no value is: to the model, what lies there is
        what was cut off at it.
        """
        if not self.atom_side:
            return x
        side, atom = np.array(self.atom_side), self.standardiser.mean
        return np.clip(x, np.where(side > 0, atom, -np.inf), np.where(side < 0, atom, np.inf))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "TableFacts":
        """Return the facts that ``to_json`` described; before it knew of kinds and atoms, too."""
        return cls(
            tuple(fields["columns"]),
            Standardiser.from_json(fields["standardiser"]),
            np.asarray(fields["missing_rate"], np.float32),
            tuple(fields["observed_columns"]),
            make_blocks((kind, num_levels) for kind, num_levels in fields.get("blocks", ())),
            tuple(fields.get("atom_side", ())),
            fields.get("second_energy", ""),
        )


def table_facts(config: Config, table: Table) -> TableFacts:
    """Return the facts of a table.

    Raises:
        ValueError: a value is outside [0, 1] and the likelihood is of those within, or the table
            has discrete columns and a chain would have to move them.
    """
    _check_chains(config, table)
    check_values(config, table)
    if len(config.model.own_slopes) not in (0, len(table.columns)):
        raise ValueError(
            f"own_slopes: expected one for each of {len(table.columns)} encoded columns, got "
            f"{len(config.model.own_slopes)}"
        )
    atoms = None
    if config.model.likelihood in ON_UNIT_INTERVAL or config.standardise == "none":
        standardiser = Standardiser.identity(len(table.columns))
    else:
        if config.model.likelihood == "two_part":
            atoms = find_atoms(table.x, table.mask)
        standardiser = Standardiser.fit(table.x, table.mask, atoms)
        discrete = kinds.columns_of(kinds.discrete(table.blocks))
        standardiser = standardiser.leave(discrete)
        if config.standardise == "yeo_johnson":
            numeric = np.setdiff1d(np.arange(len(table.columns)), discrete)
            standardiser = standardiser.with_bend(table.x, table.mask, numeric, atoms)
    least = 0.5 / len(table.x)
    num_asked = np.maximum(1, (~reasons.is_not_asked(table.x)).sum(axis=0))
    missing_rate = np.clip(1.0 - table.mask.sum(axis=0) / num_asked, least, 1.0 - least)
    observed_columns = tuple(int(column) for column in np.flatnonzero(table.mask.all(axis=0)))
    return TableFacts(
        table.columns,
        standardiser,
        missing_rate.astype(np.float32),
        observed_columns,
        table.blocks,
        atoms.side if atoms is not None else (),
    )


def check_values(config: Config, table: Table) -> None:
    """Raise ``ValueError`` for a value outside [0, 1], where the likelihood is of those within."""
    if (
        config.model.likelihood in ON_UNIT_INTERVAL and not table.blocks
    ):  # with them it is refused anyway
        observed = table.x[table.mask]
        outside = observed[(observed < 0) | (observed > 1)]
        if outside.size:
            raise ValueError(
                f"likelihood: {config.model.likelihood} expects values from 0 to 1, "
                f"got {outside[0]:g} in {table.name}"
            )


def _check_chains(config: Config, table: Table) -> None:
    phase, tilt = config.negatives.negative_phase, config.model.tilt
    check_goes_with(phase, tilt, bool(table.blocks), "of a table with discrete columns")
