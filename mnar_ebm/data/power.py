r"""Yeo and Johnson's power transform: what it makes of a skewed column is nearer to normal.

    psi(x) = sign(x) ((1 + |x|)^q - 1) / q,      q = p for x >= 0, 2 - p for x < 0

It is smooth, leaves 0 where it is, and with p in (0, 2) maps the numbers onto the numbers; p = 1
changes nothing. Its derivative is (1 + |x|)^(q - 1). The power is the one under which a normal
column has the highest likelihood.

Beyond the values that were seen the inverse would go on as an exponential, with means to match.
What is brought back is kept within their range.

References:
    I.-K. Yeo, R. A. Johnson, "A new family of power transformations to improve normality or
    symmetry", Biometrika 87, 2000, eq. 2.1.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

LEAST, MOST = 0.001, 1.999
"""Powers; 0 and 2, whose transforms are logarithms, are their limits."""

FARTHEST = float(np.finfo(np.float32).max)
"""Limit of columns that have none: finite, for JSON."""


class Bend(NamedTuple):
    """The map ``(psi(x) - centre) / spread`` of columns, of NumPy or JAX arrays.

    Attributes:
        power: p of each column. [D]
        centre: the mean of psi of each column; 0 of one with an atom, which stays at 0. [D]
        spread: its standard deviation, or its root mean square distance from the atom. [D]
        low: least bent value that was seen: ``invert`` takes those below it for it. [D]
        high: largest, as ``low``. [D]
    """

    power: Any
    centre: Any
    spread: Any
    low: Any
    high: Any

    @classmethod
    def fit(
        cls, x: np.ndarray, mask: np.ndarray, columns: np.ndarray, has_atom: np.ndarray
    ) -> "Bend":
        """Return the map under which some columns are nearest to normal; others stay as they are.

        Args:
            x: values in standard units; 0 is the atom of a column that has one. [N, D]
            mask: ``True`` where the value is read: observed, and not at an atom. [N, D]
            columns: indices of those that are bent; each has a value. [n]
            has_atom: which have an atom. [D]
        """
        power, centre, spread = np.ones(x.shape[1]), np.zeros(x.shape[1]), np.ones(x.shape[1])
        low, high = np.full(x.shape[1], -FARTHEST), np.full(x.shape[1], FARTHEST)
        for column in columns:
            values = x[mask[:, column], column]
            power[column] = _fit_power(values)
            bent = _psi(values, power[column])
            centre[column] = 0.0 if has_atom[column] else bent.mean()
            spread[column] = np.sqrt(np.mean((bent - centre[column]) ** 2)) or 1.0
            seen = np.append(bent, 0.0) if has_atom[column] else bent
            low[column], high[column] = (
                (edge - centre[column]) / spread[column] for edge in (seen.min(), seen.max())
            )
        return cls(power, centre, spread, low, high)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return values [..., D] bent."""
        return (_psi(x, self.power) - self.centre) / self.spread

    def invert(self, x: Any) -> Any:
        """Return the values that ``x`` [..., D] were before they were bent, within their range."""
        xp = x.__array_namespace__()  # of NumPy or of JAX
        x = xp.clip(x, self.low, self.high) * self.spread + self.centre
        q = xp.where(x < 0, 2.0 - self.power, self.power)
        straight = xp.sign(x) * xp.expm1(xp.log1p(q * xp.abs(x)) / q)
        return xp.where(self.power == 1.0, x, straight)  # to the bit

    def log_derivative(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the derivative of ``apply`` at values [..., D]."""
        q = np.where(x < 0, 2.0 - self.power, self.power)
        return (q - 1.0) * np.log1p(np.abs(x)) - np.log(self.spread)


def _psi(x: np.ndarray, power: np.ndarray) -> np.ndarray:
    q = np.where(x < 0, 2.0 - power, power)
    bent = np.sign(x) * np.expm1(q * np.log1p(np.abs(x))) / q
    return np.where(power == 1.0, x, bent)  # to the bit


def _fit_power(values: np.ndarray) -> float:
    if len(np.unique(values)) < 3:  # a constant or a binary column has no shape
        return 1.0
    found = optimize.minimize_scalar(
        lambda power: -stats.yeojohnson_llf(power, values), bounds=(LEAST, MOST), method="bounded"
    )
    return float(found.x)
