"""How far what was assumed moves the means of columns from what missing at random would give."""

import dataclasses

import numpy as np

from mnar_ebm.data.table import Table
from mnar_ebm.estimator.columns import ColumnType, blocks_of
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.screening import Evidence, random_means
from mnar_ebm.tilted import FittedModel


@dataclasses.dataclass(frozen=True)
class MeanAgainstRandom:
    """The mean of a completed column, as assumed and under missing at random.

    Attributes:
        name: of the column.
        mean: as assumed, in the units of the table.
        random: of a factor model of the columns, were values missing at random.
        distance: of the first from the second, in standard deviations of the observed values.
    """

    name: str
    mean: float
    random: float
    distance: float

    def __str__(self) -> str:
        """Return a clause."""
        side = "above" if self.distance > 0 else "below"
        return (
            f"the mean of {self.name} would be {self.random:.6g}, here it is {self.mean:.6g}, "
            f"{abs(self.distance):.2f} standard deviations {side}"
        )


def compare_with_random(
    fitted: FittedModel, table: Table, columns: tuple[ColumnType, ...], evidence: Evidence | None
) -> tuple[MeanAgainstRandom, ...]:
    """Return the comparison of every numeric column with gaps, or none if gaps are at random.

    Args:
        fitted: the model, as assumed.
        table: the rows that it was fitted to, encoded.
        columns: what the columns are.
        evidence: of the table, if it was looked for.
    """
    has_gap = np.logical_not(table.mask.all(axis=0))
    numeric = [
        (column, block.start)
        for column, block in zip(columns, blocks_of(columns), strict=True)
        if column.kind == "numeric" and has_gap[block.start]
    ]
    if not (MECHANISMS[fitted.config.model.mechanism].reads_hidden and numeric):
        return ()
    seed = fitted.config.seed
    random = evidence.random_means if evidence else random_means(table, seed)
    filled = fitted.impute(table.x, seed=seed, is_most=True).mean.mean(axis=0)
    compared = []
    for column, start in numeric:
        own = table.x[table.mask[:, start], start]
        if own.std() == 0 or not np.isfinite(random[start]):
            continue
        mean, at_random = float(filled[start]), float(random[start])
        distance = (mean - at_random) / float(own.std())
        compared.append(MeanAgainstRandom(str(column.name), mean, at_random, distance))
    return tuple(compared)
